"""What a signaller does, and which one this machine allows.

There are two: ``uring`` owns nothing and is exact; ``aio`` serves where io_uring is forbidden.
"""

import os
from collections.abc import Iterable
from typing import Any, Protocol

from pressurefs.signaller.aio import AioSignaller
from pressurefs.signaller.uring import UringSignaller
from pressurefs.signaller.writer import Caller

# For tests, and for whom it concerns: "aio" does without io_uring where there is one.
SIGNALLER_VARIABLE = "PRESSUREFS_SIGNALLER"


class Signaller(Protocol):
    """What the exchange and the registrar ask.

    ``limits`` tells in words what this way cannot promise.  ``signals_rings``: its handles are rings, which C
    can signal without Python.
    """

    name: str
    limits: str
    signals_rings: bool

    def keep(self, caller: Caller, fd: int, token: int) -> Any:
        """Take an eventfd and return a handle for it; refuse what cannot be taken.

        EBADF, EINVAL: no eventfd is there any more.  EPERM: its owner cannot be looked into.  ENFILE,
        ENOMEM: our own shortage.
        """

    def signal(self, handles: Iterable[Any]) -> None:
        """Add one to each eventfd.  Never blocks, whatever its readers do."""

    def signals_sent(self, handle: Any) -> int:
        """Return how often an eventfd was signalled."""

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
