# SPDX-License-Identifier: MIT
"""What watch shows: each event once, at its own level, in the space that the terminal has."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.cli.screen import (
    Terminal,
    render_age,
    render_changes,
    render_lines,
    render_picture,
    render_strip,
    render_summary,
)
from pressurefs.cli.tally import LevelCounts, Separation, Tally
from pressurefs.pressure.levels import Level

TERMINAL = Terminal(columns=80, rows=24, colour=False, blocks=True)


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        ([(0, 0, 0)], [(0, 0, 0)]),
        ([(1, 0, 0)], [(1, 0, 0)]),
        ([(1, 1, 0)], [(0, 1, 0)]),
        ([(1, 1, 1)], [(0, 0, 1)]),
        ([(9, 4, 1)], [(5, 3, 1)]),
        ([(5, 0, 0), (4, 4, 1)], [(5, 0, 0), (0, 3, 1)]),
        # Torn: the oom event is read at low first, then at the levels above; a low event corrects it.
        ([(1, 0, 0), (0, 1, 1)], [(1, 0, 0), (0, 0, 1)]),
        ([(1, 0, 0), (0, 1, 1), (1, 0, 0)], [(1, 0, 0), (0, 0, 1), (0, 0, 0)]),
        ([(1, 1, 0), (0, 0, 1), (2, 1, 0)], [(0, 1, 0), (0, 0, 1), (1, 0, 0)]),
    ],
)
def test_separation(heard: list[tuple[int, int, int]], told: list[tuple[int, int, int]]) -> None:
    """An event on several eventfds counts once, at its highest level; torn readings are corrected."""
    separation = Separation()
    assert [separation.add(LevelCounts(*one)) for one in heard] == told


@given(st.lists(st.tuples(st.sampled_from(Level), st.integers(0, 2))))
def test_separation_comes_right(events: list[tuple[Level, int]]) -> None:
    """However readings tear events, at least as many are counted at or above each level as occurred."""
    separation = Separation()
    readings = [[0, 0, 0] for _ in range(len(events) + 2)]
    for number, (level, lateness) in enumerate(events):
        for at in Level:
            if at <= level:
                # Lower levels are incremented first, and never read later.
                readings[number + min(at, lateness)][at] += 1
    told = [separation.add(LevelCounts(*one)) for one in readings]
    for level in Level:
        at_least = sum(event >= level for event, _ in events)
        assert sum(sum(one[level:]) for one in told) >= at_least
    assert sum(one.oom for one in told) == sum(level is Level.OOM for level, _ in events)


def test_tally() -> None:
    """Events leave the last second and the last minute, and stay in the total."""
    tally = Tally()
    tally.add(100.0, LevelCounts(3, 2, 1))
    tally.add(150.0, LevelCounts(10, 0, 0))
    assert tally.since(149.5) == LevelCounts(10, 0, 0)
    assert tally.since(90.0) == LevelCounts(13, 2, 1)
    tally.add(300.0, LevelCounts(1, 0, 0))
    assert tally.since(240.0) == LevelCounts(1, 0, 0)
    assert tally.total == LevelCounts(14, 2, 1)
    assert tally.age(Level.OOM, 301.0) == 201.0
    assert Tally().age(Level.LOW, 301.0) is None


@pytest.mark.parametrize("seconds", [0.25, 0.5, 1, 2, 3, 5, 10, 20])
def test_columns(seconds: float) -> None:
    """The last column is the current second, the first is a minute ago; older events are in no column."""
    tally = Tally()
    for at in (1000.0, 1000.0 + seconds, 1060.0):
        tally.add(at, LevelCounts(1, 0, 0))
    columns = tally.columns(1060.0 - 60 % seconds, seconds)
    assert len(columns) == 60 / seconds
    assert sum(one.low for one in columns) == 2
    assert columns[-1].low == 1
    assert columns[0].low == 1


def test_lines() -> None:
    """A line is a time, a level and a count, highest level first; a level without events has no line."""
    moment = datetime(2026, 11, 23, 18, 5, 9, 70_000, tzinfo=UTC)
    assert render_lines(moment, LevelCounts(2, 0, 1)).splitlines() == [
        "2026-11-23T18:05:09.070+00:00 oom +1",
        "2026-11-23T18:05:09.070+00:00 low +2",
    ]
    assert render_lines(moment, LevelCounts()) == ""


def test_summary() -> None:
    """The summary names all levels."""
    assert render_summary(LevelCounts(2, 0, 1)) == "1 oom, 0 medium, 2 low"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "now"),
        (0.99, "now"),
        (1.0, "1 s ago"),
        (59.9, "59 s ago"),
        (60.0, "1 min ago"),
        (3599.0, "59 min ago"),
        (3600.0, "1 h ago"),
        (86400.0, "1 d ago"),
    ],
)
def test_age(seconds: float | None, text: str) -> None:
    """An age is shown in its largest unit."""
    assert render_age(seconds) == text


def test_strip() -> None:
    """Each step means twice as many events; numbers beyond the scale are shown at its top."""
    counts = [0, 1, 2, 3, 4, 8, 16, 32, 64, 127, 128, 10**6]
    assert render_strip(counts, blocks=True) == " ▁▂▂▃▄▅▆▇▇██"
    assert render_strip(counts, blocks=False) == " .::-=+*##@@"


def picture(terminal: Terminal, title: str = "/mnt") -> list[str]:
    tally = Tally()
    tally.add(1000.0, LevelCounts(300, 0, 0))
    tally.add(1040.0, LevelCounts(5, 2, 0))
    return render_picture(tally, terminal, title, "18:05:09", 1040.5)


def test_picture() -> None:
    """The picture as a whole."""
    assert picture(TERMINAL) == [
        "memory pressure: /mnt" + "18:05:09".rjust(59),
        "",
        "          last second  last minute        total    last event",
        "oom                 0            0            0             -",
        "medium              2            2            2           now",
        "low                 5          305          305           now",
        "",
        "        a minute ago" + "now".rjust(48),
        "oom     " + " " * 60,
        "medium  " + " " * 59 + "▂",
        "low     " + " " * 19 + "█" + " " * 39 + "▃",
        "",
        "A step up is twice as many events.  Ctrl-C ends.",
    ]


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 12, 20, 39, 40, 41, 60, 61, 67, 68, 80, 127, 250, 400])
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 9, 13, 50])
def test_picture_fits(columns: int, rows: int) -> None:
    """No line is wider than the screen, and there are no more lines than rows."""
    shown = picture(TERMINAL._replace(columns=columns, rows=rows))
    assert len(shown) <= rows
    assert max(map(len, shown)) <= columns


def test_small_picture() -> None:
    """On a screen with few rows the numbers of the levels remain."""
    assert [row.split()[0] for row in picture(TERMINAL._replace(rows=4))] == [
        "memory",
        "oom",
        "medium",
        "low",
    ]
    assert [row.split()[0] for row in picture(TERMINAL._replace(rows=9))][5:] == ["a", "oom", "medium", "low"]


def test_plain_terminal() -> None:
    """Without blocks everything is ASCII; without colour only text is sent."""
    shown = "".join(picture(TERMINAL._replace(blocks=False), "/mnt/ü"))
    assert shown.isascii()
    assert shown.isprintable()


def test_colours() -> None:
    """With colour each row resets it at its end, and a level that never occurred is faint."""
    rows = [row for row in picture(TERMINAL._replace(colour=True)) if row]
    assert all(row.startswith("\x1b[") and row.endswith("\x1b[0m") for row in rows)
    assert rows[2].startswith("\x1b[2m")
    assert rows[3].startswith("\x1b[33m")
    assert rows[4].startswith("\x1b[36m")


def test_title_commands_no_terminal() -> None:
    """Escape sequences in a path do not reach the terminal."""
    assert "\x1b" not in picture(TERMINAL, "/mnt/\x1b]0;x\x07\udcff\n")[0]


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        ([], ["a", "b"], "\x1b[1;1Ha\x1b[K\x1b[2;1Hb\x1b[K"),
        (["a", "b"], ["a", "b"], ""),
        (["a", "b"], ["a", "c"], "\x1b[2;1Hc\x1b[K"),
        (["a", "b", "c"], ["a"], "\x1b[2;1H\x1b[J"),
    ],
)
def test_changes(before: list[str], after: list[str], sent: str) -> None:
    """Only rows that differ are sent, and rows that no longer exist are cleared."""
    assert render_changes(before, after) == sent
