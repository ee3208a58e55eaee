# SPDX-License-Identifier: MIT
"""The command ``pressurefs``: arguments in, an exit code out.

Owns the table of the groups of commands, the options that need no command, and what an exception becomes: a
message and an exit code.  It knows no command: the module of a group adds the parsers of its commands, and
each parser names the function that runs its command.

Only the module of the command that runs is loaded.  --help loads them all, so what is heavy (FUSE, the
compiled module, matplotlib) is imported by the function that needs it.  A shell that registers an eventfd
should wait for neither.

Threading: commands run in the main thread.  The log has a thread of its own from its first line on.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import exitcodes
from pressurefs.daemon.log import start_log
from pressurefs.exitcodes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The modules of this folder that have commands, and their commands, in the order of --help.
GROUPS = {
    "mount": ("mount", "umount"),
    "listen": ("exec", "eventfd", "wait"),
    "watch": ("watch",),
    "inject": ("inject",),
    "status": ("status", "doctor"),
    "record": ("record",),
    "plot": ("plot",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments``: None for those of the process."""
    start_log()
    words = sys.argv[1:] if arguments is None else arguments
    parsed = build_parser(words[0] if words else None).parse_args(words)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except Exit as ended:
        print(f"pressurefs: {ended}", file=sys.stderr)
        return ended.code
    except BrokenPipeError:
        # Nobody reads the output any more.  What is still buffered goes to /dev/null, so that the
        # interpreter's last flush does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exitcodes.UNEXPECTED
    except KeyboardInterrupt:
        return exitcodes.UNEXPECTED


def build_parser(word: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; of one group alone if ``word`` is one of its commands."""
    parser = argparse.ArgumentParser(prog="pressurefs", description="Memory pressure as a file.")
    include = Path(__file__).parent.with_name("include")
    parser.add_argument(
        "--cflags", action="version", version=f"-I{include}", help="for C: where vmpressure.h is"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in [name for name, commands in GROUPS.items() if word in commands] or GROUPS:
        importlib.import_module(f"pressurefs.cli.{group}").add_parsers(subparsers)
    return parser


class _Version(argparse.Action):
    """Prints the installed version.  Only then is it looked up, which takes as long as everything else."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata  # noqa: PLC0415

        try:
            print(f"pressurefs {metadata.version('pressurefs')}")
        except metadata.PackageNotFoundError:
            parser.exit(exitcodes.UNEXPECTED, "pressurefs: --version: not installed, only imported\n")
        parser.exit()
