# SPDX-License-Identifier: MIT
"""``record``: write a trace of what a source sees, without a mount."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import exitcodes
from pressurefs.cli.arguments import seconds
from pressurefs.exitcodes import or_exit
from pressurefs.pressure.levels import PROFILES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pressurefs.cli.arguments import Subparsers
    from pressurefs.pressure.window import Verdict
    from pressurefs.sources.origin import Origin


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parser of record."""
    parser = subparsers.add_parser("record", help="write a trace of what a source sees")
    parser.set_defaults(command=record)
    parser.add_argument("file", metavar="FILE", help="where the trace goes")
    parser.add_argument("--source", default="auto", metavar="S", help="as of mount")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="default: until interrupted")
    parser.add_argument("--proc", default="/proc", metavar="DIR", help="as of mount")


def record(parsed: argparse.Namespace) -> int:
    """Write a trace."""
    from pressurefs.sources.origin import Origin, Roots  # noqa: PLC0415
    from pressurefs.sources.recorder import record  # noqa: PLC0415
    from pressurefs.sources.selection import Selection  # noqa: PLC0415

    origin, take_windows = _hear_all(Origin(Roots(Path(parsed.proc))))
    with or_exit(exitcodes.SOURCE_UNAVAILABLE, f"source {parsed.source}"):
        selection = Selection(parsed.source, origin)
    with (
        or_exit(exitcodes.UNEXPECTED, parsed.file),
        Path(parsed.file).open("w", encoding="utf-8", buffering=1) as file,
    ):
        record(selection, take_windows, file, parsed.seconds)
    return exitcodes.DONE


def _hear_all(origin: Origin) -> tuple[Origin, Callable[[], Sequence[Verdict]]]:
    """Add what the kernel source needs, and return what gives its windows.

    Nothing without the compiled module, which the other sources do not need.
    """
    from pressurefs.cgroups.tree import CgroupRoot  # noqa: PLC0415

    try:
        from pressurefs.events.history import open_for_all  # noqa: PLC0415
    except ImportError:
        return origin, list
    cgroups = CgroupRoot.mounted()
    event_path, history = open_for_all(cgroups, PROFILES["rfc"])
    return origin._replace(cgroups=cgroups, event_path=event_path), history.take_filled
