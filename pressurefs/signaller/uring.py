"""The signaller that owns nothing: an io_uring signals, an epoll row tells of the end.

Some facts about that, each tried on 6.18 and 6.12:

A duplicate held by us would keep the eventfd alive, and tells nothing when everybody else has
closed it.  So the taken descriptor is closed again within the call, and two weak ties stay: an
io_uring that holds the counter behind the eventfd but not the open file (native.c), and a row in an
epoll set, which holds nothing at all.

The row vanishes when the last descriptor of that open file is closed, whoever has it: a forked
child, an exec'd program, a message in a socket's queue.  No event tells of it (the kernel takes the
row away before it wakes the eventfd's hang-up waiters), so ``gone()`` reads the rows, which
/proc/self/fdinfo prints: 9,000 of them in 5 ms.

epoll knows a row by (open file, our descriptor number at that moment).  The same eventfd may be
registered twice, and its taken descriptor would get the same low number each time: EEXIST.  Then the
descriptor is moved to a number that goes round, and EEXIST means no more than "take the next".

Whether what came is an eventfd, the ring says when it is tied.

Threads: ``signal`` and ``drop`` must not run at the same time, which is the exchange's lock's work.
``keep`` is the FUSE thread's alone and runs beside them: it knows only rings that nobody else knows.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import resource
import select
from typing import TYPE_CHECKING

from pressurefs._native import ffi, lib
from pressurefs.errors import Refusal, refusal_of
from pressurefs.signaller.take import EventFd, Taker, refusal_of_look

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pressurefs._native import Ring
    from pressurefs.signaller.writer import Caller

_log = logging.getLogger("pressurefs.signaller")

_ROW_BYTES = 80
_ROWS_SPARE = 64  # registered since the tokens were listed
_ROW = re.compile(rb"^tfd:.* data: +([0-9a-f]+) ", re.MULTILINE)

# Taken descriptors are moved to numbers below this.  The descriptor table is grown to hold them all before
# there are threads: later, each doubling would wait for an RCU grace period, 10 ms.
_MOVED_FDS_END = 16384

# Rings that are ready for use, so that a registration need not wait for one: opening and closing a ring
# takes longer than all the rest.  Each costs a descriptor, so a daemon with a low limit has fewer.
_SPARE_RINGS_MAX = 64
_DESCRIPTORS_PER_SPARE_RING = 16


class UringSignaller:
    """Weak ties to other processes' eventfds.  Lives as long as the mount."""

    name = "io_uring"
    limits = "none"
    signals_rings = True

    def __init__(self) -> None:
        """Raise OSError where this kernel or container allows no io_uring."""
        self._epoll = select.epoll()
        self._rows = ffi.new("struct pfs_rows *")
        self._rows.epoll_fd = self._epoll.fileno()
        self._rows.end_fd = _MOVED_FDS_END
        # Held open: a sweep must not need a descriptor just when there is none.
        self._rows_shown = os.open(f"/proc/self/fdinfo/{self._epoll.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        self._rows_bytes = 0  # of the last reading
        self._taker = Taker()
        self._taken = ffi.new("int *")
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._spare_rings_max = min(_SPARE_RINGS_MAX, limit // _DESCRIPTORS_PER_SPARE_RING)
        self._spare_rings: list[Ring] = []
        try:
            while len(self._spare_rings) < self._spare_rings_max:
                self._spare_rings.append(_open_ring())
        except OSError:
            self.close()
            raise
        if limit >= _MOVED_FDS_END:
            os.close(fcntl.fcntl(self._epoll, fcntl.F_DUPFD_CLOEXEC, _MOVED_FDS_END - 1))

    def keep(self, caller: Caller, fd: int, token: int) -> Ring:
        """Tie the caller's eventfd to ``token`` without holding it, as ``Signaller.keep`` says."""
        self._taker.require_trusted(caller)
        ring = self._spare_rings.pop() if self._spare_rings else _open_ring()
        step = lib.PFS_TAKE
        try:
            writer = self._taker.writer
            step = lib.pfs_uring_keep(ring, writer, self._rows, caller.pid, fd, token, self._taken)
            if step == lib.PFS_TAKE:
                self._taken[0] = self._taker.take_otherwise(caller, fd, ffi.errno)
                step = lib.pfs_uring_keep_taken(ring, self._rows, self._taken[0], token)
            number = ffi.errno
        finally:
            if step != lib.PFS_KEPT:
                self.drop(ring)
        if step != lib.PFS_KEPT:
            raise self._refusal(caller, fd, step, number)
        return ring

    def signal(self, rings: Iterable[Ring]) -> None:
        """Add one to each eventfd.  Never blocks, whatever its readers do."""
        listed = list(rings)
        signalled = lib.pfs_uring_signal_all(ffi.new("struct pfs_uring *[]", listed), len(listed))
        if signalled != len(listed):
            _log.error(
                "%d of %d signals were lost: %s", len(listed) - signalled, len(listed), os.strerror(ffi.errno)
            )

    def signals_sent(self, ring: Ring) -> int:
        """Return how often a ring was signalled."""
        return lib.pfs_uring_signals_sent(ring)

    def drop(self, ring: Ring) -> bool:
        """Let go of the counter; the ring is not the caller's any more.  The row stays with the eventfd."""
        if len(self._spare_rings) < self._spare_rings_max and lib.pfs_uring_untie(ring) == 0:
            self._spare_rings.append(ring)
        else:
            lib.pfs_uring_close(ring)
        return True

    def give_up_spares(self) -> None:
        """Close the rings that wait for use: when descriptors run out, they are better used otherwise."""
        while self._spare_rings:
            lib.pfs_uring_close(self._spare_rings.pop())

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` whose eventfd has been closed by its last holder."""
        if not tokens:
            return tokens
        # Not every row has its token among these: it stays as long as its eventfd.
        size = max(_ROW_BYTES * len(tokens), self._rows_bytes) + _ROW_BYTES * _ROWS_SPARE
        # The set is shown as one record: a read at the beginning makes it anew, and is whole if it is short.
        while len(rows := os.pread(self._rows_shown, size, 0)) == size:
            size *= 2
        self._rows_bytes = len(rows)
        return tokens.difference(int(token, 16) for token in _ROW.findall(rows))

    def close(self) -> None:
        """Close the rows and the rings."""
        self.give_up_spares()
        self._taker.close()
        os.close(self._rows_shown)
        self._epoll.close()

    def _refusal(self, caller: Caller, fd: int, step: int, number: int) -> OSError:
        """Return what the writer is told; ``number`` is the errno of the step that failed."""
        if step == lib.PFS_LOOK:
            return refusal_of_look(caller, fd, number)
        if (step, number) == (lib.PFS_TIE, errno.EINVAL):
            self._taker.park(caller, EventFd(self._taken[0]))
            return Refusal(errno.EINVAL, "event_fd is no eventfd")
        if (step, number) == (lib.PFS_TIE, errno.EBADF):
            return Refusal(errno.EBADF, "the descriptor was opened with O_PATH")
        if (step, number) == (lib.PFS_ROW, errno.EEXIST):
            return Refusal(errno.EDQUOT, "the same eventfd is registered too often")
        return refusal_of(OSError(number, os.strerror(number)))


def _open_ring() -> Ring:
    ring = lib.pfs_uring_open()
    if ring == ffi.NULL:
        raise refusal_of(OSError(ffi.errno, os.strerror(ffi.errno)))
    return ring
