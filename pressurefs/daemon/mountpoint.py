# SPDX-License-Identifier: MIT
"""The mountpoint: checked and cleared of a dead mount before mounting, unmounted afterwards.

Threading: the main thread alone calls everything here.
"""

import contextlib
import ctypes
import errno
import logging
import os
import subprocess
from collections.abc import Mapping

from pressurefs import exitcodes, mountinfo
from pressurefs.exitcodes import Exit, or_exit

_log = logging.getLogger("pressurefs.daemon.mountpoint")

_MNT_FORCE = 1
_MNT_DETACH = 2


def prepare(mountpoint: str, options: Mapping[str, str | bool]) -> None:
    """Detach a pressurefs mount whose daemon is gone; raise Exit where the directory cannot be mounted on.

    ``options``: the mount options; with ``nonempty`` the directory is allowed to have entries.
    """
    mounted = mountinfo.topmost(mountinfo.read_mountinfo(), mountpoint)
    if mounted is not None and mounted.filesystem_type == mountinfo.FILESYSTEM_TYPE:
        if not mountinfo.is_dead(mountpoint):
            raise Exit(exitcodes.MOUNTPOINT_UNUSABLE, mountpoint, "pressurefs is mounted there already")
        unmount(mountpoint, detach=True)
        _log.warning("%s: detached a mount whose daemon is gone", mountpoint)
    with or_exit(exitcodes.MOUNTPOINT_UNUSABLE, mountpoint):
        entries = os.listdir(mountpoint)
    if entries and not options.get("nonempty"):
        why = "the directory is not empty (-o nonempty mounts over what is there)"
        raise Exit(exitcodes.MOUNTPOINT_UNUSABLE, mountpoint, why)


def take_away(device: str) -> list[str]:
    """Unmount all mounts with this device number, "major:minor"; return the mountpoints that are left.

    A mount stays where another mount lies on top of it.  umount2(2) is called without a flag first, which
    works if nobody uses the mount, then with MNT_FORCE, then with MNT_DETACH.  Detaching comes last: alone it
    would leave the FUSE loop running while any process holds a file open.  Does nothing where the mount is
    gone already.
    """
    for how in ({}, {"force": True}, {"detach": True}):
        for mountpoint in _mountpoints(device):
            topmost = mountinfo.topmost(mountinfo.read_mountinfo(), mountpoint)
            if topmost is not None and topmost.device == device:
                with contextlib.suppress(OSError):
                    unmount(mountpoint, **how)
    return _mountpoints(device)


def _mountpoints(device: str) -> list[str]:
    """Return where the mount is at this moment, even if a parent directory was moved."""
    return [row.mountpoint for row in mountinfo.read_mountinfo() if row.device == device]


def unmount(mountpoint: str, *, force: bool = False, detach: bool = False) -> None:
    """Unmount by umount2(2), or by fusermount(1) for a user who is not allowed that.  Raises OSError."""
    flags = (_MNT_FORCE if force else 0) | (_MNT_DETACH if detach else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mountpoint), flags) == 0:
        return
    error = ctypes.get_errno()
    if error == errno.EPERM and os.geteuid() != 0:
        _fusermount(mountpoint, lazily=detach)
        return
    raise OSError(error, os.strerror(error), mountpoint)


def _fusermount(mountpoint: str, *, lazily: bool) -> None:
    option = "-uz" if lazily else "-u"
    for program in ("fusermount", "fusermount3"):
        try:
            done = subprocess.run(
                [program, option, "--", mountpoint], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return
        raise OSError(errno.EBUSY, done.stderr.strip() or os.strerror(errno.EBUSY), mountpoint)
    raise OSError(errno.EPERM, "an ordinary user needs fusermount to unmount", mountpoint)
