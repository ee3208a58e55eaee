"""The process that is blocked in write(2), as /proc shows it.

FUSE names the writing *thread*.  While it waits for our answer it cannot go away, not even by
SIGKILL, so its number cannot come to mean another; after the answer it means nothing.

Descriptors are looked up in that thread's own table: /proc/<tid>/fd works for a thread that does
not lead its process, although a listing of /proc does not show it.  Everything here only reads what
the kernel prints: no descriptor of the caller is opened or duplicated.
"""

import contextlib
import errno
import os
import re
from typing import NamedTuple

from pressurefs.mounts import read_mountinfo
from pressurefs.protocol import Refusal

EVENTFD_LINK = "anon_inode:[eventfd]"

_FDINFO = re.compile(rb"^flags:\t(\d+)\nmnt_id:\t(\d+)\nino:\t(\d+)$", re.MULTILINE)
_EVENTFD_ID = re.compile(rb"^eventfd-id: *(\d+)$", re.MULTILINE)


class Caller(NamedTuple):
    """Who is writing: thread id (0 where our pid namespace does not show it), user and group."""

    pid: int
    uid: int
    gid: int


class Descriptor(NamedTuple):
    """One open descriptor of the caller.  ``link`` tells its kind, the other two which inode."""

    link: str
    mount_id: int
    inode: int


def read_link(caller: Caller, fd: int) -> str:
    """Return what kind of file a descriptor is; refuse with EBADF, EPERM or ESRCH.

    Reasons name no number: the log tells each cause once, and numbers would make causes without end.
    """
    if caller.pid == 0:
        raise Refusal(errno.ESRCH, "the writer lives in a pid namespace that the daemon cannot see")
    try:
        return os.readlink(f"/proc/{caller.pid}/fd/{fd}")
    except OSError as error:
        raise _refusal_of_look(error) from None


def read_descriptor(caller: Caller, fd: int) -> Descriptor:
    """Look at a descriptor; refuse as ``read_link``.

    A descriptor opened with O_PATH counts as closed, EBADF: the kernel does not find it either.
    """
    link = read_link(caller, fd)
    try:
        shown = _FDINFO.search(_read(f"/proc/{caller.pid}/fdinfo/{fd}"))
    except OSError as error:
        raise _refusal_of_look(error) from None
    if shown is None:
        raise OSError(errno.ENOTSUP, "fdinfo shows no inode: Linux 5.15 or later is needed")
    flags, mount_id, inode = shown.groups()
    if int(flags, 8) & os.O_PATH:
        raise Refusal(errno.EBADF, "the descriptor was opened with O_PATH")
    return Descriptor(link, int(mount_id), int(inode))


def read_eventfd_id(pid: int | str, fd: int) -> int | None:
    """Return the kernel's number of an eventfd, which tells two that live at the same time apart."""
    with contextlib.suppress(FileNotFoundError):
        if shown := _EVENTFD_ID.search(_read(f"/proc/{pid}/fdinfo/{fd}")):
            return int(shown[1])
    return None


def read_thread_group(pid: int) -> int:
    """Return the process that a thread belongs to."""
    return int(_status_field(pid, b"Tgid"))


def read_groups(pid: int) -> frozenset[int]:
    """Return the supplementary groups of a thread."""
    return frozenset(int(group) for group in _status_field(pid, b"Groups").split())


def mounted_device(caller: Caller, mount_id: int) -> str | None:
    """Return "major:minor" of a mount by its number, None if nobody here sees such a mount.

    The writer's view comes first, since a bind mount in its namespace has a number of its own; then
    ours, for a descriptor that was opened out here and handed in.
    """
    for pid in (caller.pid, "self"):
        for mount in read_mountinfo(pid):
            if mount.mount_id == mount_id:
                return mount.device
    return None


def _refusal_of_look(error: OSError) -> OSError:
    """Turn what /proc answers into what the writer is told."""
    if isinstance(error, FileNotFoundError):
        return Refusal(errno.EBADF, "no such descriptor is open in the writer")
    if isinstance(error, PermissionError):
        return Refusal(errno.EPERM, "the daemon may not look into the writer")
    if isinstance(error, ProcessLookupError):
        return Refusal(errno.ESRCH, "the writer is gone")
    return error


def _status_field(pid: int, name: bytes) -> bytes:
    # Fields begin after a newline and nowhere else: a process may call itself "x\rGroups:\t0".
    found = re.search(rb"^%s:\t(.*)$" % name, _read(f"/proc/{pid}/status"), re.MULTILINE)
    if found is None:
        raise OSError(errno.ENOTSUP, f"/proc/{pid}/status shows no {name.decode()}")
    return found[1]


def _read(path: str) -> bytes:
    """Read a small file of /proc to its end; open() would take five times as long."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, 4096)
        # One short read is the end; thousands of supplementary groups take more.
        while len(content) % 4096 == 0 and (more := os.read(fd, 4096)):
            content += more
        return content
    finally:
        os.close(fd)
