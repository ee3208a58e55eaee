# SPDX-License-Identifier: MIT
"""The replay source: samples of a recorded trace, at the recorded or at another speed.

Exact in time: a reading is asked for at each sample's own moment, and a sample carries that moment, not the
one at which it was read.
"""

import errno
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.trace import TraceError, parse_trace


class ReplaySource:
    """Plays a trace once.  Lives until closed; the whole trace was checked before it starts."""

    name = "replay"
    limits = "a recording tells nothing about this machine"
    alarm_fd: int | None = None
    hears_cgroup_v1 = False

    def __init__(self, samples: Iterable[Sample], speed: float = 1.0) -> None:
        self._pending: Iterator[Sample] = iter(samples)
        self._speed = speed
        self._started = 0.0
        self._next: Sample | None = None

    @classmethod
    def from_arguments(cls, arguments: str) -> "ReplaySource":
        """Open ``FILE[,speed=X]``; SourceUnavailable where the file is no trace or X no speed."""
        if not arguments:
            raise SourceUnavailable(errno.EINVAL, "it wants a trace: replay:FILE")
        path, comma, option = arguments.rpartition(",speed=")
        if not comma:
            path, option = arguments, "1"
        try:
            speed = float(option)
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            raise SourceUnavailable(errno.EINVAL, f"speed={option} is not a positive number")
        try:
            with Path(path).open(encoding="utf-8") as lines:
                _, samples = parse_trace(lines)
                return cls(list(samples), speed)
        except (TraceError, UnicodeDecodeError) as error:
            raise SourceUnavailable(errno.EINVAL, f"{path}: {error}") from None
        except OSError as error:
            raise SourceUnavailable(error.errno, f"{path}: {error.strerror}") from None

    def start(self, now: float) -> None:
        """Begin: the trace's second 0 is ``now``."""
        self._started = now
        self._advance()

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Play what was recorded, whichever cgroups have listeners."""

    def read(self, now: float) -> list[Sample]:
        """Return the samples whose moment has come."""
        due = []
        while self._next is not None and self._next.time <= now:
            due.append(self._next)
            self._advance()
        return due

    def next_read(self) -> float | None:
        """Return the next sample's moment."""
        return None if self._next is None else self._next.time

    def close(self) -> None:
        """Forget what was not played."""
        self._pending, self._next = iter(()), None

    def _advance(self) -> None:
        sample = next(self._pending, None)
        self._next = sample and sample._replace(time=self._started + sample.time / self._speed)
