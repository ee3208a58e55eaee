# SPDX-License-Identifier: MIT
"""How many events came at each level: each event counted once, and remembered for a minute.

Pure: counts and times come in, numbers go out.  It does not know how eventfds are read or numbers shown.
``now`` is in seconds of a monotonic clock; it never goes back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pressurefs.pressure.levels import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

REMEMBERED_SECONDS = 60

HIGHEST_FIRST = sorted(Level, reverse=True)


class LevelCounts(NamedTuple):
    """A number of events for each level; ``counts[level]`` is that of a level."""

    low: int = 0
    medium: int = 0
    oom: int = 0


class Separation:
    """Counts each event once, at its own level, from three eventfds of which one event signals several.

    An event at level L adds 1 to the eventfd of L and of each lower level.  So an event that only the eventfd
    of low counted was a low event.

    The daemon adds to the three eventfds one after the other, and they are read one after the other: an oom
    event can be read at low before it has reached oom.  It is then counted as low, and as oom too when it is
    read there; in return the next event that is read only at low is not counted.  So the sums come right, and
    no event of a higher level is ever missed.

    Lives as long as the three eventfds.
    """

    def __init__(self) -> None:
        self._read = [0] * len(Level)
        self._counted = [0] * len(Level)

    def add(self, read: LevelCounts) -> LevelCounts:
        """Take what was read from each eventfd since the last call; return the events of each level."""
        at_higher_levels = 0
        events = [0] * len(Level)
        for level in HIGHEST_FIRST:
            self._read[level] += read[level]
            events[level] = max(0, self._read[level] - at_higher_levels - self._counted[level])
            self._counted[level] += events[level]
            at_higher_levels = self._read[level]
        return LevelCounts(*events)


class Tally:
    """The events of each level: all since the start, and the times of those of the last minute.

    ``total``: since the start.  Lives as long as a watch.
    """

    def __init__(self) -> None:
        self.total = LevelCounts()
        self._last: dict[Level, float] = {}
        self._recent: deque[tuple[float, LevelCounts]] = deque()

    def add(self, now: float, counts: LevelCounts) -> None:
        """Add events that came at ``now``."""
        if not any(counts):
            return
        self.total = _sum([self.total, counts])
        self._last |= {level: now for level in Level if counts[level]}
        self._recent.append((now, counts))
        while self._recent[0][0] <= now - 2 * REMEMBERED_SECONDS:
            self._recent.popleft()

    def since(self, moment: float) -> LevelCounts:
        """Return the events after ``moment``, which is at most a minute ago."""
        return _sum([counts for at, counts in self._recent if at > moment])

    def age(self, level: Level, now: float) -> float | None:
        """Return the seconds since the last event of a level, None where there was none."""
        return now - self._last[level] if level in self._last else None

    def columns(self, now: float, seconds: float) -> list[LevelCounts]:
        """Return the events of the last minute in columns of ``seconds`` each; the last is not yet full.

        A column begins at a whole multiple of ``seconds``, so that a picture moves by whole columns and does
        not flicker.
        """
        last = int(now // seconds)
        columns: list[list[LevelCounts]] = [[] for _ in range(round(REMEMBERED_SECONDS / seconds))]
        for at, counts in self._recent:
            back = last - int(at // seconds)
            if back < len(columns):
                columns[-1 - back].append(counts)
        return [_sum(column) for column in columns]


def _sum(several: Sequence[LevelCounts]) -> LevelCounts:
    return LevelCounts(*map(sum, zip(*several, strict=True))) if several else LevelCounts()
