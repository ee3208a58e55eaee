# SPDX-License-Identifier: MIT
"""What a signaller does, and which one this machine allows.

There are two: ``uring`` owns nothing and is exact; ``aio`` serves where io_uring is forbidden.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from pressurefs.signaller.aio import AioSignaller
from pressurefs.signaller.uring import UringSignaller

if TYPE_CHECKING:
    from pressurefs._native import Aio
    from pressurefs.signaller.target import Handle
    from pressurefs.signaller.writer import Caller

# For tests, and for whom it concerns: "aio" does without io_uring where there is one.
SIGNALLER_VARIABLE = "PRESSUREFS_SIGNALLER"


class Signaller(Protocol):
    """What the dispatcher and the checks of a registration ask.

    ``limits`` says in words what this way cannot promise.  ``aio``: what the event path signals by, None
    where it needs only what the handles are.
    """

    name: str
    limits: str

    @property
    def aio(self) -> Aio | None: ...  # noqa: D102, said above

    def keep(self, caller: Caller, fd: int, token: int) -> Handle:
        """Take an eventfd and return a handle for it; refuse what cannot be taken.

        EBADF, EINVAL: no eventfd is there any more.  EPERM: its owner cannot be looked into.  ENFILE,
        ENOMEM: our own shortage.
        """

    def drop(self, handle: Any) -> bool:
        """Let go; the handle must not be used again.

        Return whether something of it stays for as long as the eventfd lives, which ``gone`` tells.
        """

    def give_up_spares(self) -> None:
        """Close what is only kept ready: descriptors have run out."""

    def gone(self, tokens: set[int]) -> set[int]:
        """Return those of ``tokens`` whose eventfd nobody holds any more."""

    def close(self) -> None:
        """Give up what is open, once every handle was dropped."""


def open_signaller() -> Signaller:
    """Return the best signaller; OSError, io_uring's, where there is none at all."""
    if os.environ.get(SIGNALLER_VARIABLE) == AioSignaller.name:
        return AioSignaller()
    try:
        return UringSignaller()
    except OSError as forbidden:
        try:
            return AioSignaller()
        except OSError:
            raise forbidden from None
