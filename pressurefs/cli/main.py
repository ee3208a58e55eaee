"""The command: arguments in, exit codes out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import exitcodes
from pressurefs.cli import commands
from pressurefs.daemon.log import start_log
from pressurefs.exitcodes import Exit
from pressurefs.pressure.levels import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001, its only name

WATCH = """
Show events as they come, each once, at its own level.  In a terminal: a live picture.  In a pipe or a file:
a line "TIME LEVEL +COUNT" for each level that had events in the last 20 ms, the highest level first; TIME
is ISO 8601 with milliseconds and without blanks.  It ends at Ctrl-C with exit code 0, at the unmount with
7.  Whoever watches a cgroup listens to it, so its ancestors' listeners of mode default then hear less.
"""

SECONDS_MAX = 1e6  # eleven days: what poll(2) can wait, and more than anybody will


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    start_log()
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
        return exitcodes.UNEXPECTED
    except KeyboardInterrupt:
        return exitcodes.UNEXPECTED


class _Version(argparse.Action):
    """Says which version is installed.  Looked up only when asked for: that takes as long as all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata  # noqa: PLC0415

        try:
            print(f"pressurefs {metadata.version('pressurefs')}")
        except metadata.PackageNotFoundError:
            parser.exit(exitcodes.UNEXPECTED, "pressurefs: --version: not installed, only imported\n")
        parser.exit()


def seconds(text: str) -> float:
    """Read a time to wait; argparse tells of the ValueError."""
    value = float(text)
    if not 0 <= value <= SECONDS_MAX:
        raise ValueError(text)
    return value


def build_parser() -> argparse.ArgumentParser:
    """Return the parser: the whole command line in one place."""
    parser = argparse.ArgumentParser(prog="pressurefs", description="Memory pressure as a file.")
    include = Path(__file__).parent.with_name("include")
    parser.add_argument(
        "--cflags", action="version", version=f"-I{include}", help="for C: where vmpressure.h is"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_serving(subparsers)
    _add_listening(subparsers)
    _add_watching(subparsers)
    return parser


def _add_serving(subparsers: _Subparsers) -> None:
    mount = subparsers.add_parser("mount", help="serve the file system at DIR, in the foreground")
    mount.set_defaults(command=commands.mount)
    mount.add_argument(
        "--source", default="auto", metavar="S", help="auto, kernel, vmstat or replay:FILE[,speed=X]"
    )
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
    mount.add_argument("--record", type=Path, metavar="FILE", help="also write down what the source sees")
    mount.add_argument("mountpoint", metavar="DIR", help="an empty directory")

    umount = subparsers.add_parser("umount", help="unmount DIR")
    umount.set_defaults(command=commands.umount)
    umount.add_argument("mountpoint", metavar="DIR", help="where it is mounted")


def _add_listening(subparsers: _Subparsers) -> None:
    execute = subparsers.add_parser("exec", help="run COMMAND with eventfds open and registered")
    execute.set_defaults(command=commands.execute)
    execute.add_argument(
        "--fd",
        dest="wishes",
        action="append",
        default=[],
        metavar="N=LEVEL[@/CGROUP]",
        help="open eventfd N and register it at LEVEL; may be given several times",
    )
    execute.add_argument("words", nargs="+", metavar="COMMAND", help="the command and its arguments")

    timeout_help = "seconds; nothing in time is exit code 124"
    eventfd = subparsers.add_parser("eventfd", help="eventfds for a shell")
    eventfd_subparsers = eventfd.add_subparsers(required=True, metavar="new|read")
    new = eventfd_subparsers.add_parser("new", help="run COMMAND with eventfds open and registered nowhere")
    new.set_defaults(command=commands.eventfd_new)
    new.add_argument(
        "words", nargs="+", metavar="N... -- COMMAND", help="descriptor numbers, and the command"
    )
    read = eventfd_subparsers.add_parser("read", help="wait for an eventfd and print its count")
    read.set_defaults(command=commands.eventfd_read)
    read.add_argument("fd", type=int, metavar="N", help="the descriptor, which this command inherits")
    read.add_argument("--timeout", type=seconds, metavar="S", help=timeout_help)

    wait = subparsers.add_parser("wait", help="wait for the first event of a level")
    wait.set_defaults(command=commands.wait)
    wait.add_argument(
        "level", metavar="LEVEL", help="low, medium or oom, and a mode if wanted: low,hierarchy"
    )
    wait.add_argument("--cgroup", metavar="/C", help="default: the whole machine")
    wait.add_argument("--timeout", type=seconds, metavar="S", help=timeout_help)


def _add_watching(subparsers: _Subparsers) -> None:
    watch = subparsers.add_parser("watch", help="show events as they come", description=WATCH)
    watch.set_defaults(command=commands.watch)
    watch.add_argument("--cgroup", metavar="/C", help="default: the whole machine")

    inject = subparsers.add_parser(
        "inject", help="put an event, or scanned and reclaimed pages, into a mount"
    )
    inject.set_defaults(command=commands.inject)
    inject.add_argument("mountpoint", metavar="DIR", help="a mount that has --debug")
    inject.add_argument(
        "words",
        nargs="+",
        metavar="LEVEL [/CGROUP] | SCANNED RECLAIMED [PRIORITY] [/CGROUP]",
        help="an event, or pages for the window",
    )

    status = subparsers.add_parser("status", help="what a mount says of itself, and what this machine allows")
    status.set_defaults(command=commands.status)
    status.add_argument("mountpoint", nargs="?", metavar="DIR", help="default: the mount that is found")
    status.add_argument("--json", action="store_true", help="for programs")

    doctor = subparsers.add_parser("doctor", help="what this machine allows, and why not more")
    doctor.set_defaults(command=commands.doctor)

    record = subparsers.add_parser("record", help="write a trace of what a source sees")
    record.set_defaults(command=commands.record)
    record.add_argument("file", metavar="FILE", help="where the trace goes")
    record.add_argument("--source", default="auto", metavar="S", help="as of mount")
    record.add_argument("--seconds", type=seconds, metavar="N", help="default: until interrupted")
    record.add_argument("--proc", default="/proc", metavar="DIR", help="as of mount")

    plot = subparsers.add_parser("plot", help="draw a trace: pages, and the index of each window")
    plot.set_defaults(command=commands.plot)
    plot.add_argument("file", metavar="FILE", help="what record wrote")
    plot.add_argument("-o", dest="output", required=True, metavar="PNG", help="where the picture goes")
    plot.add_argument("--cgroup", metavar="/C", help="which, where the trace has several; default: /")
    plot.add_argument("--profile", default="rfc", choices=PROFILES, help="as of mount")
