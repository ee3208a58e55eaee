# SPDX-License-Identifier: MIT
"""The signaller for where io_uring is forbidden (kernel.io_uring_disabled, a container's seccomp profile).

It holds a duplicate of each eventfd, and signals by AIO, which is as exact as io_uring and blocks as little.
The kernel does not report to the holder of a duplicate that all other descriptors are closed.  So from time
to time this signaller scans the descriptor tables of all visible processes (holders.py), and an eventfd
counts as closed when two scans in a row found no other holder.  What this cannot promise:

- a registration outlives its eventfd by up to two scans;
- an eventfd that is only in the queue of a socket for that long counts as closed;
- so does an eventfd whose holders are not visible: in another pid namespace, or of another user if the daemon
  is an ordinary user's;
- where kcmp(2) is forbidden too, there are no scans, and each registration lasts until the unmount.

Threads: a lock of its own guards what is held.  Nothing under it waits.
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
from pressurefs.signaller.holders import HolderScan
from pressurefs.signaller.take import Taker
from pressurefs.signaller.target import Target
from pressurefs.signaller.writer import EVENTFD_LINK

if TYPE_CHECKING:
    from pressurefs.signaller.take import EventFd
    from pressurefs.signaller.writer import Caller

_log = logging.getLogger("pressurefs.signaller")

# The time between the starts of two scans.  Two scans, each begun and collected by a sweep, take 20 s; 30 s
# with so many listeners that sweeps come every 10 s.
SCAN_SECONDS = 8.0

# Kept free for scans, which free the others.
_SPARE_FDS = 8

# Scans that processes block; with this many, no scan begins until one is free.
_BLOCKED_MAX = 16


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
        self.target = Target(lib.PFS_BY_AIO, eventfd.fd, ffi.NULL)


class AioSignaller:
    """Duplicates of other processes' eventfds.  Lives as long as the mount."""

    name = "aio"

    def __init__(self) -> None:
        """Raise OSError where this kernel has no AIO either."""
        self.aio = lib.pfs_aio_open()
        if self.aio == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self._may_scan = lib.pfs_same_table(os.getpid(), os.getpid()) == 1
        self.limits = "no io_uring here: a registration outlives its eventfd by up to 30 s"
        if not self._may_scan:
            self.limits = "no io_uring and no kcmp here: a registration lasts until the unmount"
        self._taker = Taker()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._taken_end = limit - _SPARE_FDS
        self._lock = threading.Lock()
        self._ordered: list[OpenEventFd] = []
        self._scan: HolderScan | None = None
        self._scanned: list[OpenEventFd] = []
        self._scan_at = float("-inf")
        self._dropped: list[EventFd] = []  # open until no scan compares them any more
        self._blocked: dict[HolderScan, int] = {}

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
        """Return those of ``tokens`` for which two scans in a row found no holder but us."""
        with self._lock:
            now = time.monotonic()
            gone = set() if self._scan is None else self._collect(self._scan, now)
            self._blocked = {scan: uid for scan, uid in self._blocked.items() if not scan.is_through()}
            if self._scan is None:
                self._close_dropped()
                self._begin_scan(now)
        return tokens & gone

    def close(self) -> None:
        """Close the AIO context; eventfds that a scan still compares stay open."""
        with self._lock:
            self._close_dropped()
        lib.pfs_aio_close(self.aio)
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
        if self._scan is None:
            while self._dropped:
                os.close(self._dropped.pop())

    def _begin_scan(self, now: float) -> None:
        if (
            not (self._may_scan and self._ordered)
            or now < self._scan_at
            or len(self._blocked) >= _BLOCKED_MAX
        ):
            return
        self._scan_at = now + SCAN_SECONDS
        self._scanned = list(self._ordered)
        try:
            self._scan = HolderScan([one.fd for one in self._scanned], set(self._blocked.values()))
        except RuntimeError as error:
            _log.warning("signaller aio: %s", error)

    def _collect(self, scan: HolderScan, now: float) -> set[int]:
        """Return the tokens whose eventfds a scan has found closed; abandon a scan that is blocked."""
        gone: set[int] = set()
        if scan.is_through():
            for eventfd in self._scanned if scan.is_whole else ():
                missed = eventfd.fd not in scan.found
                # A user whose processes were left out can hold their own eventfds; root can hold any.
                missed = missed and 0 not in scan.shunned and eventfd.uids.isdisjoint(scan.shunned)
                if missed and eventfd.was_missed:
                    gone |= eventfd.tokens
                eventfd.was_missed = missed
            self._scan = None
        elif (uid := scan.abandon_if_blocked(now)) is not None:
            why = "a process of uid %d lets nobody look: the registrations that it may hold do not end"
            _log.warning(f"signaller aio: {why}", uid)
            self._blocked[scan] = uid
            self._scan = None
            self._scan_at = now
        return gone
