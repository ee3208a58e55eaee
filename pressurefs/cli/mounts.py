# SPDX-License-Identifier: MIT
"""The mount that a command works on: found or checked before, and named when it has ended.

Reads /proc/self/mountinfo; registers nothing.
"""

import os
from pathlib import Path

from pressurefs import exitcodes, mountinfo
from pressurefs.exitcodes import Exit


def find_mount() -> str:
    """Return the mountpoint that $PRESSUREFS_MOUNT names, else that of the first mount found.

    Raises Exit with NOT_A_PRESSUREFS_MOUNT where there is none.
    """
    try:
        return require_mount(mountinfo.find_pressurefs())
    except FileNotFoundError as error:
        raise Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, "no mount", error.strerror) from None


def require_mount(path: str) -> str:
    """Return the real path of a mountpoint; raise Exit with NOT_A_PRESSUREFS_MOUNT where it is none."""
    mountpoint = os.path.realpath(path)
    if not _is_pressurefs(mountpoint):
        raise Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, path, "not a pressurefs mount")
    return mountpoint


def end_of(mountpoint: str, control: Path) -> Exit:
    """Return the Exit for a control file that is gone: the cgroup was removed, or the mount was unmounted."""
    if _is_pressurefs(mountpoint):
        return Exit(exitcodes.UNEXPECTED, str(control.parent), "the cgroup was removed")
    return Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, mountpoint, "was unmounted")


def _is_pressurefs(mountpoint: str) -> bool:
    mounted = mountinfo.topmost(mountinfo.read_mountinfo(), mountpoint)
    return mounted is not None and mounted.filesystem_type == mountinfo.FILESYSTEM_TYPE
