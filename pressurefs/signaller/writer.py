# SPDX-License-Identifier: MIT
"""The process that is blocked in write(2), as /proc shows it.

FUSE names the writing *thread*.  While the thread waits for our answer it cannot end, not even by SIGKILL, so
its number cannot come to mean another thread; after the answer the number means nothing.

Descriptors are looked up in that thread's own table: /proc/<tid>/fd works for a thread that does
not lead its process, although a listing of /proc does not show it.  No descriptor of the caller is
opened or duplicated here, and no call reaches the file behind one: its file system can have a server that
never answers.  That rules out most system calls:

- readlink(2) and lstat(2) of /proc/<tid>/fd/<n> are answered by /proc itself; the link's permission bits are
  those of the open mode, none for O_PATH.  readlink waits for a process that is executing a program; the
  writer's process cannot be, since execve(2) would wait for the writing thread;
- statx(2) through it, told not to synchronise, returns what the kernel has cached of the inode;
- fdinfo is *not* harmless: an epoll set's takes a lock that its owner can keep for ever, and is as long
  as its owner likes.
"""

import ctypes
import errno
import os
import re
import struct
from typing import NamedTuple

from pressurefs.errors import Refusal

EVENTFD_LINK = "anon_inode:[eventfd]"

_AT_FDCWD = -100
_AT_STATX_DONT_SYNC = 0x4000
_AT_NO_AUTOMOUNT = 0x800
_STATX_BASIC_STATS = 0x7FF
_STATX_BYTES = 256
# struct statx: uid, gid and mode at 20; the inode's number at 32; the device's two at 136.
_STATX_OWNER = struct.Struct("=IIH")
_STATX_INODE = struct.Struct("=Q")
_STATX_DEVICE = struct.Struct("=II")

_libc = ctypes.CDLL(None, use_errno=True)


class Caller(NamedTuple):
    """Who is writing: thread id (0 where our pid namespace does not show it), user and group."""

    pid: int
    uid: int
    gid: int


class Inode(NamedTuple):
    """The file behind a descriptor.  ``device`` is "major:minor" of its superblock."""

    device: str
    number: int
    mode: int
    uid: int
    gid: int


def require_visible(caller: Caller) -> None:
    """Refuse a writer that has no number here, ESRCH."""
    if caller.pid == 0:
        raise Refusal(errno.ESRCH, "the writer lives in a pid namespace that the daemon cannot see")


def read_link(caller: Caller, fd: int) -> str:
    """Return what kind of file a descriptor is; refuse with EBADF, EPERM or ESRCH.

    Reasons name no number: the log tells each cause once, and numbers would make causes without end.
    """
    require_visible(caller)
    try:
        return os.readlink(f"/proc/{caller.pid}/fd/{fd}")
    except OSError as error:
        raise refusal_of_proc(error.errno or 0) from None


def require_eventfd(caller: Caller, fd: int) -> None:
    """Refuse what is no eventfd: EBADF for no descriptor or one of O_PATH, EINVAL; and as ``read_link``."""
    link = read_link(caller, fd)
    require_open(caller, fd)
    if link != EVENTFD_LINK:
        raise Refusal(errno.EINVAL, "event_fd is no eventfd")


def require_open(caller: Caller, fd: int) -> None:
    """Refuse a descriptor that was opened with O_PATH, EBADF: the kernel does not find it either."""
    try:
        link_mode = os.lstat(f"/proc/{caller.pid}/fd/{fd}").st_mode
    except OSError as error:
        raise refusal_of_proc(error.errno or 0) from None
    if not link_mode & 0o700:
        raise Refusal(errno.EBADF, "the descriptor was opened with O_PATH")


def read_inode(caller: Caller, fd: int) -> Inode:
    """Return which file a descriptor stands for, as the kernel remembers it; refuse as ``read_link``."""
    path = b"/proc/%d/fd/%d" % (caller.pid, fd)
    shown = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(_AT_FDCWD, path, _AT_STATX_DONT_SYNC | _AT_NO_AUTOMOUNT, _STATX_BASIC_STATS, shown) != 0:
        number = ctypes.get_errno()
        raise refusal_of_proc(number)
    uid, gid, mode = _STATX_OWNER.unpack_from(shown, 20)
    major, minor = _STATX_DEVICE.unpack_from(shown, 136)
    (number,) = _STATX_INODE.unpack_from(shown, 32)
    return Inode(f"{major}:{minor}", number, mode, uid, gid)


def read_thread_group(pid: int) -> int:
    """Return the process that a thread belongs to."""
    return int(_status_field(pid, b"Tgid"))


def read_user(pid: int) -> int:
    """Return whose a process is: its real user, which no set-uid program and no prctl(2) changes."""
    return int(_status_field(pid, b"Uid").split()[0])


def read_groups(pid: int) -> frozenset[int]:
    """Return the supplementary groups of a thread."""
    return frozenset(int(group) for group in _status_field(pid, b"Groups").split())


def refusal_of_proc(number: int) -> OSError:
    """Turn what a look at a process, or a try to take from it, met into what the writer is told."""
    if number in (errno.ENOENT, errno.EBADF):
        return Refusal(errno.EBADF, "no such descriptor is open in the writer")
    if number in (errno.EACCES, errno.EPERM):
        return Refusal(errno.EPERM, "the daemon may not look into the writer")
    if number == errno.ESRCH:
        return Refusal(errno.ESRCH, "the writer is gone")
    return OSError(number, os.strerror(number))


def _status_field(pid: int, name: bytes) -> bytes:
    # Fields begin after a newline and nowhere else: a process may call itself "x\rGroups:\t0".
    found = re.search(rb"^%s:\t(.*)$" % name, _read(f"/proc/{pid}/status"), re.MULTILINE)
    if found is None:
        raise OSError(errno.ENOTSUP, f"/proc/{pid}/status shows no {name.decode()}")
    return found[1]


def _read(path: str) -> bytes:
    """Read a small file of /proc; open() would take five times as long.

    One read takes all: seq_file grows its buffer to a whole record, and 65,536 supplementary groups,
    the most there can be, fit.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)
