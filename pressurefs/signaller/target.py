# SPDX-License-Identifier: MIT
"""How the event path in C reaches a listener: what a signaller's handle says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pressurefs._native import Pointer


class Target(NamedTuple):
    """What C signals.

    ``kind``: PFS_BY_URING, PFS_BY_AIO or PFS_BY_POLL.  ``fd``: the descriptor of the io_uring or of the
    eventfd, -1 for an open file that is polled.  ``pointer``: the struct pfs_uring or pfs_poll, NULL with
    AIO.
    """

    kind: int
    fd: int
    pointer: Pointer


class Handle(Protocol):
    """What a signaller gives for an eventfd that it has taken, or an open file that is polled."""

    @property
    def target(self) -> Target:
        """Return what C signals; true as long as the handle was not dropped."""
