"""The cgroup tree that the mount stands for: a directory, opened once, and what is beneath it.

The root is opened before mounting and everything is resolved from there by openat2(2), which neither
follows a symbolic link nor crosses into another mount.  So a mount inside its own tree does not contain
itself, and no name leads out.  A plain directory tree serves as well as the kernel's.

Nothing is remembered of what was seen: a cgroup may be gone at the next look, or another one may have its
name.  Inode numbers tell those apart; cgroup v2 never uses one twice.
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
# The kernel gives up (EAGAIN) where something was renamed meanwhile, which could have led out.
_ATTEMPTS = 10

_READ_BYTES = 32768
_REMEMBERED_STATS_MAX = 65536


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _KernfsHandle(ctypes.Structure):
    """struct file_handle of open_by_handle_at(2), for a file system of kernfs."""

    _fields_ = (("handle_bytes", ctypes.c_uint32), ("handle_type", ctypes.c_int), ("number", ctypes.c_uint64))


class Cgroup(NamedTuple):
    """A directory as it was found.  ``has_reclaim``: its memory.stat tells what reclaim scanned."""

    path: str
    inode: int
    mode: int
    uid: int
    gid: int
    links: int
    has_reclaim: bool


class CgroupRoot:
    """An open cgroup tree.  Lives until closed.

    ``number``: the inode number of its topmost directory.  ``filesystem``: "cgroup2", "cgroup" for a
    hierarchy of version 1, another name for a plain tree, whose numbers the kernel's cgroups do not have.
    ``serves_v1``: whether reclaim can be told of in a memory hierarchy of version 1, which shows none.
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
        """Open the tree where cgroup2 is mounted, None on a machine without."""
        for mount in read_mountinfo():
            if mount.filesystem_type == "cgroup2":
                return cls(mount.mountpoint)
        return None

    def look(self, cgroup: str) -> Cgroup:
        """Return what ``cgroup`` ("/a/b") is at this moment; OSError, mostly ENOENT, where it is nothing."""
        fd = self.open(cgroup, os.O_PATH | os.O_DIRECTORY)
        try:
            seen = os.fstat(fd)
            has_reclaim = self._has_reclaim(fd)
        finally:
            os.close(fd)
        return Cgroup(cgroup, seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_nlink, has_reclaim)

    def inode_of(self, cgroup: str) -> int | None:
        """Return the number of the cgroup that has this name, None where none has.

        OSError where that cannot be told: to be short of descriptors is no reason to call a cgroup removed.
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
        """Return the path of the cgroup that has an inode number, None where none has or we may not look."""
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
        """Return name and inode number of each child; not of one that something is mounted on."""
        fd = self.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Looking at one by one would cost too much of a thread that must answer everybody.
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
        """Open a directory or file beneath the root.

        What cannot be had without a link or another mount is ENOENT, as is a file in a directory's place:
        it is no part of the tree.
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
        """Tell whether memory.stat is there and names reclaim; cgroup v1's does not."""
        try:
            number = os.stat(MEMORY_STAT, dir_fd=directory_fd, follow_symlinks=False).st_ino
        except OSError:
            return False
        if self.serves_v1 and self.filesystem == "cgroup":
            return True
        known = self._shows_reclaim.get(number)
        if known is None:
            # Read once: the kernel adds up a whole tree for each reading.
            try:
                known = _names_reclaim(directory_fd)
            except OSError:
                return False  # removed at this moment, or we are short of something
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
