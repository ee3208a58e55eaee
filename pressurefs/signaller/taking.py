"""Takes a descriptor from the process that is blocked in write(2).

pidfd_getfd(2) takes it from the *writing thread's* table.  pidfd_open(2) accepts a thread since Linux 6.9;
before, only the process can be named, and a thread with a table of its own is found out by kcmp(2).  All
of them need ptrace's rights over the writer.

Whoever takes has looked first, with ``require_eventfd``: what is taken must be closed again, and closing
somebody's file can block.  Between the look and the take another thread of the writer can put anything
there: see ``Taker``.
"""

import errno
import os
from typing import NewType

from pressurefs._native import ffi, lib
from pressurefs.caller import EVENTFD_LINK, Caller, read_thread_group
from pressurefs.protocol import Refusal

EventFd = NewType("EventFd", int)

# Each takes a user of its own that wins a race of microseconds.
_PARKED_MAX = 256


class Taker:
    """Takes descriptors, and keeps the wrong ones from doing harm.  Used by the FUSE thread alone.

    A wrong one is never closed: its server may never answer, and whoever closed it would wait beyond
    SIGKILL.  It is parked until the daemon ends.  Descriptors are closed in the order of their numbers
    then, and the connection of the mount has a lower one (see daemon.py): whatever becomes of the
    rest, the mount is gone.  An ordinary user who brought one in is not served any more.
    """

    def __init__(self) -> None:
        self._parked: list[EventFd] = []
        self._barred_uids: set[int] = set()

    def take(self, caller: Caller, fd: int) -> EventFd:
        """Duplicate the caller's descriptor; it need not be an eventfd any more."""
        if caller.uid in self._barred_uids or len(self._parked) >= _PARKED_MAX:
            raise Refusal(errno.EPERM, "this user has swapped another file for an eventfd")
        taken = lib.pfs_take(caller.pid, True, fd)  # noqa: FBT003, as a thread
        if taken < 0 and ffi.errno == errno.EINVAL:
            taken = self._take_from_process(caller, fd)
        if taken < 0:
            raise _refusal_of_take(ffi.errno)
        return EventFd(taken)

    def park(self, caller: Caller, taken: EventFd) -> None:
        """Put away what turned out to be no eventfd."""
        self._parked.append(taken)
        if caller.uid != 0:
            self._barred_uids.add(caller.uid)

    def _take_from_process(self, caller: Caller, fd: int) -> int:
        """Take a descriptor before Linux 6.9: from the process, and only if the thread means the same."""
        process = read_thread_group(caller.pid)
        taken = lib.pfs_take(process, False, fd)  # noqa: FBT003, not as a thread
        if taken < 0 and (ffi.errno != errno.EBADF or process == caller.pid):
            return taken
        if taken >= 0 and lib.pfs_same_file(caller.pid, fd, taken) == 1:
            return taken
        # The writing thread has the descriptor, for it was looked at; its process has another, or none.
        if taken >= 0 and os.readlink(f"/proc/self/fd/{taken}") == EVENTFD_LINK:
            os.close(taken)
        elif taken >= 0:
            self.park(caller, EventFd(taken))
        why = "before Linux 6.9 nothing can be taken from a thread with descriptors of its own"
        raise Refusal(errno.EPERM, why)


def require_eventfd(link: str) -> None:
    """Refuse with EINVAL what /proc does not show as an eventfd."""
    if link != EVENTFD_LINK:
        raise Refusal(errno.EINVAL, "event_fd is no eventfd")


def _refusal_of_take(number: int) -> OSError:
    if number == errno.EBADF:
        return Refusal(errno.EBADF, "no such descriptor is open in the writer")
    if number in (errno.EPERM, errno.EACCES):
        return Refusal(errno.EPERM, "the daemon may not take a descriptor from the writer")
    if number == errno.ESRCH:
        return Refusal(errno.ESRCH, "the writer is gone")
    return OSError(number, os.strerror(number))
