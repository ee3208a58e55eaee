"""The signaller for where io_uring is forbidden (kernel.io_uring_disabled, a container's seccomp profile).

It holds a duplicate of each eventfd, and signals by AIO: as exact as io_uring, and as unable to block.
What a holder cannot be told is that everybody else has closed.  So now and then it looks for other holders
in the descriptor tables of all processes that it can see (looking.py), and calls an eventfd gone when two
such looks in a row found none.  What that cannot promise:

- a registration outlives its eventfd by up to two looks;
- an eventfd that is nowhere but in a socket's queue for that long counts as gone;
- so does one whose holders are all out of sight: in another pid namespace, or another user's where the
  daemon is an ordinary user's;
- where kcmp(2) is forbidden too, nothing is looked for, and every registration lasts until the end.

Threads: its own lock guards what is held.  Nothing under it waits for anybody.
"""

from __future__ import annotations

import bisect
import errno
import logging
import os
import resource
import threading
import time
from typing import TYPE_CHECKING

from pressurefs._native import ffi, lib
from pressurefs.errors import Refusal, refusal_of
from pressurefs.signaller.holders import Look
from pressurefs.signaller.take import Taker
from pressurefs.signaller.writer import EVENTFD_LINK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pressurefs.signaller.take import EventFd
    from pressurefs.signaller.writer import Caller

_log = logging.getLogger("pressurefs.signaller")

# Begun so often.  Two looks, each begun and collected by a sweep, are 20 s; 30 s where there are so many to
# be swept that sweeps come every 10 s.
LOOK_SECONDS = 8.0

# Left for looks, which are what frees the others.
_SPARE_FDS = 8

# Looks that a process keeps trapped; with so many, nothing is looked for until one comes free.
_TRAPPED_MAX = 16


class OpenEventFd:
    """One eventfd, whatever the number of its registrations.  Sorts as the kernel orders open files."""

    def __init__(self, fd: EventFd) -> None:
        self.fd = fd
        self.tokens: set[int] = set()
        self.uids: set[int] = set()
        self.was_missed = False

    def order(self, other: OpenEventFd) -> int:
        """Return 0 if both are the same open file, 1 if this one comes before."""
        return lib.pfs_file_order(os.getpid(), self.fd, other.fd)

    def __lt__(self, other: OpenEventFd) -> bool:
        return self.order(other) == 1


class Held:
    """One registration's share of an eventfd that we hold."""

    def __init__(self, eventfd: OpenEventFd, token: int) -> None:
        self.eventfd = eventfd
        self.token = token
        self.signals_sent = 0


