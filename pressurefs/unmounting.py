"""How a mount is taken away."""

import ctypes
import errno
import os
import subprocess

_MNT_FORCE = 1
_MNT_DETACH = 2


def unmount(mountpoint: str, *, force: bool = False, detach: bool = False) -> None:
    """umount2(2), or fusermount(1) where that is not allowed.  Raises OSError."""
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
