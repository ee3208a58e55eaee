"""Where samples come from: one file for each origin.

A source is looked at: ``read(now)`` returns what has happened since the last look, and ``next_look()`` says
when another look is worth its cost; ``alarm_fd`` can say so earlier.  Time comes in; a source sleeps nowhere.
Used by one thread.

Two kinds: most give samples, to be added up and judged; the kernel's windows come judged, and told already to
all whom C can tell.
"""

from collections.abc import Sequence
from typing import Protocol

from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample, Verdict


class Source(Protocol):
    """What the daemon asks of an origin of samples.

    ``name`` is the word of ``--source``; ``limits`` tells in words what it cannot see.  ``alarm_fd`` is
    readable when a look is worth its cost at once, None where nothing tells.
    """

    @property
    def name(self) -> str: ...  # noqa: D102, told above
    @property
    def limits(self) -> str: ...  # noqa: D102
    @property
    def alarm_fd(self) -> int | None: ...  # noqa: D102

    def start(self, now: float) -> None:
        """Begin at ``now``, monotonic seconds: what happened before counts for nothing."""

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Give samples of these cgroups, whether of the machine or not.  "/": of limits anywhere below it."""

    def read(self, now: float) -> Sequence[Sample | Verdict]:
        """Return what has happened since the last look, oldest first; OSError where no more can be had."""

    def next_look(self) -> float | None:
        """Return the monotonic time of the next look, None where there is nothing more to come."""

    def close(self) -> None:
        """Give up what is open."""


class SourceUnavailable(OSError):
    """This machine, or these arguments, do not give that source."""
