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
registered twice, and its taken descriptor would get the same low number each time: EEXIST.  So the
descriptor is first moved to a number that goes round, and EEXIST means no more than "take the next".

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
from pressurefs.protocol import Refusal, refusal_of
from pressurefs.signaller.taking import EventFd, Taker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pressurefs._native import Ring
    from pressurefs.caller import Caller

_log = logging.getLogger("pressurefs.signaller")

_ROW_BYTES = 80
_ROWS_SPARE = 64  # registered since the tokens were listed, or ended while their eventfd lives on
_ROW = re.compile(rb"^tfd:.* data: +([0-9a-f]+) ", re.MULTILINE)

# Taken descriptors are moved to numbers below this.  The descriptor table is grown to hold them all before
# there are threads: later, each doubling would wait for an RCU grace period, 10 ms.
_MOVED_FDS_END = 16384

# Rings that are ready for use, so that a registration need not wait for one: opening and closing a ring
# takes longer than all the rest.  Each costs a descriptor, so a daemon with a low limit has fewer.
_SPARE_RINGS_MAX = 64
_DESCRIPTORS_PER_SPARE_RING = 16


class WeakSignaller:
    """Weak ties to other processes' eventfds.  Lives as long as the mount."""

    name = "io_uring"
    limits = "none"

    def __init__(self) -> None:
        """Raise OSError where this kernel or container allows no io_uring."""
        self._rows = select.epoll()
        # Held open: a sweep must not need a descriptor just when there is none.
        self._rows_shown = os.open(f"/proc/self/fdinfo/{self._rows.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        self._next_fd = ffi.new("int *")
        self._taker = Taker()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._spare_rings_max = min(_SPARE_RINGS_MAX, limit // _DESCRIPTORS_PER_SPARE_RING)
        self._spare_rings = [_open_ring() for _ in range(self._spare_rings_max)]
        if limit >= _MOVED_FDS_END:
            os.close(fcntl.fcntl(self._rows, fcntl.F_DUPFD_CLOEXEC, _MOVED_FDS_END - 1))

    def keep(self, caller: Caller, fd: int, token: int) -> Ring:
        """Tie the caller's eventfd to ``token`` without holding it, as ``Signaller.keep`` says."""
        try:
            return self._keep(caller, fd, token)
        except OSError as error:
            raise refusal_of(error) from None

    def signal(self, rings: Iterable[Ring]) -> None:
        """Add one to each eventfd.  Never blocks, whatever its readers do."""
        listed = list(rings)
        signalled = lib.pfs_ring_signal_all(ffi.new("struct pfs_ring *[]", listed), len(listed))
        if signalled != len(listed):
            _log.error(
                "%d of %d signals were lost: %s", len(listed) - signalled, len(listed), os.strerror(ffi.errno)
            )

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
        size = _ROW_BYTES * (len(tokens) + _ROWS_SPARE)
        # The set is shown as one record: a read at the beginning makes it anew, and is whole if it is short.
        while len(rows := os.pread(self._rows_shown, size, 0)) == size:
            size *= 2
        return tokens.difference(int(token, 16) for token in _ROW.findall(rows))

    def _keep(self, caller: Caller, fd: int, token: int) -> Ring:
        taken = self._taker.take(caller, fd)
        try:
            ring = self._tie(taken)
        except Refusal as refusal:
            if refusal.number == errno.EINVAL:
                self._taker.park(caller, taken)
            else:
                os.close(taken)
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

    def _add_row(self, taken: EventFd, token: int) -> None:
        if lib.pfs_epoll_add(self._rows.fileno(), taken, self._next_fd, _MOVED_FDS_END, token) == 0:
            return
        if ffi.errno == errno.EEXIST:
            raise Refusal(errno.ENFILE, "the same eventfd is registered too often")
        raise OSError(ffi.errno, os.strerror(ffi.errno))


def _open_ring() -> Ring:
    ring = lib.pfs_ring_open()
    if ring == ffi.NULL:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return ring
