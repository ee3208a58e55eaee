# SPDX-License-Identifier: MIT
"""Takes an eventfd from the process that is blocked in write(2).

pidfd_getfd(2) takes it from the *writing thread's* table.  pidfd_open(2) accepts a thread since Linux 6.9;
before, it accepts only the process, and kcmp(2) finds out a thread with a table of its own.  All of them need
ptrace's rights over the writer.

Before a descriptor is taken its link in /proc is read (pfs_look in native/take.c): what is taken must be
closed again, and to close another process's file can block.  Between the two another thread of the writer can
put any file there: see ``Taker``.
"""

import errno
import os
from typing import NewType

from pressurefs._native import ffi, lib
from pressurefs.errors import Refusal, refusal_of
from pressurefs.signaller.writer import (
    EVENTFD_LINK,
    Caller,
    read_thread_group,
    refusal_of_proc,
    require_open,
    require_visible,
)

EventFd = NewType("EventFd", int)

# Each of these takes another user that wins a race of microseconds.
_PARKED_MAX = 256


class Taker:
    """Takes descriptors, and keeps wrong ones from doing harm.  Used by the FUSE thread alone.

    A file that is no eventfd is never closed: its server might never answer, and close(2) would wait beyond
    SIGKILL.  It is parked until the daemon ends.  The kernel then closes descriptors in the order of their
    numbers, and the connection of the mount has a lower one (see daemon/daemon.py): whatever happens to the
    parked files, the mount is gone.  An ordinary user who passed such a file is not served any more.
    """

    def __init__(self) -> None:
        # A pidfd of ourselves at first, so that there is a descriptor for it when descriptors run out.
        self.writer = ffi.new("struct pfs_writer *")
        self.writer.pidfd = os.pidfd_open(os.getpid())
        self._parked: list[EventFd] = []
        self._barred_uids: set[int] = set()

    def require_trusted(self, caller: Caller) -> None:
        """Refuse with EPERM a user who has swapped a file, with ESRCH a writer that is not visible."""
        require_visible(caller)
        if caller.uid in self._barred_uids or len(self._parked) >= _PARKED_MAX:
            raise Refusal(errno.EPERM, "this user has swapped another file for an eventfd")

    def take(self, caller: Caller, fd: int) -> EventFd:
        """Duplicate the caller's descriptor, which was an eventfd a moment before."""
        self.require_trusted(caller)
        if lib.pfs_look(caller.pid, fd) < 0:
            raise refusal_of_look(caller, fd, ffi.errno)
        taken = lib.pfs_take(self.writer, caller.pid, True, fd)  # noqa: FBT003, as a thread
        return EventFd(taken) if taken >= 0 else self.take_otherwise(caller, fd, ffi.errno)

    def take_otherwise(self, caller: Caller, fd: int, number: int) -> EventFd:
        """Take what pfs_take could not take from the thread, or refuse; ``number`` is its errno."""
        taken = self._take_from_process(caller, fd) if number == errno.EINVAL else -1
        if taken < 0:
            raise _refusal_of_take(ffi.errno if number == errno.EINVAL else number)
        return EventFd(taken)

    def close(self) -> None:
        """Close what is kept, but for the parked."""
        if self.writer.pidfd >= 0:
            os.close(self.writer.pidfd)

    def park(self, caller: Caller, taken: EventFd) -> None:
        """Keep a file that turned out to be no eventfd."""
        self._parked.append(taken)
        if caller.uid != 0:
            self._barred_uids.add(caller.uid)

    def _take_from_process(self, caller: Caller, fd: int) -> int:
        """Take a descriptor before Linux 6.9: from the process, and only if the thread means the same."""
        process = read_thread_group(caller.pid)
        taken = lib.pfs_take(self.writer, process, False, fd)  # noqa: FBT003, not as a thread
        if taken < 0 and (ffi.errno not in (errno.EBADF, errno.ESRCH) or process == caller.pid):
            return taken
        if taken >= 0 and lib.pfs_file_order(caller.pid, fd, taken) == 0:
            return taken
        # The writing thread has the descriptor, whose link was read; the process has another file there, or
        # none, or its first thread has ended.
        if taken >= 0 and os.readlink(f"/proc/self/fd/{taken}") == EVENTFD_LINK:
            os.close(taken)
        elif taken >= 0:
            self.park(caller, EventFd(taken))
        why = "before Linux 6.9 nothing can be taken from a thread with descriptors of its own"
        raise Refusal(errno.EPERM, why)


def refusal_of_look(caller: Caller, fd: int, number: int) -> OSError:
    """Return the refusal of a descriptor that pfs_look refused; ``number`` is its errno."""
    if number == errno.EINVAL:
        require_open(caller, fd)
        return Refusal(number, "event_fd is no eventfd")
    return refusal_of_proc(number)


def _refusal_of_take(number: int) -> OSError:
    if number in (errno.EPERM, errno.EACCES):
        why = "the daemon may look at the eventfd but not take it (kernel.yama.ptrace_scope?)"
        return Refusal(errno.EPERM, f"{why}: `poll LEVEL` needs no such right")
    return refusal_of(refusal_of_proc(number))
