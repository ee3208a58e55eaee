# SPDX-License-Identifier: MIT
"""Scans the descriptor tables of all processes for other holders of the eventfds that we hold.

Some facts about reading another process, tried on 6.18 and 6.1:

- A process that executes a program closes descriptors under a lock that kcmp(2) takes, and on 6.18
  readlink(2) of its /proc/<pid>/fd/<n> takes it, too.  A file whose server never answers keeps the process
  there for ever; it, and a process that reads it, can only be killed.
- The fdinfo of an epoll set waits for a lock that its owner can keep for ever; nothing ends *that* wait.
- kcmp(2) orders all open files, so a sorted list of ours is searched in a few steps.
- /proc/<pid>/status waits for nobody.

So a scan has a thread of its own.  A thread that has been at one process for too long is abandoned, and later
scans leave out that process's user until it is free again.  A process that blocks the scan delays only the
cleanup of its own user's registrations.  Abandoned threads end with the daemon.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from pressurefs._native import lib
from pressurefs.signaller.writer import EVENTFD_LINK, read_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pressurefs.signaller.take import EventFd

_log = logging.getLogger("pressurefs.signaller")

# Any other error is our own shortage, which does not mean that no process holds the eventfd.
_GONE_OR_OUT_OF_SIGHT = (FileNotFoundError, ProcessLookupError, PermissionError)

# A process with a million descriptors takes about this long; it then counts as one that blocks the scan.
BLOCKED_SECONDS = 5.0


class HolderScan:
    """One scan of all processes.  Lives until it has ended, abandoned or not."""

    def __init__(self, ordered: Sequence[EventFd], shunned: AbstractSet[int]) -> None:
        """Begin to search for ``ordered`` at all users but ``shunned``; RuntimeError: no thread."""
        self._ordered = ordered
        self.shunned = shunned
        self.found: set[EventFd] = set()
        self.is_whole = False
        self._at: tuple[int, float] | None = None
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._walk, name="holders", daemon=True)
        self._thread.start()

    def is_through(self) -> bool:
        """Return whether the scan has ended; if ``is_whole``, no visible process holds what was not found."""
        return not self._thread.is_alive()

    def abandon_if_blocked(self, now: float) -> int | None:
        """Abandon a scan that one process blocks, and return that process's user; None while it advances."""
        at = self._at
        if at is None or now - at[1] < BLOCKED_SECONDS:
            return None
        try:
            user = read_user(at[0])
        except OSError:
            return None  # the process has ended: the scan advances
        self._is_abandoned = True
        return user

    def _walk(self) -> None:
        try:
            for pid in _numbers("/proc"):
                if self._is_abandoned:
                    return
                with contextlib.suppress(*_GONE_OR_OUT_OF_SIGHT):
                    self._scan_process(pid)
        except OSError as error:
            _log.warning("signaller aio: a scan failed: %s", error.strerror)
        else:
            self.is_whole = True

    def _scan_process(self, pid: int) -> None:
        if pid == os.getpid() or (self.shunned and read_user(pid) in self.shunned):
            return
        self._at = pid, time.monotonic()
        for task in _tables_of(pid):
            with contextlib.suppress(*_GONE_OR_OUT_OF_SIGHT):
                for fd in _numbers(f"/proc/{task}/fd"):
                    with contextlib.suppress(FileNotFoundError):
                        if os.readlink(f"/proc/{task}/fd/{fd}") == EVENTFD_LINK:
                            self._search(task, fd)

    def _search(self, task: int, fd: int) -> None:
        low, high = 0, len(self._ordered)
        while low < high:
            middle = (low + high) // 2
            order = lib.pfs_file_order(task, fd, self._ordered[middle])
            if order == 0:
                self.found.add(self._ordered[middle])
            if order <= 0:
                return
            low, high = (low, middle) if order == 1 else (middle + 1, high)


def _tables_of(pid: int) -> Iterator[int]:
    """Yield one thread for each descriptor table of a process; most have one."""
    last = None
    for task in _numbers(f"/proc/{pid}/task"):
        if last is None or lib.pfs_same_table(last, task) != 1:
            last = task
            yield task


def _numbers(directory: str) -> Iterator[int]:
    return map(int, filter(str.isdecimal, os.listdir(directory)))
