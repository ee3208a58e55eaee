# SPDX-License-Identifier: MIT
"""The arithmetic of pressure, against the text of the rules and against exact fractions."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pressurefs.pressure.levels import MAINLINE, PROFILES, RFC, Level, Thresholds, level_of, reclaim_index

PAGES = st.integers(0, 2**40)
SOME_PAGES = st.integers(1, 2**40)
EACH_PROFILE = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())


def judged(profile: Thresholds, scanned: int, reclaimed: int) -> tuple[int, Level]:
    scale = profile.scale_pages(profile.window_pages, scanned, reclaimed)
    index = reclaim_index(scanned, reclaimed, scale)
    return index, level_of(index, profile)


@pytest.mark.parametrize(
    ("profile", "numbers"),
    [(RFC, (512, 60, 99, 4)), (MAINLINE, (512, 60, 95, 3))],
    ids=["rfc", "mainline"],
)
def test_profile_numbers(profile: Thresholds, numbers: tuple[int, int, int, int]) -> None:
    """Window, medium, oom and priority of a profile are those of the text that the profile is named after."""
    assert profile[:4] == numbers


@pytest.mark.parametrize(
    ("level", "number", "word"), [(Level.LOW, 0, "low"), (Level.MEDIUM, 1, "medium"), (Level.OOM, 2, "oom")]
)
def test_level_numbers_and_words(level: Level, number: int, word: str) -> None:
    """A level's number is that of the binary registration, its word that of the control file."""
    assert (int(level), level.word) == (number, word)


@EACH_PROFILE
@pytest.mark.parametrize(
    ("scanned", "reclaimed"),
    [(0, 0), (0, 1), (0, 2**40), (1, 1), (512, 512), (512, 513), (1, 2**40)],
)
def test_nothing_wasted_is_index_0(profile: Thresholds, scanned: int, reclaimed: int) -> None:
    """If nothing is scanned, or no less reclaimed than scanned, the index is 0 and the level low."""
    assert judged(profile, scanned, reclaimed) == (0, Level.LOW)


@EACH_PROFILE
@pytest.mark.parametrize("scanned", [1, 2, 511, 512, 513, 2**40])
def test_nothing_reclaimed_is_index_100(profile: Thresholds, scanned: int) -> None:
    """If pages are scanned and none is reclaimed, the index is 100 and the level oom, however many pages."""
    assert judged(profile, scanned, 0) == (100, Level.OOM)


@pytest.mark.parametrize(
    ("profile", "scanned", "reclaimed", "index", "level"),
    [
        ("rfc", 512, 511, 0, Level.LOW),
        ("rfc", 512, 256, 50, Level.LOW),
        ("rfc", 1000, 401, 59, Level.LOW),
        ("rfc", 1000, 400, 60, Level.MEDIUM),
        ("rfc", 1000, 12, 98, Level.MEDIUM),
        ("rfc", 1000, 11, 99, Level.OOM),
        ("rfc", 512, 1, 99, Level.OOM),
        ("mainline", 512, 511, 0, Level.LOW),
        ("mainline", 1000, 401, 59, Level.LOW),
        ("mainline", 1000, 400, 60, Level.MEDIUM),
        ("mainline", 1000, 51, 94, Level.MEDIUM),
        ("mainline", 1000, 50, 95, Level.OOM),
        # The two differ where rounding decides: 59.98 percent were not reclaimed.
        ("rfc", 10000, 4002, 60, Level.MEDIUM),
        ("mainline", 10000, 4002, 59, Level.LOW),
    ],
)
def test_thresholds(profile: str, scanned: int, reclaimed: int, index: int, level: Level) -> None:
    """A level begins at exactly its threshold, and one percent less is the level below."""
    assert judged(PROFILES[profile], scanned, reclaimed) == (index, level)


@pytest.mark.parametrize(
    ("index", "level"),
    [(0, Level.LOW), (79, Level.LOW), (80, Level.OOM), (100, Level.OOM)],
)
def test_equal_thresholds_leave_out_medium(index: int, level: Level) -> None:
    """If medium and oom begin at the same index, no window is medium."""
    assert level_of(index, RFC._replace(medium=80, oom=80)) is level


@given(scanned=SOME_PAGES, reclaimed=PAGES, window=st.integers(1, 2**20))
@example(scanned=10000, reclaimed=4002, window=512)
def test_rfc_arithmetic(scanned: int, reclaimed: int, window: int) -> None:
    """The RFC's index is the wasted share of the window, rounded up to a page and down to a percent."""
    wasted = ceil(window * (1 - Fraction(min(reclaimed, scanned), scanned)))
    expected = floor(Fraction(100 * wasted, window))
    assert judged(RFC._replace(window_pages=window), scanned, reclaimed)[0] == expected


@given(scanned=SOME_PAGES, reclaimed=PAGES, window=st.integers(1, 2**20))
def test_mainline_arithmetic(scanned: int, reclaimed: int, window: int) -> None:
    """The kernel's index rounds to pages of scanned plus reclaimed; the size of the window does not count."""
    scale = scanned + reclaimed
    wasted = ceil(scale * (1 - Fraction(min(reclaimed, scanned), scanned)))
    expected = floor(Fraction(100 * wasted, scale))
    assert judged(MAINLINE._replace(window_pages=window), scanned, reclaimed)[0] == expected


@EACH_PROFILE
@given(scanned=PAGES, reclaimed=PAGES)
def test_index_is_a_percentage(profile: Thresholds, scanned: int, reclaimed: int) -> None:
    """The index is between 0 and 100 for any numbers of pages."""
    assert 0 <= judged(profile, scanned, reclaimed)[0] <= 100


@EACH_PROFILE
@given(scanned=SOME_PAGES, data=st.data())
def test_index_is_never_below_the_exact_percentage(
    profile: Thresholds, scanned: int, data: st.DataObject
) -> None:
    """Rounding raises the index by less than one page of the scale, and never lowers it."""
    reclaimed = data.draw(st.integers(0, scanned))
    scale = profile.scale_pages(profile.window_pages, scanned, reclaimed)
    exact = 100 * (1 - Fraction(reclaimed, scanned))
    assert floor(exact) <= judged(profile, scanned, reclaimed)[0] <= floor(exact + Fraction(100, scale))


@EACH_PROFILE
@given(scanned=PAGES, reclaimed=PAGES, more=st.integers(1, 2**20))
@example(scanned=1000, reclaimed=399, more=1)
def test_more_reclaimed_is_no_more_pressure(
    profile: Thresholds, scanned: int, reclaimed: int, more: int
) -> None:
    """Of two windows that scanned equally, the one that reclaimed more has no higher index or level."""
    assert judged(profile, scanned, reclaimed + more) <= judged(profile, scanned, reclaimed)
