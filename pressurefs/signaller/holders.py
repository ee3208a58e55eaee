"""Looks into the descriptor tables of all processes for the eventfds that we hold.

Some facts about looking into another process, tried on 6.18 and 6.1:

- A process that executes a program closes descriptors under a lock that kcmp(2) wants, and on 6.18 the
  readlink(2) of its /proc/<pid>/fd/<n> as well.  A file whose server never answers keeps it there for
  ever; it, and whoever looks, can only be killed.
- An epoll set's fdinfo waits for a lock that its owner can keep for ever, and *that* wait nothing ends.
- kcmp(2) orders all open files, so a sorted list of ours is searched in a few steps.
- /proc/<pid>/status waits for nobody.

So a look has a thread of its own.  When that has been at one process for too long it is left behind, and
later looks leave that process's user alone until it comes free: whoever lays the trap holds up no more
than the end of his own registrations.  Threads left behind end with the daemon.
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

# Anything else is our own shortage, and must not pass for "nobody holds it".
_GONE_OR_OUT_OF_SIGHT = (FileNotFoundError, ProcessLookupError, PermissionError)

# A process with a million descriptors takes about so long; it counts as a trap then, and its user waits.
TRAPPED_SECONDS = 5.0


class Look:
    """One walk through all processes.  Lives until it is through, or left behind and through."""

    def __init__(self, ordered: Sequence[EventFd], shunned: AbstractSet[int]) -> None:
        """Begin to look for ``ordered``, at all but the users ``shunned``; RuntimeError: no thread."""
        self._ordered = ordered
        self.shunned = shunned
        self.found: set[EventFd] = set()
        self.is_whole = False
        self._at: tuple[int, float] | None = None
        self._left = False
        self._thread = threading.Thread(target=self._walk, name="look", daemon=True)
        self._thread.start()

    def is_through(self) -> bool:
        """Tell whether it has ended; if ``is_whole``, what was not found is held by nobody in sight."""
        return not self._thread.is_alive()

    def leave_if_trapped(self, now: float) -> int | None:
        """Return the user whose process does not let it go, and give it up; None while it gets on."""
        at = self._at
        if at is None or now - at[1] < TRAPPED_SECONDS:
            return None
        try:
            user = read_user(at[0])
        except OSError:
            return None  # gone by now: it gets on
        self._left = True
        return user

    def _walk(self) -> None:
        try:
            for pid in _numbers("/proc"):
                if self._left:
                    return
                with contextlib.suppress(*_GONE_OR_OUT_OF_SIGHT):
                    self._look_into(pid)
        except OSError as error:
            _log.warning("signaller aio: a look failed: %s", error.strerror)
        else:
            self.is_whole = True

    def _look_into(self, pid: int) -> None:
        if pid == os.getpid() or (self.shunned and read_user(pid) in self.shunned):
            return
        self._at = pid, time.monotonic()
        for task in _tables_of(pid):
            with contextlib.suppress(*_GONE_OR_OUT_OF_SIGHT):
                for fd in _numbers(f"/proc/{task}/fd"):
                    with contextlib.suppress(FileNotFoundError):
                        if os.readlink(f"/proc/{task}/fd/{fd}") == EVENTFD_LINK:
                            self._look_for(task, fd)

    def _look_for(self, task: int, fd: int) -> None:
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
