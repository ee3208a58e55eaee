"""The command: arguments in, exit codes out.

Each command imports what it needs when it runs: a shell that registers an eventfd should not wait for
FUSE to be loaded.
"""

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pressurefs import client, exits, mounts
from pressurefs.exits import Exit
from pressurefs.levels import PROFILES

_FD_WISH = re.compile(r"(\d+)=([^@]+)(?:@(/.*))?")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(format="pressurefs: %(message)s", level=logging.INFO)
    parsed = build_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except Exit as ended:
        print(f"pressurefs: {ended}", file=sys.stderr)
        return ended.code
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.UNEXPECTED
    except KeyboardInterrupt:
        return exits.UNEXPECTED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; INTERFACE in one place."""
    parser = argparse.ArgumentParser(prog="pressurefs", description="Memory pressure as a file.")
    include = Path(__file__).with_name("include")
    parser.add_argument(
        "--cflags", action="version", version=f"-I{include}", help="for C: where vmpressure.h is"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    mount = commands.add_parser("mount", help="serve the file system at DIR, in the foreground")
    mount.set_defaults(command=_mount)
    mount.add_argument("--source", default="auto", metavar="S", help="auto, vmstat or replay:FILE[,speed=X]")
    mount.add_argument("--profile", default="rfc", choices=PROFILES, help="the arithmetic and its thresholds")
    mount.add_argument("--debug", action="store_true", help="add the directory vmpressure.debug")
    mount.add_argument(
        "--proc", default="/proc", metavar="DIR", help="where vmstat, zoneinfo and meminfo are"
    )
    mount.add_argument("--cgroup", metavar="DIR", help="the cgroup tree; default: where cgroup2 is mounted")
    mount.add_argument(
        "-o", dest="options", action="append", default=[], metavar="OPT,...", help="FUSE options"
    )
    mount.add_argument(
        "--ready-fd", type=int, metavar="N", help="write a newline there when the mount answers"
    )
    mount.add_argument("mountpoint", metavar="DIR")

    umount = commands.add_parser("umount", help="unmount DIR")
    umount.set_defaults(command=_umount)
    umount.add_argument("mountpoint", metavar="DIR")

    execute = commands.add_parser("exec", help="run COMMAND with eventfds open and registered")
    execute.set_defaults(command=_exec)
    execute.add_argument("--fd", dest="wishes", action="append", default=[], metavar="N=LEVEL[@/CGROUP]")
    execute.add_argument("words", nargs="+", metavar="COMMAND")

    eventfd = commands.add_parser("eventfd", help="eventfds for a shell")
    eventfd_commands = eventfd.add_subparsers(required=True, metavar="new|read")
    new = eventfd_commands.add_parser("new", help="run COMMAND with eventfds open and registered nowhere")
    new.set_defaults(command=_eventfd_new)
    new.add_argument("words", nargs="+", metavar="N... -- COMMAND")
    read = eventfd_commands.add_parser("read", help="wait for an eventfd and print its count")
    read.set_defaults(command=_eventfd_read)
    read.add_argument("fd", type=int, metavar="N")
    read.add_argument("--timeout", type=float, metavar="S")

    wait = commands.add_parser("wait", help="wait for the first event of a level")
    wait.set_defaults(command=_wait)
    wait.add_argument("level", metavar="LEVEL")
    wait.add_argument("--cgroup", metavar="/C")
    wait.add_argument("--timeout", type=float, metavar="S")

    inject = commands.add_parser("inject", help="put an event, or scanned and reclaimed pages, into a mount")
    inject.set_defaults(command=_inject)
    inject.add_argument("mountpoint", metavar="DIR")
    inject.add_argument(
        "words", nargs="+", metavar="LEVEL [/CGROUP] | SCANNED RECLAIMED [PRIORITY] [/CGROUP]"
    )

    record = commands.add_parser("record", help="write a trace of what a source sees")
    record.set_defaults(command=_record)
    record.add_argument("file", metavar="FILE")
    record.add_argument("--source", default="auto", metavar="S")
    record.add_argument("--seconds", type=float, metavar="N", help="default: until interrupted")
    record.add_argument("--proc", default="/proc", metavar="DIR")
    return parser


def _mount(parsed: argparse.Namespace) -> int:
    try:
        from pressurefs.daemon import Daemon, Settings  # noqa: PLC0415
    except ImportError as error:
        if "_native" in str(error):
            why = f"the compiled module is missing ({error})"
            raise Exit(exits.COMPILED_MODULE_MISSING, "mount", why) from None
        raise
    from pressurefs.sources.choice import Roots  # noqa: PLC0415

    settings = Settings(
        mountpoint=parsed.mountpoint,
        source=parsed.source,
        profile=PROFILES[parsed.profile],
        debug=parsed.debug,
        cgroup=parsed.cgroup,
        roots=Roots(Path(parsed.proc)),
        options=_mount_options(parsed.options),
        ready_fd=parsed.ready_fd,
    )
    Daemon(settings).run()
    return exits.DONE


def _mount_options(lists: Sequence[str]) -> dict[str, str | bool]:
    """Read ``-o a,b=c`` as libfuse wants it; root's mounts are for everybody."""
    options: dict[str, str | bool] = {"allow_other": True} if os.geteuid() == 0 else {}
    for option in filter(None, ",".join(lists).split(",")):
        name, given, value = option.partition("=")
        options[name] = value if given else True
    return options


def _umount(parsed: argparse.Namespace) -> int:
    from pressurefs.unmounting import unmount  # noqa: PLC0415

    mountpoint = _require_mount(parsed.mountpoint)
    try:
        unmount(mountpoint)
    except OSError as error:
        raise Exit(exits.UNEXPECTED, mountpoint, error.strerror) from None
    return exits.DONE


