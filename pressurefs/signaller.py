"""Takes the caller's eventfd, signals it, and notices that it is gone.

An eventfd is never owned here.  Some facts about that, each tried on 6.18 and 6.12:

A duplicate held by us would keep the eventfd alive, and tells nothing when everybody else has
closed it.  So the taken descriptor is closed again within the call, and two weak ties stay: an
io_uring that holds the counter behind the eventfd but not the open file (native.c), and a row in an
epoll set, which holds nothing at all.

The row vanishes when the last descriptor of that open file is closed, whoever has it: a forked
child, an exec'd program, a message in a socket's queue.  No event tells of it (the kernel takes the
row away before it wakes the eventfd's hang-up waiters), so ``gone()`` reads the rows, which
/proc/self/fdinfo prints: 9,000 of them in 5 ms.

epoll knows a row by (open file, our descriptor number at that moment).  The same eventfd may be
registered twice, and its taken descriptor would get the same low number each time: EEXIST.  So the
descriptor is first moved to a number that goes round, and EEXIST means no more than "take the next".

pidfd_getfd(2) takes the descriptor from the *writing thread's* table.  pidfd_open(2) accepts a
thread since 6.9; before, only the process can be named, and a thread with a table of its own is
found out by comparing ``eventfd-id``.  Whether what came is an eventfd, the ring says when it is tied.

Threads: ``signal`` and ``drop`` must not run at the same time, which is the exchange's lock's work.
``keep`` is the FUSE thread's alone and runs beside them: it knows only rings that nobody else knows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import select
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NewType

from pressurefs._native import ffi, lib
from pressurefs.caller import EVENTFD_LINK, Caller, read_eventfd_id, read_thread_group
from pressurefs.protocol import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pressurefs._native import Ring

EventFd = NewType("EventFd", int)

_ROW = re.compile(rb"^tfd:.* data: +([0-9a-f]+) ", re.MULTILINE)

# Taken descriptors are moved to numbers below this.  The descriptor table is grown to hold them all before
# there are threads: later, each doubling would wait for an RCU grace period, 10 ms.
_MOVED_FDS_END = 16384

# Rings that are ready for use, so that a registration need not wait for one: opening and closing a ring
# takes longer than all the rest.  Each costs a descriptor, so a daemon with a low limit has fewer.
_SPARE_RINGS_MAX = 64
_DESCRIPTORS_PER_SPARE_RING = 16

# Our own shortage, and what the writer is told of it.
_SHORTAGES = {
    errno.EMFILE: (errno.ENFILE, "the daemon is out of descriptors"),
    errno.ENFILE: (errno.ENFILE, "the system is out of descriptors"),
    errno.ENOMEM: (errno.ENOMEM, "the daemon is out of memory or of mappings"),
    errno.ENOSPC: (errno.ENOMEM, "fs.epoll.max_user_watches is used up"),
}


class Signaller:
    """Weak ties to other processes' eventfds.  Lives as long as the mount."""

    def __init__(self) -> None:
        """Raise OSError where this kernel or container allows no io_uring."""
        self._rows = select.epoll()
        self._next_fd = ffi.new("int *")
        self._closing: dict[int, threading.Thread] = {}
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._spare_rings_max = min(_SPARE_RINGS_MAX, limit // _DESCRIPTORS_PER_SPARE_RING)
        self._spare_rings = [_open_ring() for _ in range(self._spare_rings_max)]
        if limit >= _MOVED_FDS_END:
            os.close(fcntl.fcntl(self._rows, fcntl.F_DUPFD_CLOEXEC, _MOVED_FDS_END - 1))

    def keep(self, caller: Caller, fd: int, token: int) -> Ring:
        """Tie the caller's eventfd to ``token`` without holding it; refuse what cannot be tied.

        Whoever calls has looked first, with ``require_eventfd``: what is taken must be closed again,
        and closing somebody's file can block.  EBADF, EINVAL: no eventfd is there any more.  EPERM:
        its owner cannot be looked into.  ENFILE, ENOMEM: our own shortage.
        """
        try:
            return self._keep(caller, fd, token)
        except Refusal:
            raise
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise Refusal(*_SHORTAGES[error.errno]) from None
            raise

    def signal(self, rings: Iterable[Ring]) -> None:
        """Add one to each eventfd.  Never blocks, whatever its readers do."""
        listed = list(rings)
        lib.pfs_ring_signal_all(ffi.new("struct pfs_ring *[]", listed), len(listed))

    def signals_sent(self, ring: Ring) -> int:
        """Return how often a ring was signalled."""
        return lib.pfs_ring_signals_sent(ring)

    def drop(self, ring: Ring) -> None:
        """Let go of the counter; the ring is not the caller's any more."""
        if len(self._spare_rings) < self._spare_rings_max and lib.pfs_ring_untie(ring) == 0:
            self._spare_rings.append(ring)
        else:
            lib.pfs_ring_close(ring)

    def give_up_spares(self) -> None:
        """Close the rings that wait for use: when descriptors run out, they are better used otherwise."""
        while self._spare_rings:
            lib.pfs_ring_close(self._spare_rings.pop())

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` whose eventfd has been closed by its last holder."""
        rows = Path(f"/proc/self/fdinfo/{self._rows.fileno()}").read_bytes()
        return tokens.difference(int(token, 16) for token in _ROW.findall(rows))

    def _keep(self, caller: Caller, fd: int, token: int) -> Ring:
        taken = self._take(caller, fd)
        try:
            ring = self._tie(taken)
        except Refusal:
            self._close_elsewhere(caller, taken)
            raise
        except BaseException:
            os.close(taken)
            raise
        try:
            self._add_row(taken, token)
        except BaseException:
            self.drop(ring)
            raise
        finally:
            os.close(taken)
        return ring

    def _take(self, caller: Caller, fd: int) -> EventFd:
        """Duplicate the caller's descriptor, which another thread may have swapped for anything by now."""
        closing = self._closing.get(caller.uid)
        if closing is not None and closing.is_alive():
            raise Refusal(errno.EPERM, "what this user swapped for an eventfd is still being closed")
        taken = lib.pfs_take(caller.pid, True, fd)  # noqa: FBT003, as a thread
        if taken < 0 and ffi.errno == errno.EINVAL:
            return _take_from_process(caller, fd)
        if taken < 0:
            raise _refusal_of_take(ffi.errno)
        return EventFd(taken)

    def _tie(self, taken: EventFd) -> Ring:
        """Tie a ring to what was taken; the kernel itself says whether that is an eventfd."""
        ring = self._spare_rings.pop() if self._spare_rings else _open_ring()
        if lib.pfs_ring_tie(ring, taken) == 0:
            return ring
        number = ffi.errno
        self._spare_rings.append(ring)
        if number == errno.EBADF:
            raise Refusal(errno.EBADF, "the descriptor was opened with O_PATH")
        if number == errno.EINVAL:
            raise Refusal(errno.EINVAL, "event_fd is no eventfd")
        raise OSError(number, os.strerror(number))

    def _close_elsewhere(self, caller: Caller, taken: EventFd) -> None:
        """Close what turned out to be no eventfd, say a file whose server never answers.

        One such descriptor a user: while it is being closed, its owner is not served.
        """
        closer = self._closing[caller.uid] = threading.Thread(target=os.close, args=(taken,), daemon=True)
        closer.start()

    def _add_row(self, taken: EventFd, token: int) -> None:
        if lib.pfs_epoll_add(self._rows.fileno(), taken, self._next_fd, _MOVED_FDS_END, token) == 0:
            return
        if ffi.errno == errno.EEXIST:
            raise Refusal(errno.ENFILE, "the same eventfd is registered too often")
        raise OSError(ffi.errno, os.strerror(ffi.errno))


def require_eventfd(link: str) -> None:
    """Refuse with EINVAL what /proc does not show as an eventfd."""
    if link != EVENTFD_LINK:
        raise Refusal(errno.EINVAL, "event_fd is no eventfd")


def _take_from_process(caller: Caller, fd: int) -> EventFd:
    """Take a descriptor before Linux 6.9: from the process, and only if the thread means the same."""
    taken = lib.pfs_take(read_thread_group(caller.pid), False, fd)  # noqa: FBT003, not as a thread
    if taken < 0:
        raise _refusal_of_take(ffi.errno)
    if read_eventfd_id("self", taken) == read_eventfd_id(caller.pid, fd):
        return EventFd(taken)
    os.close(taken)
    raise Refusal(
        errno.EPERM, "before Linux 6.9 nothing can be taken from a thread with descriptors of its own"
    )


def _refusal_of_take(number: int) -> OSError:
    if number == errno.EBADF:
        return Refusal(errno.EBADF, "no such descriptor is open in the writer")
    if number in (errno.EPERM, errno.EACCES):
        return Refusal(errno.EPERM, "the daemon may not take a descriptor from the writer")
    if number == errno.ESRCH:
        return Refusal(errno.ESRCH, "the writer is gone")
    return OSError(number, os.strerror(number))


def _open_ring() -> Ring:
    ring = lib.pfs_ring_open()
    if ring == ffi.NULL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return ring
