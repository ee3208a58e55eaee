"""What mount(8) runs, ``mount.fuse.pressurefs``: by ``mount -t fuse.pressurefs`` and for a line of fstab.

mount(8) wants an answer, 0 once the mount works; ``pressurefs mount`` serves in the foreground.  So that is
started in a session of its own, waited for until it says that it is ready, and left behind.

What it says until then is kept in a pipe, which holds 64 KB: for whoever typed the command if there will be
no mount, else for logger(1), which reads on as long as the daemon lives.  A descriptor of the caller's must
not stay open in the daemon: ``$(mount ... 2>&1)`` would wait for ever.

mount(8) unsets PATH, so the interpreter is our own.  The daemon's directory is /, where it keeps nobody's
file system busy, and where nobody but root could put a module in its way.
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

# mount(8)'s exit codes.
DONE = 0
INVOCATION = 1
SYSTEM = 2
FAILURE = 32

# Options of pressurefs mount that take a value; "debug" takes none.
_OWN_OPTIONS = frozenset({"source", "profile", "cgroup", "proc"})

# What fstab says to others, and what means nothing where nothing is stored.
_OPTIONS_OF_OTHERS = frozenset(
    {
        *("defaults", "rw", "auto", "noauto", "nofail", "_netdev", "comment", "helper", "uhelper"),
        *("user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup"),
        *("relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"),
        *("diratime", "nodiratime", "iversion", "noiversion", "mand", "nomand", "silent", "loud"),
    }
)
_PREFIXES_OF_OTHERS = ("x-", "X-")


class MountCall(NamedTuple):
    """What mount(8) asks for: the directory, the arguments of pressurefs mount, how to go about it."""

    directory: str
    arguments: list[str]
    namespace: str | None
    fake: bool
    verbose: bool


def main() -> int:
    """Mount, and return an exit code of mount(8)'s."""
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
    """Read ``spec dir [-sfnv] [-N namespace] [-o options] [-t type]``; Exit with INVOCATION."""
    try:
        flags, operands = getopt.gnu_getopt(list(words), "sfnvN:o:t:")
    except getopt.GetoptError as error:
        raise Exit(INVOCATION, "mount.fuse.pressurefs", error.msg) from None
    if len(operands) != 2:  # noqa: PLR2004, the source, which means nothing, and the directory
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
    """Yield arguments of pressurefs mount; what is neither ours nor for others is left to FUSE."""
    own: dict[str, str] = {}
    for_fuse = []
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name == "debug":
            yield "--debug"
        elif name in _OWN_OPTIONS:
            own[name] = value
        elif name == "speed" and "source" in own:
            own["source"] += f",{option}"  # the comma in replay:FILE,speed=X is the source's
        elif name not in _OPTIONS_OF_OTHERS and not name.startswith(_PREFIXES_OF_OTHERS):
            for_fuse.append(option)
    yield from (f"--{name}={value}" for name, value in own.items())
    if for_fuse:
        yield f"-o{','.join(for_fuse)}"


def _render_command(call: MountCall) -> list[str]:
    command = [sys.executable, "-m", "pressurefs", "mount", *call.arguments]
    return command if call.namespace is None else ["nsenter", f"--mount={call.namespace}", "--", *command]


def _mount(directory: str, command: Sequence[str]) -> int:
    """Start the daemon, and return when its mount answers or it has ended."""
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
    said = daemon.stderr.read() or b"pressurefs: %b: the mount does not answer\n" % os.fsencode(directory)
    os.write(sys.stderr.fileno(), said)
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
    """Hand on to syslog what the daemon says; without logger(1) it goes nowhere."""
    with contextlib.suppress(OSError):
        subprocess.Popen(
            ["logger", "--tag", f"pressurefs[{pid}]", "--priority", "daemon.info"],
            stdin=stderr_fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
