"""The cgroup tree that the mount stands for: a directory, opened once, and what is beneath it.

The root is opened before mounting and everything is resolved from there by openat2(2), which neither
follows a symbolic link nor crosses into another mount.  So a mount inside its own tree does not contain
itself, and no name leads out.  A plain directory tree serves as well as the kernel's.
"""

import ctypes
import os
from typing import Self

from pressurefs.mounts import read_mountinfo

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class CgroupRoot:
    """An open cgroup tree.  Lives until closed."""

    def __init__(self, path: str) -> None:
        """Raise OSError where there is no such directory."""
        self.path = path
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._libc = ctypes.CDLL(None, use_errno=True)

    @classmethod
    def find(cls) -> Self | None:
        """Open the tree where cgroup2 is mounted, None on a machine without."""
        for mount in read_mountinfo():
            if mount.filesystem_type == "cgroup2":
                return cls(mount.mountpoint)
        return None

    def require(self, cgroup: str) -> None:
        """Raise OSError, ENOENT or another, where ``cgroup`` ("/a/b") is no directory of the tree."""
        beneath = os.fsencode(cgroup.strip("/") or ".")
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
        how = _OpenHow(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, resolve)
        fd = self._libc.syscall(_SYS_OPENAT2, self._fd, beneath, ctypes.byref(how), ctypes.sizeof(how))
        if fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), cgroup)
        os.close(fd)

    def close(self) -> None:
        """Close the root."""
        os.close(self._fd)
