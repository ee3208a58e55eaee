"""The signaller for where io_uring is forbidden (kernel.io_uring_disabled, a container's seccomp profile).

It holds a duplicate of each eventfd, and signals by AIO: as exact as io_uring, and as unable to block.
What a holder cannot be told is that everybody else has closed.  So ``gone`` looks for other holders in the
descriptor tables of all processes that it can see, and calls an eventfd gone when two such looks in a row
found none.  What that cannot promise:

- a registration outlives its eventfd by up to two looks, which come every ten seconds;
- an eventfd that is nowhere but in a socket's queue for that long counts as gone;
- so does one whose holders are all out of sight: in another pid namespace, or another user's where the
  daemon is an ordinary user's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

from pressurefs._native import ffi, lib
from pressurefs.caller import EVENTFD_LINK, read_eventfd_id
from pressurefs.protocol import Refusal, refusal_of
from pressurefs.signaller.taking import Taker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pressurefs.caller import Caller
    from pressurefs.signaller.taking import EventFd

LOOK_SECONDS = 10.0


class Held:
    """One eventfd that we hold, and the token that it was registered under."""

    def __init__(self, event_fd: EventFd, eventfd_id: int, token: int) -> None:
        self.event_fd = event_fd
        self.eventfd_id = eventfd_id
        self.token = token
        self.signals_sent = 0
        self.was_missed = False


class HoldingSignaller:
    """Duplicates of other processes' eventfds.  Lives as long as the mount."""

    name = "aio"
    limits = "no io_uring here: a registration outlives its eventfd by up to 20 s"

    def __init__(self) -> None:
        """Raise OSError where this kernel has no AIO either."""
        self._aio = lib.pfs_aio_open()
        if self._aio == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self._taker = Taker()
        self._held: dict[int, Held] = {}
        self._looked = float("-inf")

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
        eventfd_id = read_eventfd_id("self", taken)
        if eventfd_id is None:
            os.close(taken)
            raise OSError("fdinfo shows no eventfd-id")
        held = self._held[token] = Held(taken, eventfd_id, token)
        return held

    def signal(self, handles: Iterable[Held]) -> None:
        """Add one to each eventfd."""
        listed = list(handles)
        lib.pfs_aio_signal_all(self._aio, ffi.new("int[]", [one.event_fd for one in listed]), len(listed))
        for one in listed:
            one.signals_sent += 1

    def signals_sent(self, handle: Held) -> int:
        """Return how often an eventfd was signalled."""
        return handle.signals_sent

    def drop(self, handle: Held) -> None:
        """Close our duplicate."""
        del self._held[handle.token]
        os.close(handle.event_fd)

    def give_up_spares(self) -> None:
        """Nothing is kept ready; but let the next look for holders come at once."""
        self._looked = float("-inf")

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` for which two looks in a row found no holder but us."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return set()
        self._looked = time.monotonic()
        seen = set(_held_by_others())
        gone = set()
        for held in filter(None, map(self._held.get, tokens)):
            missed = held.eventfd_id not in seen
            if missed and held.was_missed:
                gone.add(held.token)
            held.was_missed = missed
        return gone


def _held_by_others() -> Iterator[int]:
    """Yield the eventfd-id of every eventfd that another process has open, as far as we may look."""
    own = str(os.getpid())
    for pid in os.listdir("/proc"):
        if not pid.isdecimal() or pid == own:
            continue
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                # A thread may have a descriptor table of its own; it costs a second listing to know.
                yield from _eventfds_of(task)


def _eventfds_of(task: str) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{task}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{task}/fd/{fd}") == EVENTFD_LINK:
                    eventfd_id = read_eventfd_id(task, int(fd))
                    if eventfd_id is not None:
                        yield eventfd_id
