# SPDX-License-Identifier: MIT
"""Two listeners' events compared: the kernel's own, and ours of the same run.  Pure.

Times are nanoseconds of one clock, stamped by each listener at its read(2); a level's events are a sorted
list of times, with an event that was read together with others as often as it counts.
"""

import bisect
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LEVELS = ("low", "medium", "critical")

MATCHED_NS = 5_000_000
INTERVAL_NS = 100_000_000

Events = dict[str, list[int]]


class Comparison(NamedTuple):
    """One level of one run.

    ``matched``: how many of the kernel's events have one of ours within 5 ms.  ``forestalled``: how many of
    the others came more than 5 ms after one of ours that the kernel's event before had not told of, since its
    worker was late.  ``later_ms``: ours minus the kernel's, of the matched.
    """

    kernel: int
    ours: int
    matched: int
    forestalled: int
    later_ms: list[float]

    def percentile_ms(self, percent: int) -> float:
        """Return a percentile of the differences; not a number where there are none."""
        return percentile(self.later_ms, percent)

    def median_ms(self) -> float:
        """Return the median of the differences; not a number where there are none."""
        return statistics.median(self.later_ms) if self.later_ms else math.nan


class Agreement(NamedTuple):
    """Intervals of 100 ms in which either heard something, and those in which both heard the same."""

    equal: int
    intervals: int


class Detection(NamedTuple):
    """Intervals in which a level, or a higher one, was heard: by both, by the kernel's listener, by ours."""

    both: int
    kernel: int
    ours: int

    def precision(self) -> float:
        """Return the share of ours that the kernel's listener heard, too."""
        return self.both / self.ours if self.ours else math.nan

    def recall(self) -> float:
        """Return the share of the kernel's that ours heard, too."""
        return self.both / self.kernel if self.kernel else math.nan


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the least value that ``percent`` of all do not exceed; not a number where there are none."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1] if values else math.nan


def parse_stamps(lines: Iterable[str]) -> Events:
    """Read what stamps.c prints."""
    events: Events = {level: [] for level in LEVELS}
    for line in lines:
        nanoseconds, level, count = line.split()
        events[level] += [int(nanoseconds)] * int(count)
    return events


def compare(kernel: Sequence[int], ours: Sequence[int]) -> Comparison:
    """Match the events of one level."""
    counterparts = _counterparts(kernel, ours)
    later = [
        other - one
        for one, other in zip(kernel, counterparts, strict=True)
        if other is not None and abs(other - one) <= MATCHED_NS
    ]
    forestalled = 0
    before = None
    for one, other in zip(kernel, counterparts, strict=True):
        if other is None or abs(other - one) > MATCHED_NS:
            since = 0 if before is None else bisect.bisect_right(ours, before)
            forestalled += since < len(ours) and ours[since] < one - MATCHED_NS
        before = one
    return Comparison(
        len(kernel), len(ours), len(later), forestalled, [difference / 1e6 for difference in later]
    )


def _counterparts(kernel: Sequence[int], ours: Sequence[int]) -> list[int | None]:
    """Return for each event of the kernel's one of ours.

    As many on both sides: in their order, event for event.  Else no pair is further apart than 5 ms or
    crosses another; of all ways to do so it is one with the most pairs, and of these one with the least sum
    of differences: it favours neither side, where the first of ours that fits would be an early one.
    """
    if len(kernel) == len(ours):
        return list(ours)
    rows = _rows(kernel, ours)
    found: list[int | None] = [None] * len(kernel)
    number, column = len(kernel), len(ours)
    while number:
        row, above = rows[number], rows[number - 1]
        column = min(column, row.last)
        if column == row.start or row.at(column) == above.at(column):
            number -= 1
        elif row.at(column) == row.at(column - 1):
            column -= 1
        else:
            number, column = number - 1, column - 1
            found[number] = ours[column]
    return found


class _Row(NamedTuple):
    """The best that the kernel's first events can make with our first ``start``, ``start`` + 1, ... events.

    ``best``: how many pairs, and their sum of differences, negative, so that the greatest is the best.
    """

    start: int
    best: list[tuple[int, int]]

    @property
    def last(self) -> int:
        return self.start + len(self.best) - 1

    def at(self, column: int) -> tuple[int, int]:
        """Return the best of a column; beyond the last nothing is near, and nothing changes."""
        return self.best[min(column, self.last) - self.start]


def _rows(kernel: Sequence[int], ours: Sequence[int]) -> list[_Row]:
    """Return a row for none of the kernel's events, for the first, for the first two, ..."""
    rows = [_Row(0, [(0, 0)])]
    for one in kernel:
        above = rows[-1]
        start = bisect.bisect_left(ours, one - MATCHED_NS)
        best = [above.at(start)]
        for column in range(start, bisect.bisect_right(ours, one + MATCHED_NS)):
            pairs, differences = above.at(column)
            paired = pairs + 1, differences - abs(ours[column] - one)
            best.append(max(paired, best[-1], above.at(column + 1)))
        rows.append(_Row(start, best))
    return rows


def _snapped(kernel: Sequence[int], ours: Sequence[int]) -> list[int]:
    """Return our events, each that has a counterpart within 5 ms at the time of that."""
    snapped = list(ours)
    at = 0
    for one, other in zip(kernel, _counterparts(kernel, ours), strict=True):
        if other is not None and abs(other - one) <= MATCHED_NS:
            at = snapped.index(other, at)
            snapped[at] = one
            at += 1
    return snapped


def agree(kernel: Events, ours: Events) -> Agreement:
    """Compare the highest level of each interval that is not empty.

    One of ours that is matched counts in the interval of the kernel's: two events that a boundary parts are
    no disagreement.
    """
    began = _first(kernel, ours)
    snapped = {level: _snapped(kernel[level], ours[level]) for level in LEVELS}
    theirs, own = _highest(kernel, began), _highest(snapped, began)
    intervals = theirs.keys() | own.keys()
    equal = sum(theirs.get(number) == own.get(number) for number in intervals)
    return Agreement(equal, len(intervals))


def detect(kernel: Events, ours: Events, level: str) -> Detection:
    """Compare the intervals in which a level, or a higher one, was heard."""
    began, least = _first(kernel, ours), LEVELS.index(level)
    theirs, own = (
        {number for number, highest in _highest(events, began).items() if highest >= least}
        for events in (kernel, ours)
    )
    return Detection(len(theirs & own), len(theirs), len(own))


def first(events: Events) -> int | None:
    """Return the time of the first event of any level."""
    return min((times[0] for times in events.values() if times), default=None)


def between(events: Events, began: int, ended: int) -> Events:
    """Return what came from one moment to another."""
    return {
        level: list(times[bisect.bisect_left(times, began) : bisect.bisect_left(times, ended)])
        for level, times in events.items()
    }


def _first(*listeners: Events) -> int:
    return min((at for at in map(first, listeners) if at is not None), default=0)


def _highest(events: Events, began: int) -> dict[int, int]:
    """Return for each interval the highest level's place in LEVELS."""
    highest: dict[int, int] = {}
    for place, level in enumerate(LEVELS):
        highest.update(dict.fromkeys(((time - began) // INTERVAL_NS for time in events[level]), place))
    return highest
