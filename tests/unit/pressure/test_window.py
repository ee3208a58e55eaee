# SPDX-License-Identifier: MIT
"""When a window is full, and what remains in it afterwards."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.pressure.levels import MAINLINE, PROFILES, RFC, Level
from pressurefs.pressure.window import Sample, Verdict, Window

W = RFC.window_pages
EMPTY = (0, 0)
SAMPLES = st.builds(
    Sample,
    time=st.floats(0, 1e6),
    cgroup=st.just("/"),
    scanned=st.integers(0, 3 * W),
    reclaimed=st.integers(0, 3 * W),
    priority=st.none() | st.integers(0, 12),
)


def sample(scanned: int, reclaimed: int = 0, **rest: Any) -> Sample:
    return Sample(rest.pop("time", 0.0), rest.pop("cgroup", "/"), scanned, reclaimed, **rest)


def contents(window: Window) -> tuple[int, int]:
    return window.scanned, window.reclaimed


@pytest.mark.parametrize(
    ("scanned", "full"), [(0, False), (1, False), (W - 1, False), (W, True), (W + 1, True), (9 * W, True)]
)
def test_full(scanned: int, full: bool) -> None:  # noqa: FBT001, a column of the table
    """A window is full when the scanned pages reach or exceed its size."""
    assert (Window().add(sample(scanned), RFC) is not None) == full


def test_reclaimed_pages_fill_nothing() -> None:
    """Only scanned pages fill a window, not reclaimed pages."""
    window = Window()
    assert window.add(sample(0, 100 * W), RFC) is None
    assert contents(window) == (0, 100 * W)


def test_large_sample_is_one_window() -> None:
    """A sample of several windows' size gives one verdict over all of it, and leaves no rest."""
    window = Window()
    verdict = window.add(sample(10 * W + 7, 5 * W), RFC)
    assert verdict is not None
    assert (verdict.scanned, verdict.reclaimed) == (10 * W + 7, 5 * W)
    assert contents(window) == EMPTY


def test_verdict_tells_the_last_sample() -> None:
    """A verdict has the sums, and time, cgroup and priority of the sample that filled the window."""
    window = Window()
    assert window.add(sample(W - 1, 100, time=1.0, cgroup="/a", priority=12), RFC) is None
    verdict = window.add(sample(1, 12, time=2.5, cgroup="/a", priority=9), RFC)
    assert verdict == Verdict(2.5, "/a", W, 112, 9, 78, Level.MEDIUM)


def test_nothing_expires() -> None:
    """Old pages count as much as recent pages."""
    window = Window()
    assert window.add(sample(W - 1, time=0.0), RFC) is None
    assert window.add(sample(1, time=1e9), RFC) is not None


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
@pytest.mark.parametrize(("above", "judges"), [(-1, True), (0, True), (1, False)])
def test_priority_threshold(profile: Any, above: int, judges: bool) -> None:  # noqa: FBT001, a column
    """At or below the priority threshold an empty sample is a full window of failure; above it, nothing."""
    priority = profile.oom_priority + above
    verdict = Window().add(sample(0, 0, priority=priority), profile)
    if judges:
        assert verdict == Verdict(0.0, "/", W, 0, priority, 100, Level.OOM, injected=W)
    else:
        assert verdict is None


@pytest.mark.parametrize("priority", [0, RFC.oom_priority])
def test_low_priority_is_diluted(priority: int) -> None:
    """A good ratio before a low priority dilutes it: 511 of 511 and (512, 0) are 50 percent, low."""
    window = Window()
    assert window.add(sample(W - 1, W - 1), RFC) is None
    verdict = window.add(sample(0, 0, priority=priority), RFC)
    assert verdict == Verdict(0.0, "/", 2 * W - 1, W - 1, priority, 50, Level.LOW, injected=W)


def test_low_priority_adds_to_its_own_sample() -> None:
    """The window of a low priority is added to what its own sample scanned and reclaimed."""
    verdict = Window().add(sample(W, W // 2, priority=0), MAINLINE)
    assert verdict == Verdict(0.0, "/", 2 * W, W // 2, 0, 75, Level.MEDIUM, injected=W)


def test_unknown_priority_is_not_priority_0() -> None:
    """A sample without a priority is never judged by the priority."""
    assert Window().add(sample(W - 1, 0, priority=None), RFC) is None


@given(st.lists(SAMPLES, max_size=50))
def test_every_page_is_judged_once(samples: list[Sample]) -> None:
    """The verdicts and the rest sum up to the samples plus one window for each low priority."""
    window = Window()
    verdicts = [verdict for one in samples if (verdict := window.add(one, RFC))]
    desperate = sum(one.priority is not None and one.priority <= RFC.oom_priority for one in samples)
    assert (
        sum(v.scanned for v in verdicts) + window.scanned == sum(s.scanned for s in samples) + desperate * W
    )
    assert sum(v.reclaimed for v in verdicts) + window.reclaimed == sum(s.reclaimed for s in samples)


@given(st.lists(SAMPLES, max_size=50), st.integers(1, 2 * W))
def test_window_is_judged_as_soon_as_it_is_full(samples: list[Sample], size: int) -> None:
    """After a verdict a window is empty, and without one it is not full."""
    window, thresholds = Window(), RFC._replace(window_pages=size)
    for one in samples:
        verdict = window.add(one, thresholds)
        if verdict is None:
            assert window.scanned < size
        else:
            assert verdict.scanned >= size
            assert contents(window) == EMPTY


def test_window_made_smaller_is_judged_with_the_next_sample() -> None:
    """Thresholds come with each sample: pages that fill a smaller window are judged with the next sample."""
    window = Window()
    assert window.add(sample(100), RFC) is None
    assert window.add(sample(0), RFC._replace(window_pages=64)) is not None
