# SPDX-License-Identifier: MIT
"""What mount(8) runs, ``mount.fuse.pressurefs``: by ``mount -t fuse.pressurefs`` and for a line of fstab.

Owns the translation of mount options into arguments of ``pressurefs mount``, and the start of the daemon in
the background.

mount(8) expects an exit code, 0 once the mount works; ``pressurefs mount`` serves in the foreground.  So the
daemon is started in a session of its own, and this process ends when the daemon reports that it is ready.

Until then the daemon's messages are kept in a pipe, which holds 64 KB.  If the mount fails, they are written
to stderr; else logger(1) reads them, as long as the daemon lives.  No descriptor of the caller is allowed to
stay open in the daemon: ``$(mount ... 2>&1)`` would wait for ever.

mount(8) unsets PATH, so the daemon runs under the interpreter of this process.  Its working directory is /:
there it keeps no file system busy, and only root can put a module there that Python would import.

One thread.
"""

import contextlib
import getopt
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pressurefs import exitcodes
from pressurefs.exitcodes import Exit

# The exit codes of mount(8).
DONE = 0
INVOCATION = 1
SYSTEM = 2
FAILURE = 32

# The options of pressurefs mount that take a value; "debug" takes none.
_OWN_OPTIONS = frozenset({"source", "profile", "cgroup", "proc"})

# Options in fstab for other programs, and options without a meaning for a file system that stores nothing.
_IGNORED_OPTIONS = frozenset(
    {
        *("defaults", "rw", "auto", "noauto", "nofail", "_netdev", "comment", "helper", "uhelper"),
        *("user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup"),
        *("relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"),
        *("diratime", "nodiratime", "iversion", "noiversion", "mand", "nomand", "silent", "loud"),
    }
)
_IGNORED_PREFIXES = ("x-", "X-")


class MountCall(NamedTuple):
    """What mount(8) asks for.

    ``directory``: an absolute path.  ``arguments``: those of pressurefs mount.  ``namespace``: the path of
    the mount namespace to mount in, None for that of this process.  ``fake``: mount nothing.  ``verbose``:
    print the command.
    """

    directory: str
    arguments: list[str]
    namespace: str | None
    fake: bool
    verbose: bool


def main() -> int:
    """Mount as the arguments of the process say; return an exit code of mount(8)."""
    try:
        call = parse_call(sys.argv[1:])
    except Exit as ended:
        print(f"pressurefs: {ended}", file=sys.stderr)
        return ended.code
    command = _render_command(call)
    if call.verbose:
        print("pressurefs:", *command, call.directory, flush=True)
    try:
        return DONE if call.fake else _mount(call.directory, command)
    except OSError as error:
        print(f"pressurefs: {error.filename or 'mount'}: {error.strerror}", file=sys.stderr)
        return SYSTEM


def parse_call(words: Sequence[str]) -> MountCall:
    """Parse ``spec dir [-sfnv] [-N namespace] [-o options] [-t type]``; raises Exit with INVOCATION."""
    try:
        flags, operands = getopt.gnu_getopt(list(words), "sfnvN:o:t:")
    except getopt.GetoptError as error:
        raise Exit(INVOCATION, "mount.fuse.pressurefs", error.msg) from None
    if len(operands) != 2:  # noqa: PLR2004, the source, which has no meaning, and the directory
        raise Exit(INVOCATION, "mount.fuse.pressurefs", "wants what mount(8) gives: none DIR [-o OPT,...]")
    given = dict(flags)
    lists = [value for flag, value in flags if flag == "-o"]
    return MountCall(
        directory=os.path.abspath(operands[1]),
        arguments=list(_translate(",".join(lists))),
        namespace=given.get("-N"),
        fake="-f" in given,
        verbose="-v" in given,
    )


def _translate(options: str) -> Iterator[str]:
    """Yield the arguments of pressurefs mount; an option that is neither ours nor ignored goes to FUSE."""
    own: dict[str, str] = {}
    for_fuse = []
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name == "debug":
            yield "--debug"
        elif name in _OWN_OPTIONS:
            own[name] = value
        elif name == "speed" and "source" in own:
            own["source"] += f",{option}"  # replay:FILE,speed=X was split at its comma
        elif name not in _IGNORED_OPTIONS and not name.startswith(_IGNORED_PREFIXES):
            for_fuse.append(option)
    yield from (f"--{name}={value}" for name, value in own.items())
    if for_fuse:
        yield f"-o{','.join(for_fuse)}"


def _render_command(call: MountCall) -> list[str]:
    command = [sys.executable, "-m", "pressurefs", "mount", *call.arguments]
    return command if call.namespace is None else ["nsenter", f"--mount={call.namespace}", "--", *command]


def _mount(directory: str, command: Sequence[str]) -> int:
    """Start the daemon; return an exit code when its mount answers or the daemon has ended."""
    ready_read, ready_write = os.pipe()
    with os.fdopen(ready_read, "rb") as ready:
        try:
            daemon = _start_daemon([*command, f"--ready-fd={ready_write}", "--", directory], ready_write)
        finally:
            os.close(ready_write)
        try:
            answers = ready.read(1) == b"\n"
        except BaseException:
            daemon.terminate()
            raise
    assert daemon.stderr is not None  # noqa: S101, for the type checker
    if answers:
        _log_from(daemon.stderr.fileno(), daemon.pid)
        return DONE
    messages = daemon.stderr.read() or b"pressurefs: %b: the mount does not answer\n" % os.fsencode(directory)
    os.write(sys.stderr.fileno(), messages)
    return INVOCATION if daemon.wait() == exitcodes.USAGE else FAILURE


def _start_daemon(command: Sequence[str], ready_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[ready_fd],
        start_new_session=True,
        cwd="/",
    )


def _log_from(stderr_fd: int, pid: int) -> None:
    """Start logger(1), which sends the daemon's messages to syslog; without it they are lost."""
    with contextlib.suppress(OSError):
        subprocess.Popen(
            ["logger", "--tag", f"pressurefs[{pid}]", "--priority", "daemon.info"],
            stdin=stderr_fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
