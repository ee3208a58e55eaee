# SPDX-License-Identifier: MIT
"""What an administrator can tune, and what each setting changes."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.pressure.levels import MAINLINE, PROFILES, RFC, Thresholds
from pressurefs.pressure.tunables import SENSITIVITY_DEFAULT, Tunables, window_of_sensitivity

Setting = Callable[[Tunables, int], None]

SETTINGS: dict[str, Setting] = {
    "sensitivity": Tunables.set_sensitivity,
    "window": Tunables.set_window,
    "medium": Tunables.set_level_medium,
    "oom": Tunables.set_level_oom,
    "priority": Tunables.set_level_oom_priority,
}


def state(tunables: Tunables) -> tuple[int, Thresholds]:
    return tunables.sensitivity, tunables.thresholds


@pytest.mark.parametrize(
    ("sensitivity", "pages"),
    [
        *((0, 16384), (10, 8192), (25, 2896), (40, 1024), (49, 549), (50, 512)),
        *((51, 478), (60, 256), (75, 91), (90, 32), (99, 17), (100, 16)),
    ],
)
def test_window_of_sensitivity(sensitivity: int, pages: int) -> None:
    """The window halves with every ten steps of sensitivity, from 16384 pages at 0 to 16 at 100."""
    assert window_of_sensitivity(sensitivity) == pages


@given(st.integers(0, 100))
def test_sensitivity_formula(sensitivity: int) -> None:
    """The window is 512 * 2^((50-s)/10) to the nearest page."""
    exact = 512 * Decimal(2) ** (Decimal(50 - sensitivity) / 10)
    assert abs(window_of_sensitivity(sensitivity) - exact) <= Decimal("0.5")


@given(st.integers(0, 99))
def test_more_sensitivity_is_a_smaller_window(sensitivity: int) -> None:
    """Each step up in sensitivity makes the window smaller."""
    assert window_of_sensitivity(sensitivity + 1) < window_of_sensitivity(sensitivity)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_start(profile: Thresholds) -> None:
    """Before any setting the thresholds are the profile's, and the window is the default sensitivity's."""
    assert state(Tunables(profile)) == (SENSITIVITY_DEFAULT, profile)
    assert profile.window_pages == window_of_sensitivity(SENSITIVITY_DEFAULT)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
@pytest.mark.parametrize("value", [0, 50, 100])
def test_sensitivity_turns_the_window_and_nothing_else(profile: Thresholds, value: int) -> None:
    """The sensitivity changes the window and no other threshold."""
    tunables = Tunables(profile)
    tunables.set_sensitivity(value)
    assert state(tunables) == (value, profile._replace(window_pages=window_of_sensitivity(value)))


def test_window_override_lasts_until_the_sensitivity_is_written() -> None:
    """A window that was set stays, whatever else is set, until the sensitivity is written again."""
    tunables = Tunables(RFC)
    tunables.set_window(7)
    tunables.set_level_medium(10)
    tunables.set_level_oom_priority(0)
    assert (tunables.sensitivity, tunables.thresholds.window_pages) == (50, 7)
    tunables.set_sensitivity(50)
    assert (tunables.sensitivity, tunables.thresholds.window_pages) == (50, 512)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("window", 1, "window_pages"),
        ("window", 10**12, "window_pages"),
        ("medium", 0, "medium"),
        ("medium", 95, "medium"),
        ("oom", 60, "oom"),
        ("oom", 100, "oom"),
        ("priority", 0, "oom_priority"),
        ("priority", 12, "oom_priority"),
    ],
)
def test_ends_of_the_ranges(name: str, value: int, field: str) -> None:
    """Both ends of a range are allowed, and a setting changes only its own threshold."""
    tunables = Tunables(MAINLINE)
    SETTINGS[name](tunables, value)
    assert tunables.thresholds._asdict() == MAINLINE._asdict() | {field: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sensitivity", -1),
        ("sensitivity", 101),
        ("window", 0),
        ("window", -512),
        ("medium", -1),
        ("medium", 96),
        ("oom", 59),
        ("oom", 101),
        ("priority", -1),
        ("priority", 13),
    ],
)
def test_out_of_range_changes_nothing(name: str, value: int) -> None:
    """A value out of range raises ValueError and changes nothing."""
    tunables = Tunables(MAINLINE)
    with pytest.raises(ValueError, match=r"\d"):
        SETTINGS[name](tunables, value)
    assert state(tunables) == (50, MAINLINE)


@given(st.lists(st.tuples(st.sampled_from(sorted(SETTINGS)), st.integers(-5, 120)), max_size=30))
def test_thresholds_stay_sound(turns: list[tuple[str, int]]) -> None:
    """No order of good and bad settings leaves the ranges or puts medium above oom."""
    tunables = Tunables(RFC)
    for name, value in turns:
        before = state(tunables)
        try:
            SETTINGS[name](tunables, value)
        except ValueError:
            assert state(tunables) == before
    now = tunables.thresholds
    assert now.window_pages >= 1
    assert 0 <= now.medium <= now.oom <= 100
    assert 0 <= now.oom_priority <= 12
    assert 0 <= tunables.sensitivity <= 100
