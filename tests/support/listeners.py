# SPDX-License-Identifier: MIT
"""Listeners as tests of the books and of the event path need them."""

import os
from typing import Any

from hypothesis import strategies as st

from pressurefs._native import ffi, lib
from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import Level, Mode
from pressurefs.signaller.poll import Poller
from pressurefs.signaller.target import Handle, Target
from pressurefs.signaller.writer import Caller

LEVELS = st.sampled_from(Level)
MODES = st.sampled_from(Mode)
# A tree with two branches, one of them three deep; /ab is no child of /a.
PATHS = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/d"]
CGROUPS = st.sampled_from(PATHS)
UIDS = st.sampled_from([0, 1000, 1001])

# The inode number of the cgroup tree's root, whose reclaim is the machine's, and those of the cgroups.
TOP = 1
BIRTHS = {"/": 0, "/a": 11, "/a/b": 12, "/a/b/c": 13, "/ab": 14, "/d": 15}


def listener(
    token: int,
    cgroup: str = "/",
    level: Level = Level.LOW,
    mode: Mode = Mode.DEFAULT,
    uid: int = 0,
    *,
    handle: Handle | None = None,
    birth: int | None = None,
) -> Listener:
    """Return a listener; its cgroup has the number above, and it is polled, where nothing else is said."""
    number = BIRTHS.get(cgroup, 0) if birth is None else birth
    return Listener(token, cgroup, level, mode, uid, 1, handle or Poller(-1), number)


class EventFd:
    """An eventfd of our own and what signals it, an io_uring or AIO.  Lives until closed."""

    def __init__(self, kind: int) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        pointer = lib.pfs_uring_open() if kind == lib.PFS_BY_URING else ffi.NULL
        self._uring = pointer
        fd = self.event_fd
        if kind == lib.PFS_BY_URING:
            assert lib.pfs_uring_tie(pointer, self.event_fd) == 0
            fd = lib.pfs_uring_fd(pointer)
        self.target = Target(kind, fd, pointer)

    def count(self) -> int:
        """Return how often it was signalled since the last call."""
        try:
            return os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close both."""
        if self._uring != ffi.NULL:
            lib.pfs_uring_close(self._uring)
        os.close(self.event_fd)


class Graveyard:
    """A signaller that says of some tokens that their eventfd is closed."""

    name = "graveyard"
    limits = "none"

    def __init__(self, *dead: int) -> None:
        self.dead = set(dead)
        self.aio: Any = lib.pfs_aio_open()
        self.sweeps = 0

    def gone(self, tokens: set[int]) -> set[int]:
        """Return the dead."""
        self.sweeps += 1
        return tokens & self.dead

    def keep(self, _caller: Caller, _fd: int, _token: int) -> Handle:
        """Take nothing."""
        raise NotImplementedError

    def drop(self, handle: object) -> bool:  # noqa: ARG002
        """Keep a row, as an epoll set does."""
        return True

    def give_up_spares(self) -> None:
        """Have none."""

    def close(self) -> None:
        """Close the way to signal."""
        lib.pfs_aio_close(self.aio)
