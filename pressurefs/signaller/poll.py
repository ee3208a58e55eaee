# SPDX-License-Identifier: MIT
"""An open file that is polled instead of an eventfd.

native/poll.c keeps its readiness, sets it in the event path and wakes the waiters; poll(2) reads it here.

Threads: the FUSE thread makes it, asks it and closes it; the event path's lock guards the readiness.
"""

from __future__ import annotations

from pressurefs._native import ffi, lib
from pressurefs.signaller.target import Target


class Poller:
    """The readiness of one open file.  Lives until its last close, or the end of its cgroup.

    Events that no poll(2) has reported merge into one, and the poll that reports it clears it.
    """

    def __init__(self, fuse_fd: int) -> None:
        self._state = ffi.new("struct pfs_poll *")
        self._state.fuse_fd = fuse_fd
        self.target = Target(lib.PFS_BY_POLL, -1, self._state)

    def poll(self, waiter: int | None) -> int:
        """Return the events of poll(2) that are ready; ``waiter``: the kernel's number of a waiting file.

        POLLPRI after an event, POLLPRI and POLLERR after the end.
        """
        return lib.pfs_poll_read(self._state, waiter is not None, waiter or 0)
