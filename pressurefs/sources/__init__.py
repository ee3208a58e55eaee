# SPDX-License-Identifier: MIT
"""Where samples come from: one file for each origin, and a row in ``selection``.

A source is read: ``read(now)`` returns the samples since the last time, and ``next_read()`` says when another
reading is worth its cost; ``alarm_fd`` can say so earlier.  Time comes in; a source sleeps nowhere.  Used by
one thread.

The kernel source is no exception: its windows reach the event path by a thread in C, and what it returns are
the samples that it has to take beside that.
"""

from collections.abc import Sequence
from typing import Protocol

from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample


class Source(Protocol):
    """What the daemon asks of an origin of samples, and what a source says that it can do.

    ``name`` is the word of ``--source``; ``limits`` says in words what it cannot see.  ``alarm_fd`` is
    readable when a reading is worth its cost at once, None where nothing says so.  ``hears_cgroup_v1``:
    whether reclaim in cgroups of a cgroup v1 hierarchy, which has no counters of it, comes to be known.
    """

    @property
    def name(self) -> str: ...  # noqa: D102, said above
    @property
    def limits(self) -> str: ...  # noqa: D102
    @property
    def alarm_fd(self) -> int | None: ...  # noqa: D102
    @property
    def hears_cgroup_v1(self) -> bool: ...  # noqa: D102

    def start(self, now: float) -> None:
        """Begin at ``now``, monotonic seconds: what happened before counts for nothing."""

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Sample these cgroups from here on.  "/": the limits of all that are below it."""

    def read(self, now: float) -> Sequence[Sample]:
        """Return the samples since the last reading, oldest first; OSError where no more can be had."""

    def next_read(self) -> float | None:
        """Return the monotonic time of the next reading, None where no sample will come any more."""

    def close(self) -> None:
        """Give up what is open."""


class SourceUnavailable(OSError):
    """This machine, or these arguments, do not give that source."""
