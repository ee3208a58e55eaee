# SPDX-License-Identifier: MIT
"""``mount`` and ``umount``: serve the file system in the foreground, and end a mount.

Owns what the command line can say of a mount.  How the daemon starts, serves and stops is in ``daemon``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import exitcodes
from pressurefs.cli.mounts import require_mount
from pressurefs.exitcodes import Exit, or_exit
from pressurefs.pressure.levels import PROFILES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pressurefs.cli.arguments import Subparsers

# The daemon and the FUSE binding set these themselves.
_RESERVED_OPTIONS = {
    *("foreground", "debug", "nothreads", "fsname", "subtype", "default_permissions"),
    *("use_ino", "hard_remove"),
    *("attr_timeout", "entry_timeout", "negative_timeout", "operations", "mountpoint", "raw_fi", "encoding"),
}


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parsers of mount and umount."""
    mount_parser = subparsers.add_parser("mount", help="serve the file system at DIR, in the foreground")
    mount_parser.set_defaults(command=mount)
    mount_parser.add_argument(
        "--source", default="auto", metavar="S", help="auto, kernel, vmstat or replay:FILE[,speed=X]"
    )
    mount_parser.add_argument(
        "--profile", default="rfc", choices=PROFILES, help="the arithmetic and its thresholds"
    )
    mount_parser.add_argument("--debug", action="store_true", help="add the directory vmpressure.debug")
    mount_parser.add_argument(
        "--proc", default="/proc", metavar="DIR", help="where vmstat, zoneinfo and meminfo are"
    )
    mount_parser.add_argument(
        "--cgroup", metavar="DIR", help="the cgroup tree; default: where cgroup2 is mounted"
    )
    mount_parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="OPT,...", help="FUSE options"
    )
    mount_parser.add_argument(
        "--ready-fd", type=int, metavar="N", help="write a newline there when the mount answers"
    )
    mount_parser.add_argument(
        "--record", type=Path, metavar="FILE", help="also write down what the source sees"
    )
    mount_parser.add_argument("mountpoint", metavar="DIR", help="an empty directory")

    umount_parser = subparsers.add_parser("umount", help="unmount DIR")
    umount_parser.set_defaults(command=umount)
    umount_parser.add_argument("mountpoint", metavar="DIR", help="where it is mounted")


def mount(parsed: argparse.Namespace) -> int:
    """Mount and serve until SIGTERM, SIGINT or an unmount; return DONE.

    Raises Exit: COMPILED_MODULE_MISSING, USAGE for --ready-fd and -o, and what the daemon raises.
    """
    try:
        from pressurefs.daemon.daemon import Daemon, Settings  # noqa: PLC0415
    except ImportError as error:
        if "_native" in str(error):
            why = f"the compiled module is missing ({error})"
            raise Exit(exitcodes.COMPILED_MODULE_MISSING, "mount", why) from None
        raise
    from pressurefs.sources.origin import Roots  # noqa: PLC0415

    if parsed.ready_fd is not None and not os.path.exists(f"/proc/self/fd/{parsed.ready_fd}"):
        raise Exit(exitcodes.USAGE, f"--ready-fd {parsed.ready_fd}", "is not open")
    settings = Settings(
        mountpoint=parsed.mountpoint,
        source=parsed.source,
        profile=PROFILES[parsed.profile],
        debug=parsed.debug,
        cgroup=parsed.cgroup,
        roots=Roots(Path(parsed.proc)),
        options=_mount_options(parsed.options),
        ready_fd=parsed.ready_fd,
        record=parsed.record,
    )
    Daemon(settings).run()
    return exitcodes.DONE


def _mount_options(lists: Sequence[str]) -> dict[str, str | bool]:
    """Return the options of every ``-o a,b=c`` as libfuse takes them; root's mounts are open to all users."""
    options: dict[str, str | bool] = {"allow_other": True} if os.geteuid() == 0 else {}
    for option in filter(None, ",".join(lists).split(",")):
        name, given, value = option.partition("=")
        if name in _RESERVED_OPTIONS:
            raise Exit(exitcodes.USAGE, f"-o {name}", "is pressurefs's own to set")
        options[name] = value if given else True
    return options


def umount(parsed: argparse.Namespace) -> int:
    """Unmount; return DONE.  Raises Exit: NOT_A_PRESSUREFS_MOUNT, UNEXPECTED where umount2(2) fails."""
    from pressurefs.daemon.mountpoint import unmount  # noqa: PLC0415

    mountpoint = require_mount(parsed.mountpoint)
    with or_exit(exitcodes.UNEXPECTED, mountpoint):
        unmount(mountpoint)
    return exitcodes.DONE
