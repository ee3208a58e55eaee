# SPDX-License-Identifier: MIT
"""An open file of the mount, as the checks of a registration and poll(2) need it.

Knows nothing of the compiled module, so that what FUSE needs can be examined without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pressurefs.signaller.poll import Poller


class Opening:
    """An open file: the user who opened it, and its poller if it has one.  Lives until its last close.

    ``fuse_fd``: a descriptor of the FUSE connection, by which the waiters of a poller are woken.
    """

    def __init__(self, uid: int, fuse_fd: int) -> None:
        self.uid = uid
        self.fuse_fd = fuse_fd
        self.poller: Poller | None = None
        self.token = 0
