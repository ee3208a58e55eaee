# SPDX-License-Identifier: MIT
"""The signaller that owns nothing: an io_uring signals, an epoll row tells of the end.

Some facts about that, each tried on 6.18 and 6.12:

A duplicate held by us would keep the eventfd alive, and nothing would report that all other descriptors are
closed.  So the taken descriptor is closed again within the call, and two ties stay: an io_uring that holds
the counter behind the eventfd but not the open file (native/uring.c), and a row in an epoll set, which holds
nothing.

The row vanishes when the last descriptor of that open file is closed, whoever has it: a forked
child, an exec'd program, a message in a socket's queue.  No event tells of it (the kernel takes the
row away before it wakes the eventfd's hang-up waiters), so ``gone()`` reads the rows, which
/proc/self/fdinfo prints: 9,000 of them in 5 ms.

epoll knows a row by (open file, our descriptor number at that moment).  The same eventfd may be
registered twice, and its taken descriptor would get the same low number each time: EEXIST.  Then the
descriptor is moved to a number that goes round, and EEXIST means no more than "take the next".

The io_uring finds out whether what was taken is an eventfd, when it is tied.

Threads: the event path signals; an io_uring is dropped once the event path does not know it any more, under
the dispatcher's lock.  ``keep`` is the FUSE thread's alone and runs beside them: it knows only io_urings that
nobody else knows.
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
from pressurefs.signaller.target import Target

if TYPE_CHECKING:
    from pressurefs._native import Aio, Uring
    from pressurefs.signaller.writer import Caller

_log = logging.getLogger("pressurefs.signaller")

_ROW_BYTES = 80
_ROWS_SPARE = 64  # registered since the tokens were listed
_ROW = re.compile(rb"^tfd:.* data: +([0-9a-f]+) ", re.MULTILINE)

# Taken descriptors are moved to numbers below this.  The descriptor table is grown to hold them all before
# there are threads: later, each doubling would wait for an RCU grace period, 10 ms.
_MOVED_FDS_END = 16384

# Urings that are ready for use, so that a registration need not wait for one: opening and closing a ring
# takes longer than all the rest.  Each costs a descriptor, so a daemon with a low limit has fewer.
_SPARE_URINGS_MAX = 64
_DESCRIPTORS_PER_SPARE_URING = 16


class IoUring:
    """An io_uring that signals one eventfd at a time.  Lives until closed."""

    __slots__ = ("pointer", "target")

    def __init__(self, pointer: Uring) -> None:
        self.pointer = pointer
        self.target = Target(lib.PFS_BY_URING, lib.pfs_uring_fd(pointer), pointer)

    def close(self) -> None:
        """Close it; its eventfd, if it has one, is not signalled any more."""
        lib.pfs_uring_close(self.pointer)


class UringSignaller:
    """Weak ties to other processes' eventfds.  Lives as long as the mount."""

    name = "io_uring"
    limits = "none"
    aio: Aio | None = None

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
        self._spare_urings_max = min(_SPARE_URINGS_MAX, limit // _DESCRIPTORS_PER_SPARE_URING)
        self._spare_urings: list[IoUring] = []
        try:
            while len(self._spare_urings) < self._spare_urings_max:
                self._spare_urings.append(_open_uring())
        except OSError:
            self.close()
            raise
        if limit >= _MOVED_FDS_END:
            os.close(fcntl.fcntl(self._epoll, fcntl.F_DUPFD_CLOEXEC, _MOVED_FDS_END - 1))

    def keep(self, caller: Caller, fd: int, token: int) -> IoUring:
        """Tie the caller's eventfd to ``token`` without holding it, as ``Signaller.keep`` says."""
        self._taker.require_trusted(caller)
        uring = self._spare_urings.pop() if self._spare_urings else _open_uring()
        step = lib.PFS_TAKE
        try:
            writer = self._taker.writer
            step = lib.pfs_uring_keep(uring.pointer, writer, self._rows, caller.pid, fd, token, self._taken)
            if step == lib.PFS_TAKE:
                self._taken[0] = self._taker.take_otherwise(caller, fd, ffi.errno)
                step = lib.pfs_uring_keep_taken(uring.pointer, self._rows, self._taken[0], token)
            number = ffi.errno
        finally:
            if step != lib.PFS_KEPT:
                self.drop(uring)
        if step != lib.PFS_KEPT:
            raise self._refusal(caller, fd, step, number)
        return uring

    def drop(self, uring: IoUring) -> bool:
        """Untie the io_uring, which can be reused from here on.  The row stays as long as the eventfd."""
        if len(self._spare_urings) < self._spare_urings_max and lib.pfs_uring_untie(uring.pointer) == 0:
            self._spare_urings.append(uring)
        else:
            uring.close()
        return True

    def give_up_spares(self) -> None:
        """Close the io_urings that are ready for use: their descriptors are needed for other things."""
        while self._spare_urings:
            self._spare_urings.pop().close()

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
        """Close the epoll set and the io_urings that are ready for use."""
        self.give_up_spares()
        self._taker.close()
        os.close(self._rows_shown)
        self._epoll.close()

    def _refusal(self, caller: Caller, fd: int, step: int, number: int) -> OSError:
        """Return the refusal; ``number`` is the errno of the step that failed."""
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


def _open_uring() -> IoUring:
    pointer = lib.pfs_uring_open()
    if pointer == ffi.NULL:
        raise refusal_of(OSError(ffi.errno, os.strerror(ffi.errno)))
    return IoUring(pointer)
