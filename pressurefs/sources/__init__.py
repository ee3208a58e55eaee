"""Where samples come from: one file for each origin.

A source is looked at, not listened to: ``read(now)`` returns what has happened since the last look,
and ``next_look()`` says when another look is worth its cost.  Time comes in; a source sleeps nowhere.
Used by one thread.
"""

from collections.abc import Sequence
from typing import Protocol

from pressurefs.window import Sample


class Source(Protocol):
    """What the daemon asks of an origin of samples.

    ``name`` is the word of ``--source``; ``limits`` tells in words what it cannot see.
    """

    name: str
    limits: str

    def start(self, now: float) -> None:
        """Begin at ``now``, monotonic seconds: what happened before counts for nothing."""

    def read(self, now: float) -> Sequence[Sample]:
        """Return the samples since the last look, oldest first."""

    def next_look(self) -> float | None:
        """Return the monotonic time of the next look, None where there is nothing more to come."""

    def close(self) -> None:
        """Give up what is open."""


class SourceUnavailable(OSError):
    """This machine, or these arguments, do not give that source."""
