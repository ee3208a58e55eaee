# SPDX-License-Identifier: MIT
"""How the events of two listeners are compared."""

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.machine.matching import (
    LEVELS,
    MATCHED_NS,
    Agreement,
    Detection,
    Events,
    agree,
    between,
    compare,
    detect,
    first,
    parse_stamps,
)

MS = 1_000_000
TIMES = st.lists(st.integers(0, 10_000 * MS)).map(sorted)
NEAR_TIMES = st.lists(st.integers(0, 20).map(MS.__mul__), max_size=6).map(sorted)


def events(**levels: list[int]) -> Events:
    """Return events by level; times are given in milliseconds."""
    return {level: [time * MS for time in levels.get(level, [])] for level in LEVELS}


def test_parse() -> None:
    """Events that were read together count as often as the counter said."""
    assert parse_stamps(["5 low 2", "7 critical 1", "9 low 1"]) == {
        "low": [5, 5, 9],
        "medium": [],
        "critical": [7],
    }


def test_event_for_event() -> None:
    """Equal numbers on both sides are compared in order; events too far apart do not match."""
    told = compare([0, 10 * MS, 20 * MS], [1 * MS, 9 * MS, 26 * MS])
    assert (told.kernel, told.ours, told.matched) == (3, 3, 2)
    assert told.later_ms == [1.0, -1.0]


def test_more_of_ours() -> None:
    """If ours are more, each of the kernel's events matches the nearest of ours, and none of ours twice."""
    told = compare([10 * MS, 20 * MS], [8 * MS, 11 * MS, 12 * MS, 21 * MS])
    assert told.later_ms == [1.0, 1.0]
    assert compare([10 * MS, 10 * MS], [10 * MS, 11 * MS, 50 * MS]).later_ms == [0.0, 1.0]


def test_read_together() -> None:
    """Events of the kernel's that were read together do not all match the nearest one of ours."""
    told = compare([10 * MS, 10 * MS, 10 * MS], [7 * MS, 8 * MS, 9 * MS, 10 * MS])
    assert told.later_ms == [-2.0, -1.0, 0.0]


def test_fewer_of_ours() -> None:
    """Events that we did not signal match nothing."""
    assert compare([0, 100 * MS], [100 * MS]).matched == 1
    assert compare([0, 100 * MS], []).matched == 0
    assert math.isnan(compare([0], []).median_ms())


def test_worker_was_late() -> None:
    """An event of the kernel's is forestalled by one of ours after the previous event, long before it."""
    told = compare([10 * MS, 40 * MS, 80 * MS], [10 * MS, 20 * MS, 22 * MS, 41 * MS, 95 * MS])
    assert (told.matched, told.forestalled) == (2, 1)
    told = compare([10 * MS, 40 * MS], [10 * MS, 20 * MS, 22 * MS])
    assert (told.matched, told.forestalled) == (1, 1)


def best(kernel: list[int], ours: list[int]) -> tuple[int, int]:
    """Return the most pairs and the negated least sum of their differences; tries all combinations."""
    if not kernel or not ours:
        return 0, 0
    pairs, differences = best(kernel[1:], ours[1:])
    difference = abs(kernel[0] - ours[0])
    paired = [(pairs + 1, differences - difference)] if difference <= MATCHED_NS else []
    return max(best(kernel[1:], ours), best(kernel, ours[1:]), *paired)


@given(kernel=NEAR_TIMES, ours=NEAR_TIMES)
def test_matching_is_the_best(kernel: list[int], ours: list[int]) -> None:
    """If the numbers differ, no other matching in order has more pairs, or as many that are nearer."""
    assume(len(kernel) != len(ours))
    told = compare(kernel, ours)
    assert (told.matched, -sum(map(abs, told.later_ms)) * MS) == best(kernel, ours)


@given(kernel=TIMES, ours=TIMES)
def test_matching_is_sound(kernel: list[int], ours: list[int]) -> None:
    """There are no more matches than events on either side, and none further apart than the bound."""
    told = compare(kernel, ours)
    assert told.matched == len(told.later_ms) <= min(len(kernel), len(ours))
    assert told.matched + told.forestalled <= len(kernel)
    assert all(abs(later) <= MATCHED_NS / MS for later in told.later_ms)
    assert compare(kernel, kernel).matched == len(kernel)


def test_highest_level() -> None:
    """An interval is equal if both sides have the same highest level; if only one side has any, it is not."""
    kernel = events(low=[0, 150, 250], medium=[150], critical=[])
    ours = events(low=[10, 120, 350], medium=[170])
    assert agree(kernel, ours) == Agreement(equal=2, intervals=4)
    assert agree(kernel, kernel) == Agreement(equal=3, intervals=3)


def test_boundary() -> None:
    """Two events that match are in the same interval, whichever side of a boundary they are on."""
    assert agree(events(low=[0, 199, 301]), events(low=[1, 201, 299])) == Agreement(equal=3, intervals=3)
    assert agree(events(low=[0, 199]), events(low=[0, 206])) == Agreement(equal=1, intervals=3)


def test_detection() -> None:
    """A level counts as detected if a higher level was."""
    kernel = events(low=[0, 100, 200], medium=[100])
    ours = events(low=[0, 300], critical=[100])
    told = detect(kernel, ours, "low")
    assert told == Detection(both=2, kernel=3, ours=3)
    assert (told.precision(), told.recall()) == (2 / 3, 2 / 3)
    assert detect(kernel, ours, "medium") == Detection(both=1, kernel=1, ours=1)
    assert math.isnan(detect(kernel, events(), "critical").recall())


def test_span() -> None:
    """The events of a load are those between its start and its end."""
    assert between(events(low=[1, 5, 9]), 5 * MS, 9 * MS) == events(low=[5])
    assert first(events(medium=[3], low=[4])) == 3 * MS
    assert first(events()) is None