class AioSignaller:
    """Duplicates of other processes' eventfds.  Lives as long as the mount."""

    name = "aio"
    signals_rings = False

    def __init__(self) -> None:
        """Raise OSError where this kernel has no AIO either."""
        self._aio = lib.pfs_aio_open()
        if self._aio == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self._may_look = lib.pfs_same_table(os.getpid(), os.getpid()) == 1
        self.limits = "no io_uring here: a registration outlives its eventfd by up to 30 s"
        if not self._may_look:
            self.limits = "no io_uring and no kcmp here: a registration lasts until the unmount"
        self._taker = Taker()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._taken_end = limit - _SPARE_FDS
        self._lock = threading.Lock()
        self._ordered: list[OpenEventFd] = []
        self._look: Look | None = None
        self._looked: list[OpenEventFd] = []
        self._look_at = float("-inf")
        self._dropped: list[EventFd] = []  # open until no look can compare them any more
        self._trapped: dict[Look, int] = {}

    def keep(self, caller: Caller, fd: int, token: int) -> Held:
        """Hold the caller's eventfd, as ``Signaller.keep`` says."""
        try:
            taken = self._taker.take(caller, fd)
        except OSError as error:
            raise refusal_of(error) from None
        if os.readlink(f"/proc/self/fd/{taken}") != EVENTFD_LINK:
            self._taker.park(caller, taken)
            raise Refusal(errno.EINVAL, "event_fd is no eventfd")
        if not os.lstat(f"/proc/self/fd/{taken}").st_mode & 0o700:
            os.close(taken)
            raise Refusal(errno.EBADF, "the descriptor was opened with O_PATH")
        if taken >= self._taken_end:
            os.close(taken)
            raise refusal_of(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        with self._lock:
            eventfd = self._hold(OpenEventFd(taken))
            eventfd.tokens.add(token)
            eventfd.uids.add(caller.uid)
        return Held(eventfd, token)

    def signal(self, handles: Iterable[Held]) -> None:
        """Add one to each eventfd."""
        listed = list(handles)
        lib.pfs_aio_signal_all(self._aio, ffi.new("int[]", [one.eventfd.fd for one in listed]), len(listed))
        for one in listed:
            one.signals_sent += 1

    def signals_sent(self, handle: Held) -> int:
        """Return how often an eventfd was signalled."""
        return handle.signals_sent

    def drop(self, handle: Held) -> bool:
        """Close our duplicate with its last registration; nothing stays."""
        eventfd = handle.eventfd
        with self._lock:
            eventfd.tokens.remove(handle.token)
            if not eventfd.tokens:
                self._ordered.remove(eventfd)
                self._dropped.append(eventfd.fd)
                self._close_dropped()
        return False

    def give_up_spares(self) -> None:
        """Nothing is kept ready."""

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` for which two looks in a row found no holder but us."""
        with self._lock:
            now = time.monotonic()
            gone = set() if self._look is None else self._collect(self._look, now)
            self._trapped = {look: uid for look, uid in self._trapped.items() if not look.is_through()}
            if self._look is None:
                self._close_dropped()
                self._begin_look(now)
        return tokens & gone

    def close(self) -> None:
        """Close the way to signal; what a look still compares stays open."""
        with self._lock:
            self._close_dropped()
        lib.pfs_aio_close(self._aio)
        self._taker.close()

    def _hold(self, taken: OpenEventFd) -> OpenEventFd:
        """Find a place in the order for what was taken, or the same eventfd there."""
        place = bisect.bisect_left(self._ordered, taken)
        if place < len(self._ordered) and taken.order(self._ordered[place]) == 0:
            os.close(taken.fd)
            self._ordered[place].was_missed = False
            return self._ordered[place]
        self._ordered.insert(place, taken)
        return taken

    def _close_dropped(self) -> None:
        if self._look is None:
            while self._dropped:
                os.close(self._dropped.pop())

    def _begin_look(self, now: float) -> None:
        if (
            not (self._may_look and self._ordered)
            or now < self._look_at
            or len(self._trapped) >= _TRAPPED_MAX
        ):
            return
        self._look_at = now + LOOK_SECONDS
        self._looked = list(self._ordered)
        try:
            self._look = Look([one.fd for one in self._looked], set(self._trapped.values()))
        except RuntimeError as error:
            _log.warning("signaller aio: %s", error)

    def _collect(self, look: Look, now: float) -> set[int]:
        """Return the tokens that a look has found out to be gone; give up a look that is trapped."""
        gone: set[int] = set()
        if look.is_through():
            for eventfd in self._looked if look.is_whole else ():
                missed = eventfd.fd not in look.found
                # Who could not be looked at may hold what is his own; and root's, whatever it likes.
                missed = missed and 0 not in look.shunned and eventfd.uids.isdisjoint(look.shunned)
                if missed and eventfd.was_missed:
                    gone |= eventfd.tokens
                eventfd.was_missed = missed
            self._look = None
        elif (uid := look.leave_if_trapped(now)) is not None:
            why = "a process of uid %d lets nobody look: the registrations that it may hold do not end"
            _log.warning(f"signaller aio: {why}", uid)
            self._trapped[look] = uid
            self._look = None
            self._look_at = now
        return gone
