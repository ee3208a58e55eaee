# SPDX-License-Identifier: MIT
"""``inject``: put an event, or scanned and reclaimed pages, into a mount that has --debug.

A file of its own: it writes into the debug directory of a mount, while ``record`` needs no mount and reads
a source.  The daemon parses the words and refuses wrong ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import exitcodes
from pressurefs.cli.mounts import require_mount
from pressurefs.exitcodes import Exit, or_exit

if TYPE_CHECKING:
    import argparse

    from pressurefs.cli.arguments import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parser of inject."""
    parser = subparsers.add_parser(
        "inject", help="put an event, or scanned and reclaimed pages, into a mount"
    )
    parser.set_defaults(command=inject)
    parser.add_argument("mountpoint", metavar="DIR", help="a mount that has --debug")
    parser.add_argument(
        "words",
        nargs="+",
        metavar="LEVEL [/CGROUP] | SCANNED RECLAIMED [PRIORITY] [/CGROUP]",
        help="an event, or pages for the window",
    )


def inject(parsed: argparse.Namespace) -> int:
    """Write the words into vmpressure.debug/inject in one write(2); return DONE.

    Raises Exit: NOT_A_PRESSUREFS_MOUNT, UNEXPECTED without --debug and where the write is refused.
    """
    path = Path(require_mount(parsed.mountpoint), "vmpressure.debug", "inject")
    with or_exit(exitcodes.UNEXPECTED, str(path)):
        if not path.parent.is_dir():
            raise Exit(exitcodes.UNEXPECTED, parsed.mountpoint, "mounted without --debug")
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, os.fsencode(" ".join(parsed.words)))
    return exitcodes.DONE
