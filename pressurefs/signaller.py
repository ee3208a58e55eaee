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
found out by comparing ``eventfd-id``.

Threads: take, keep and drop are called under the daemon's lock or before anybody else knows the
ring; ``signal`` and ``drop`` of one ring must not run at the same time, which is that lock's work.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NewType

from pressurefs._native import ffi, lib
from pressurefs.caller import EVENTFD_LINK, Caller, read_eventfd_id, read_thread_group
from pressurefs.protocol import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pressurefs._native import Ring

EventFd = NewType("EventFd", int)

_ROW = re.compile(rb"^tfd:.* data: +([0-9a-f]+) ", re.MULTILINE)

# The numbers that a taken descriptor is moved to.  The descriptor table is grown to hold them all before
# there are threads: later, each doubling would wait for an RCU grace period, 10 ms.
_MOVED_FDS = range(64, 16384)
# One eventfd registered this often has a row under every number that we try.
_MOVES_MAX = 4096

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
        self._next_fd = _MOVED_FDS.start
        self._closing: dict[int, threading.Thread] = {}
        probe = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            self.drop(_open_ring(probe))
            with contextlib.suppress(OSError):  # our limit may be lower
                os.close(fcntl.fcntl(probe, fcntl.F_DUPFD_CLOEXEC, _MOVED_FDS.stop - 1))
        finally:
            os.close(probe)

    def keep(self, caller: Caller, fd: int, token: int) -> Ring:
        """Tie the caller's eventfd to ``token`` without holding it; refuse what cannot be tied.

        Whoever calls has looked first, with ``require_eventfd``: what is taken must be closed again,
        and closing somebody's file can block.  EBADF, EINVAL: no eventfd is there any more.  EPERM:
        its owner cannot be looked into.  ENFILE, ENOMEM: our own shortage.
        """
        with _shortages_refused():
            taken = self._take(caller, fd)
            try:
                return self._tie(taken, token)
            finally:
                os.close(taken)

    def signal(self, rings: Iterable[Ring]) -> None:
        """Add one to each eventfd.  Never blocks, whatever its readers do."""
        listed = list(rings)
        lib.pfs_ring_signal_all(ffi.new("struct pfs_ring *[]", listed), len(listed))

    def signals_sent(self, ring: Ring) -> int:
        """Return how often a ring was signalled."""
        return lib.pfs_ring_signals_sent(ring)

    def drop(self, ring: Ring) -> None:
        """Let go of the counter; the ring must not be used again."""
        lib.pfs_ring_close(ring)

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` whose eventfd has been closed by its last holder."""
        rows = Path(f"/proc/self/fdinfo/{self._rows.fileno()}").read_bytes()
        return tokens.difference(int(token, 16) for token in _ROW.findall(rows))

    def close(self) -> None:
        """Close the epoll set.  Rings are dropped by their owner, before."""
        self._rows.close()

    def _take(self, caller: Caller, fd: int) -> EventFd:
        """Duplicate the caller's descriptor; whatever else came in its place is closed elsewhere."""
        closing = self._closing.get(caller.uid)
        if closing is not None and closing.is_alive():
            raise Refusal(errno.EPERM, "what this user swapped for an eventfd is still being closed")
        pidfd, is_whole_process = _open_pidfd(caller.pid)
        try:
            taken = lib.pfs_pidfd_getfd(pidfd, fd)
            if taken < 0:
                raise _refusal_of_getfd(ffi.errno)
        finally:
            os.close(pidfd)
        # Between the look and the take another thread of the writer can have put anything there,
        # say a file of a file system whose server never answers: closing that would block us.
        link = os.readlink(f"/proc/self/fd/{taken}")
        if link != EVENTFD_LINK:
            closer = self._closing[caller.uid] = threading.Thread(target=os.close, args=(taken,), daemon=True)
            closer.start()
            require_eventfd(link)
        if is_whole_process and read_eventfd_id("self", taken) != read_eventfd_id(caller.pid, fd):
            os.close(taken)
            raise Refusal(
                errno.EPERM, "before Linux 6.9 nothing can be taken from a thread with descriptors of its own"
            )
        return EventFd(taken)

    def _tie(self, taken: EventFd, token: int) -> Ring:
        ring = _open_ring(taken)
        try:
            self._add_row(taken, token)
        except BaseException:
            self.drop(ring)
            raise
        return ring

    def _add_row(self, taken: EventFd, token: int) -> None:
        for _ in range(_MOVES_MAX):
            moved = self._move(taken)
            try:
                if lib.pfs_epoll_add(self._rows.fileno(), moved, token) == 0:
                    return
                if ffi.errno != errno.EEXIST:
                    raise OSError(ffi.errno, os.strerror(ffi.errno))
            finally:
                os.close(moved)
        raise Refusal(errno.ENFILE, "the same eventfd is registered too often")

    def _move(self, taken: EventFd) -> EventFd:
        """Duplicate a descriptor onto the next number, round and round."""
        try:
            moved = fcntl.fcntl(taken, fcntl.F_DUPFD_CLOEXEC, self._next_fd)
        except OSError as error:
            # EINVAL: past our descriptor limit; EMFILE: every number from there on is in use.
            if error.errno not in (errno.EINVAL, errno.EMFILE):
                raise
            moved = fcntl.fcntl(taken, fcntl.F_DUPFD_CLOEXEC, 0)
        self._next_fd = moved + 1 if moved + 1 in _MOVED_FDS else _MOVED_FDS.start
        return EventFd(moved)


def require_eventfd(link: str) -> None:
    """Refuse with EINVAL what /proc does not show as an eventfd."""
    if link != EVENTFD_LINK:
        raise Refusal(errno.EINVAL, "event_fd is no eventfd")


def _open_pidfd(tid: int) -> tuple[int, bool]:
    """Return a pidfd for a thread's descriptors, and whether it stands for its whole process."""
    pidfd = lib.pfs_pidfd_open_thread(tid)
    if pidfd >= 0:
        return pidfd, False
    if ffi.errno != errno.EINVAL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return os.pidfd_open(read_thread_group(tid)), True


def _refusal_of_getfd(number: int) -> OSError:
    if number == errno.EBADF:
        return Refusal(errno.EBADF, "no such descriptor is open in the writer")
    if number in (errno.EPERM, errno.EACCES):
        return Refusal(errno.EPERM, "the daemon may not take a descriptor from the writer")
    if number == errno.ESRCH:
        return Refusal(errno.ESRCH, "the writer is gone")
    return OSError(number, os.strerror(number))


def _open_ring(event_fd: int) -> Ring:
    ring = lib.pfs_ring_open(event_fd)
    if ring == ffi.NULL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return ring


@contextlib.contextmanager
def _shortages_refused() -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise Refusal(*_SHORTAGES[error.errno]) from None
        raise
