# SPDX-License-Identifier: MIT
"""``exec``, ``eventfd new``, ``eventfd read`` and ``wait``: eventfds for a shell, registered and read.

Owns the descriptor numbers that a command inherits.  How a registration is written is in ``client``: a shell
is an application like any other.  Nothing here loads FUSE or the compiled module.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pressurefs import client, exitcodes
from pressurefs.cli.arguments import seconds
from pressurefs.cli.mounts import end_of, find_mount
from pressurefs.exitcodes import Exit, or_exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Container
    from pathlib import Path

    from pressurefs.cli.arguments import Subparsers

_FD_DIGITS_MAX = 9
_FD_WISH = re.compile(r"(\d+)=([^@]+)(?:@(/.*))?")


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parsers of exec, eventfd new, eventfd read and wait."""
    exec_parser = subparsers.add_parser("exec", help="run COMMAND with eventfds open and registered")
    exec_parser.set_defaults(command=execute)
    exec_parser.add_argument(
        "--fd",
        dest="wishes",
        action="append",
        default=[],
        metavar="N=LEVEL[@/CGROUP]",
        help="open eventfd N and register it at LEVEL; may be given several times",
    )
    exec_parser.add_argument("words", nargs="+", metavar="COMMAND", help="the command and its arguments")

    timeout_help = "seconds; nothing in time is exit code 124"
    eventfd_parser = subparsers.add_parser("eventfd", help="eventfds for a shell")
    eventfd_subparsers = eventfd_parser.add_subparsers(required=True, metavar="new|read")
    new_parser = eventfd_subparsers.add_parser(
        "new", help="run COMMAND with eventfds open and registered nowhere"
    )
    new_parser.set_defaults(command=eventfd_new)
    new_parser.add_argument(
        "words", nargs="+", metavar="N... -- COMMAND", help="descriptor numbers, and the command"
    )
    read_parser = eventfd_subparsers.add_parser("read", help="wait for an eventfd and print its count")
    read_parser.set_defaults(command=eventfd_read)
    read_parser.add_argument("fd", type=int, metavar="N", help="the descriptor, which this command inherits")
    read_parser.add_argument("--timeout", type=seconds, metavar="S", help=timeout_help)

    wait_parser = subparsers.add_parser("wait", help="wait for the first event of a level")
    wait_parser.set_defaults(command=wait)
    wait_parser.add_argument(
        "level", metavar="LEVEL", help="low, medium or oom, and a mode if wanted: low,hierarchy"
    )
    wait_parser.add_argument("--cgroup", metavar="/C", help="default: the whole machine")
    wait_parser.add_argument("--timeout", type=seconds, metavar="S", help=timeout_help)


def execute(parsed: argparse.Namespace) -> int:
    """Open and register the eventfds of each --fd, then replace this process by the command.

    Raises Exit: USAGE, NOT_A_PRESSUREFS_MOUNT, UNEXPECTED where a registration is refused, and those of
    ``_become``.
    """
    wishes: dict[int, tuple[str, str | None]] = {}
    for text in parsed.wishes:
        match = _FD_WISH.fullmatch(text)
        if match is None:
            raise Exit(exitcodes.USAGE, f"--fd {text}", "not N=LEVEL[@/cgroup]")
        fd = _usable_fd(match[1], wishes)
        wishes[fd] = match[2], match[3]
    mount = find_mount() if wishes else None
    for fd in wishes:
        _open_eventfd(fd)
    for fd, (wish, cgroup) in wishes.items():
        _register(fd, wish, client.control_path(mount, cgroup))
    return _become(parsed.words)


def eventfd_new(parsed: argparse.Namespace) -> int:
    """Open eventfds that are registered nowhere, then replace this process by the command.

    Raises Exit: USAGE, and those of ``_become``.
    """
    fds: list[int] = []
    words = list(parsed.words)
    while words and words[0].isdecimal():
        fds.append(_usable_fd(words.pop(0), fds))
    if words[:1] == ["--"]:
        del words[0]
    if not fds or not words:
        raise Exit(exitcodes.USAGE, "eventfd new", "wants numbers and a command: eventfd new 5 6 -- COMMAND")
    for fd in fds:
        _open_eventfd(fd)
    return _become(words)


def eventfd_read(parsed: argparse.Namespace) -> int:
    """Wait for an inherited eventfd and print its count; return DONE or TIMED_OUT.

    Raises Exit with USAGE where the descriptor is not open or no eventfd.
    """
    try:
        link = os.readlink(f"/proc/self/fd/{parsed.fd}")
    except OSError:
        raise Exit(exitcodes.USAGE, f"descriptor {parsed.fd}", "is not open") from None
    if link != "anon_inode:[eventfd]":
        raise Exit(exitcodes.USAGE, f"descriptor {parsed.fd}", f"is no eventfd but {link}")
    count = client.wait(parsed.fd, parsed.timeout)
    if count is None:
        return exitcodes.TIMED_OUT
    print(count)
    return exitcodes.DONE


def wait(parsed: argparse.Namespace) -> int:
    """Register, and wait for the first event; return DONE or TIMED_OUT.

    Raises Exit: NOT_A_PRESSUREFS_MOUNT where there is no mount or it is unmounted meanwhile, UNEXPECTED where
    the registration is refused or the cgroup is removed meanwhile.
    """
    event_fd, mount = os.eventfd(0), find_mount()
    control = client.control_path(mount, parsed.cgroup)
    _register(event_fd, parsed.level, control)
    if client.wait(event_fd, parsed.timeout) is None:
        return exitcodes.TIMED_OUT
    # The end of the cgroup or of the mount signals the eventfd, too; the path is gone before that signal.
    if not control.exists():
        raise end_of(mount, control)
    return exitcodes.DONE


def _usable_fd(digits: str, taken: Container[int]) -> int:
    """Return the number, from 3 to the limit of open descriptors and not ``taken``; else raise Exit."""
    fd = int(digits) if len(digits) <= _FD_DIGITS_MAX else -1
    limit = os.sysconf("SC_OPEN_MAX")
    if fd in taken or not 3 <= fd < limit:  # noqa: PLR2004, 0 to 2 are the standard streams
        raise Exit(
            exitcodes.USAGE, f"descriptor {digits}", f"not a number from 3 to {limit - 1} that is named once"
        )
    return fd


def _open_eventfd(fd: int) -> None:
    """Open an eventfd under exactly this number, which a command inherits."""
    opened = os.eventfd(0, os.EFD_CLOEXEC)
    if opened == fd:
        os.set_inheritable(fd, True)  # noqa: FBT003
        return
    os.dup2(opened, fd, inheritable=True)
    os.close(opened)


def _register(event_fd: int, wish: str, control: Path) -> None:
    with or_exit(exitcodes.UNEXPECTED, f"register {wish!r} in {control}"):
        client.register(event_fd, wish, control)


def _become(words: list[str]) -> int:
    """Replace this process by a command.  Raises Exit: COMMAND_NOT_FOUND, COMMAND_NOT_RUNNABLE."""
    try:
        os.execvp(words[0], words)  # noqa: S606, running this command is the purpose
    except FileNotFoundError:
        raise Exit(exitcodes.COMMAND_NOT_FOUND, words[0], "command not found") from None
    except OSError as error:
        raise Exit(exitcodes.COMMAND_NOT_RUNNABLE, words[0], error.strerror) from None
