# SPDX-License-Identifier: MIT
"""``status`` and ``doctor``: what a mount reports of itself, and what this machine allows.

Reads only: nothing is registered.  What the machine allows is examined in ``machine``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pressurefs import exitcodes
from pressurefs.cli.mounts import find_mount, require_mount
from pressurefs.exitcodes import or_exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pressurefs.cli.arguments import Subparsers

_IN_DEBUG_DIRECTORY = ("source", "since", "limits", "fuse", "signaller", "signaller_limits", "registrations")


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parsers of status and doctor."""
    status_parser = subparsers.add_parser(
        "status", help="what a mount says of itself, and what this machine allows"
    )
    status_parser.set_defaults(command=status)
    status_parser.add_argument(
        "mountpoint", nargs="?", metavar="DIR", help="default: the mount that is found"
    )
    status_parser.add_argument("--json", action="store_true", help="for programs")

    doctor_parser = subparsers.add_parser("doctor", help="what this machine allows, and why not more")
    doctor_parser.set_defaults(command=doctor)


def status(parsed: argparse.Namespace) -> int:
    """Print what a mount reports and what the machine allows, as two tables or as JSON; return DONE.

    Raises Exit: NOT_A_PRESSUREFS_MOUNT, UNEXPECTED where the mount cannot be read.
    """
    from pressurefs.cli.machine import examine_machine  # noqa: PLC0415

    mountpoint = find_mount() if parsed.mountpoint is None else require_mount(parsed.mountpoint)
    with or_exit(exitcodes.UNEXPECTED, mountpoint):
        known = read_mount(mountpoint)
    machine = examine_machine()
    if parsed.json:
        import json  # noqa: PLC0415

        print(json.dumps({**known, "machine": machine}))
    else:
        why_not = "not told: it takes root" if known["debug"] else "not told: mounted without --debug"
        _print_table({name: why_not if value is None else value for name, value in known.items()})
        print("\nWhat this machine allows the one who asks:")
        _print_table(machine)
    return exitcodes.DONE


def doctor(_parsed: argparse.Namespace) -> int:
    """Print what the machine allows; return DONE."""
    from pressurefs.cli.machine import examine_machine  # noqa: PLC0415

    _print_table(examine_machine())
    return exitcodes.DONE


def read_mount(mountpoint: str) -> dict[str, Any]:
    """Return what a mount reports; the values that only a readable debug directory has are else None.

    Keys: mount, sensitivity (0 to 100), debug (bool), source, since, limits, fuse, signaller,
    signaller_limits, registrations (a count).  Raises OSError where the mount cannot be read.
    """
    top = Path(mountpoint)
    known: dict[str, Any] = {
        "mount": mountpoint,
        "sensitivity": int((top / "vmpressure_sensitivity").read_text()),
        "debug": (top / "vmpressure.debug").exists(),
        **dict.fromkeys(_IN_DEBUG_DIRECTORY),
    }
    if known["debug"] and os.access(top / "vmpressure.debug", os.X_OK):
        rows = (top / "vmpressure.debug" / "source").read_text().splitlines()
        known |= dict(row.split(" ", 1) for row in rows)
        known["registrations"] = len((top / "vmpressure.debug" / "registrations").read_text().splitlines())
    return known


def _print_table(rows: Mapping[str, object]) -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
