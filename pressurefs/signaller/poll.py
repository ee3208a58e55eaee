"""An open file that is polled instead of an eventfd.

Pure but for the waking, which is a function that comes in: what FUSE calls a poll notification.
"""

import select
import threading
from collections.abc import Callable


class Opening:
    """An open file: who opened it, and its poller if it has one.  Lives until its last close."""

    def __init__(self, uid: int, wake: Callable[[int], None]) -> None:
        self.uid = uid
        self.wake = wake
        self.poller: Poller | None = None
        self.token = 0


class Poller:
    """The readiness of one open file.  Lives until its last close, or the end of its cgroup.

    Events that nobody collected merge into one, and the poll that reports it clears it.  Signalled
    under the exchange's lock, asked by the FUSE thread; a lock of its own, below that one, stands
    between "nothing yet" and "then wake me".
    """

    def __init__(self, wake: Callable[[int], None]) -> None:
        """``wake`` is given the number under which the kernel knows the waiting file."""
        self._lock = threading.Lock()
        self._wake = wake
        self._waiting: int | None = None
        self._has_event = False
        self._has_ended = False
        self.signals_sent = 0

    def signal(self) -> None:
        """Make the file ready, and wake who waits for it."""
        with self._lock:
            self.signals_sent += 1
            self._has_event = True
            waiting = self._waiting
        if waiting is not None:
            self._wake(waiting)

    def end(self) -> None:
        """Signal for the last time: nothing will ever come again."""
        self._has_ended = True
        self.signal()

    def poll(self, waiting: int | None) -> int:
        """Return the events that are ready; from the first time that somebody waits, each event wakes.

        Also after an answer that was not empty: an edge-triggered epoll asks once, and then waits on.
        """
        with self._lock:
            if waiting is not None:
                self._waiting = waiting
            if self._has_ended:
                return select.POLLPRI | select.POLLERR
            if self._has_event:
                self._has_event = False
                return select.POLLPRI
            return 0