def _exec(parsed: argparse.Namespace) -> int:
    wishes: dict[int, tuple[str, str | None]] = {}
    for text in parsed.wishes:
        match = _FD_WISH.fullmatch(text)
        if match is None:
            raise Exit(exits.USAGE, f"--fd {text}", "not N=LEVEL[@/cgroup]")
        fd = _usable_fd(match[1], wishes)
        wishes[fd] = match[2], match[3]
    mount = _found_mount() if wishes else None
    for fd in wishes:
        _open_eventfd(fd)
    for fd, (wish, cgroup) in wishes.items():
        _register(fd, wish, client.control_path(mount, cgroup))
    return _become(parsed.words)


def _eventfd_new(parsed: argparse.Namespace) -> int:
    fds: list[int] = []
    words = list(parsed.words)
    while words and words[0].isdecimal():
        fds.append(_usable_fd(words.pop(0), fds))
    if words[:1] == ["--"]:
        del words[0]
    if not fds or not words:
        raise Exit(exits.USAGE, "eventfd new", "wants numbers and a command: eventfd new 5 6 -- COMMAND")
    for fd in fds:
        _open_eventfd(fd)
    return _become(words)


def _eventfd_read(parsed: argparse.Namespace) -> int:
    try:
        link = os.readlink(f"/proc/self/fd/{parsed.fd}")
    except OSError:
        raise Exit(exits.USAGE, f"descriptor {parsed.fd}", "is not open") from None
    if link != "anon_inode:[eventfd]":
        raise Exit(exits.USAGE, f"descriptor {parsed.fd}", f"is no eventfd but {link}")
    count = client.wait(parsed.fd, parsed.timeout)
    if count is None:
        return exits.TIMED_OUT
    print(count)
    return exits.DONE


def _wait(parsed: argparse.Namespace) -> int:
    event_fd = os.eventfd(0)
    _register(event_fd, parsed.level, client.control_path(_found_mount(), parsed.cgroup))
    return exits.TIMED_OUT if client.wait(event_fd, parsed.timeout) is None else exits.DONE


def _inject(parsed: argparse.Namespace) -> int:
    path = Path(_require_mount(parsed.mountpoint), "vmpressure.debug", "inject")
    if not path.parent.is_dir():
        raise Exit(exits.UNEXPECTED, parsed.mountpoint, "mounted without --debug")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, os.fsencode(" ".join(parsed.words)))
    except OSError as error:
        raise Exit(exits.UNEXPECTED, str(path), error.strerror) from None
    return exits.DONE


def _record(parsed: argparse.Namespace) -> int:
    from pressurefs.recorder import record  # noqa: PLC0415
    from pressurefs.sources import SourceUnavailable  # noqa: PLC0415
    from pressurefs.sources.choice import Roots, open_source  # noqa: PLC0415

    try:
        source = open_source(parsed.source, Roots(Path(parsed.proc)))
    except SourceUnavailable as error:
        raise Exit(exits.SOURCE_UNAVAILABLE, f"source {parsed.source}", error.strerror) from None
    try:
        with Path(parsed.file).open("w", encoding="utf-8", buffering=1) as file:
            record(source, file, parsed.seconds)
    except OSError as error:
        raise Exit(exits.UNEXPECTED, parsed.file, error.strerror) from None
    return exits.DONE


def _found_mount() -> str:
    try:
        return _require_mount(mounts.find_pressurefs())
    except FileNotFoundError as error:
        raise Exit(exits.NOT_A_PRESSUREFS_MOUNT, "no mount", error.strerror) from None


def _require_mount(path: str) -> str:
    """Return the real path of a pressurefs mount; Exit where it is none."""
    mountpoint = os.path.realpath(path)
    mounted = mounts.topmost(mounts.read_mountinfo(), mountpoint)
    if mounted is None or mounted.filesystem_type != mounts.FILESYSTEM_TYPE:
        raise Exit(exits.NOT_A_PRESSUREFS_MOUNT, path, "not a pressurefs mount")
    return mountpoint


def _usable_fd(digits: str, taken: Sequence[int] | dict[int, tuple[str, str | None]]) -> int:
    fd = int(digits)
    limit = os.sysconf("SC_OPEN_MAX")
    if fd in taken or not 3 <= fd < limit:  # noqa: PLR2004, 0 to 2 are the standard streams
        raise Exit(
            exits.USAGE, f"descriptor {digits}", f"not a number from 3 to {limit - 1} that is named once"
        )
    return fd


def _open_eventfd(fd: int) -> None:
    """Open an eventfd under just this number, for a command that will inherit it."""
    opened = os.eventfd(0, os.EFD_CLOEXEC)
    if opened == fd:
        os.set_inheritable(fd, True)  # noqa: FBT003
        return
    os.dup2(opened, fd, inheritable=True)
    os.close(opened)


def _register(event_fd: int, wish: str, control: Path) -> None:
    try:
        client.register(event_fd, wish, control)
    except OSError as error:
        raise Exit(exits.UNEXPECTED, f"register {wish!r} in {control}", error.strerror) from None


def _become(words: list[str]) -> int:
    """Run a command in this process's place."""
    try:
        os.execvp(words[0], words)  # noqa: S606, that is what the user asked for
    except FileNotFoundError:
        raise Exit(exits.COMMAND_NOT_FOUND, words[0], "command not found") from None
    except OSError as error:
        raise Exit(exits.COMMAND_NOT_RUNNABLE, words[0], error.strerror) from None
