# SPDX-License-Identifier: MIT
"""The cgroup tree that the mount mirrors: a directory, opened once, and what is beneath it.

The root is opened before mounting and everything is resolved from there by openat2(2), which neither
follows a symbolic link nor crosses into another mount.  So a mount inside its own tree does not contain
itself, and no name leads out of the tree.  A plain directory tree works as well as the kernel's.

Nothing is cached about a cgroup, except whether its memory.stat has reclaim counters: at the next look-up it
can be gone, or another cgroup can have its name.  Inode numbers distinguish those; cgroup v2 never uses a
number twice.

Threading: the FUSE thread looks up and lists, the other threads of the daemon read numbers and paths; no two
of them write the same attribute.
"""

import ctypes
import errno
import os
from typing import NamedTuple, Self

from pressurefs.mountinfo import read_mountinfo

MEMORY_STAT = "memory.stat"

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_FILEID_KERNFS = 0xFE
# The kernel gives up (EAGAIN) where a rename during the look-up could have led out of the tree.
_ATTEMPTS = 10

_READ_BYTES = 32768
_REMEMBERED_STATS_MAX = 65536


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _KernfsHandle(ctypes.Structure):
    """struct file_handle of open_by_handle_at(2), as kernfs uses it for cgroupfs."""

    _fields_ = (("handle_bytes", ctypes.c_uint32), ("handle_type", ctypes.c_int), ("number", ctypes.c_uint64))


class Cgroup(NamedTuple):
    """A cgroup's directory as it was at a look-up.

    ``inode``, ``mode``, ``uid``, ``gid``, ``links``: as stat(2) reports them.  ``has_reclaim``: whether
    events can be reported for it, which takes reclaim counters in its memory.stat, or cgroup v1 with a source
    that needs none.
    """

    path: str
    inode: int
    mode: int
    uid: int
    gid: int
    links: int
    has_reclaim: bool


class CgroupRoot:
    """An open cgroup tree.  Lives until closed, as a rule as long as the process.

    ``number``: the inode number of its topmost directory.  ``filesystem``: "cgroup2"; "cgroup" for a
    hierarchy of version 1; another name for a plain tree, whose inode numbers are not those of cgroups.
    ``serves_v1``: whether the source reports reclaim in a memory hierarchy of version 1, whose memory.stat
    has no reclaim counters.
    """

    def __init__(self, path: str) -> None:
        """Raise OSError where there is no such directory."""
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._libc = ctypes.CDLL(None, use_errno=True)
        seen = os.fstat(self._fd)
        self.number = seen.st_ino
        device = f"{os.major(seen.st_dev)}:{os.minor(seen.st_dev)}"
        mounted = (row.filesystem_type for row in read_mountinfo() if row.device == device)
        self.filesystem = next(mounted, None)
        self._shows_reclaim: dict[int, bool] = {}
        self._handles_fd: int | None = None
        self.serves_v1 = False

    @classmethod
    def mounted(cls) -> Self | None:
        """Open the tree where cgroup2 is mounted first; return None where it is not mounted."""
        for mount in read_mountinfo():
            if mount.filesystem_type == "cgroup2":
                return cls(mount.mountpoint)
        return None

    def look_up(self, cgroup: str) -> Cgroup:
        """Return what ``cgroup`` ("/a/b") is at this moment; OSError, mostly ENOENT, where there is none."""
        fd = self.open(cgroup, os.O_PATH | os.O_DIRECTORY)
        try:
            seen = os.fstat(fd)
            has_reclaim = self._has_reclaim(fd)
        finally:
            os.close(fd)
        return Cgroup(cgroup, seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_nlink, has_reclaim)

    def inode_of(self, cgroup: str) -> int | None:
        """Return the inode number of the cgroup that has this name, None where there is none.

        Raises OSError where that cannot be found out: a shortage of descriptors does not mean that a cgroup
        was removed.
        """
        try:
            fd = self.open(cgroup, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)

    def path_of(self, number: int) -> str | None:
        """Return the path of the cgroup with an inode number.

        None where there is none, or where open_by_handle_at(2) is not allowed.
        """
        if self._handles_fd is None:
            self._handles_fd = self.open("", os.O_RDONLY | os.O_DIRECTORY)
        handle = _KernfsHandle(ctypes.sizeof(ctypes.c_uint64), _FILEID_KERNFS, number)
        fd = self._libc.open_by_handle_at(self._handles_fd, ctypes.byref(handle), os.O_PATH | os.O_CLOEXEC)
        if fd < 0:
            return None
        try:
            top, path = (os.readlink(f"/proc/self/fd/{one}").rstrip("/") for one in (self._handles_fd, fd))
        finally:
            os.close(fd)
        return path.removeprefix(top) if path.startswith(f"{top}/") else None

    def children(self, cgroup: str) -> list[tuple[str, int]]:
        """Return name and inode number of each child cgroup, except those that something is mounted on."""
        fd = self.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A look-up of each child would cost more than mountinfo, and every caller waits for this thread.
            place = os.readlink(f"/proc/self/fd/{fd}").rstrip("/")
            covered = {mount.mountpoint for mount in read_mountinfo()}
            with os.scandir(fd) as entries:
                return [
                    (entry.name, entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and f"{place}/{entry.name}" not in covered
                ]
        finally:
            os.close(fd)

    def open(self, path: str, flags: int) -> int:
        """Open a directory or file beneath the root; return its descriptor, close-on-exec.

        Raises OSError: ENOENT also for a path that leads through a symbolic link, another mount or a file
        in a directory's place, because none of these is part of the tree.
        """
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
        how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
        beneath = os.fsencode(path.strip("/") or ".")
        for _ in range(_ATTEMPTS):
            fd = self._libc.syscall(_SYS_OPENAT2, self._fd, beneath, ctypes.byref(how), ctypes.sizeof(how))
            if fd >= 0:
                return int(fd)
            error = ctypes.get_errno()
            if error != errno.EAGAIN:
                break
        if error in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR):
            error = errno.ENOENT
        raise OSError(error, os.strerror(error), path)

    def close(self) -> None:
        """Close the root."""
        os.close(self._fd)
        if self._handles_fd is not None:
            os.close(self._handles_fd)

    def _has_reclaim(self, directory_fd: int) -> bool:
        """Return whether memory.stat exists and has reclaim counters; cgroup v1's has none."""
        try:
            number = os.stat(MEMORY_STAT, dir_fd=directory_fd, follow_symlinks=False).st_ino
        except OSError:
            return False
        if self.serves_v1 and self.filesystem == "cgroup":
            return True
        known = self._shows_reclaim.get(number)
        if known is None:
            # Read once: the kernel sums up the whole subtree at each reading.
            try:
                known = _names_reclaim(directory_fd)
            except OSError:
                return False  # removed at this moment, or a resource is short
            if len(self._shows_reclaim) >= _REMEMBERED_STATS_MAX:
                self._shows_reclaim.clear()
            self._shows_reclaim[number] = known
        return known


def _names_reclaim(directory_fd: int) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(MEMORY_STAT, flags, dir_fd=directory_fd)
    try:
        return b"\npgscan" in os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)
