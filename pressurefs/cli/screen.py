# SPDX-License-Identifier: MIT
"""What ``watch`` shows: lines for a pipe, a picture for a terminal.

Pure: a tally, a time and the size of a terminal come in, text goes out.  It does not know where events come
from, nor when a picture is drawn.  ``now`` is in seconds of a monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pressurefs.cli.tally import HIGHEST_FIRST, REMEMBERED_SECONDS, LevelCounts, Tally
from pressurefs.pressure.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

# The height of a column for 0, 1, 2-3, 4-7 and so on events; the last glyph is for 128 and more.  Reclaim
# fills a thousand windows a second as well as one a minute, so each step stands for twice as many events as
# the step before.
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"

_LABEL_COLUMNS = 8
_STRIP_COLUMNS_MAX = 4 * REMEMBERED_SECONDS
_COLUMN_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 10, 20)  # each divides the minute

_BOLD, _FAINT = "1", "2"
_COLOURS = {Level.LOW: "36", Level.MEDIUM: "33", Level.OOM: "1;31"}  # cyan, yellow, bold red

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Terminal(NamedTuple):
    """What a terminal can show: its size in characters, colours, and ``blocks``, glyphs beyond ASCII."""

    columns: int
    rows: int
    colour: bool
    blocks: bool


def render_lines(moment: datetime, counts: LevelCounts) -> str:
    """Return a line ``TIME LEVEL +COUNT`` for each level that has events, the highest level first.

    TIME is ISO 8601 with milliseconds.
    """
    time = moment.isoformat(timespec="milliseconds")
    return "".join(f"{time} {level.word} +{counts[level]}\n" for level in HIGHEST_FIRST if counts[level])


def render_summary(total: LevelCounts) -> str:
    """Return the number of events of each level in one line, without a newline."""
    return ", ".join(f"{total[level]} {level.word}" for level in HIGHEST_FIRST)


def render_age(seconds: float | None) -> str:
    """Return how long ago an event was, in its largest unit, so that it changes seldom; "-" for never."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "now"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return f"{int(seconds)} s ago"


def render_strip(counts: Sequence[int], *, blocks: bool) -> str:
    """Return a glyph for each number, higher where the number is larger."""
    glyphs = _BLOCKS if blocks else _ASCII
    return "".join(glyphs[min(count.bit_length(), len(glyphs) - 1)] for count in counts)


def render_picture(tally: Tally, terminal: Terminal, title: str, clock: str, now: float) -> list[str]:
    """Return the rows of the whole screen; a small terminal gets the rows that matter most."""
    paint = _painter(terminal)
    heading = _spread(_printable(f"memory pressure: {title}", terminal), clock, terminal.columns)
    # The number is how early a row is dropped: the largest first.
    rows = [(1, paint(_BOLD, heading))]
    rows += [(6, ""), *_table(tally, terminal, now), (6, ""), *_strips(tally, terminal, now), (6, "")]
    legend = "A step up is twice as many events.  Ctrl-C ends."
    rows.append((5, paint(_FAINT, legend)))
    while len(rows) > terminal.rows:
        rows.remove(max(rows, key=lambda row: row[0]))
    return [text for _, text in rows]


def _table(tally: Tally, terminal: Terminal, now: float) -> list[tuple[int, str]]:
    paint = _painter(terminal)
    second, minute = tally.since(now - 1), tally.since(now - REMEMBERED_SECONDS)
    widths, heading = (13, 13, 13, 14), ("last second", "last minute", "total", "last event")
    if terminal.columns < _LABEL_COLUMNS + sum(widths):
        widths, heading = (5, 6, 9, 12), ("1 s", "1 min", "total", "last")

    def render_row(label: str, cells: Sequence[object]) -> str:
        texts = (f"{cell:>{width}}" for cell, width in zip(map(str, cells), widths, strict=True))
        return f"{label:{_LABEL_COLUMNS}}{''.join(texts)}"

    rows = [(3, paint(_FAINT, render_row("", heading)))]
    for level in HIGHEST_FIRST:
        cells = second[level], minute[level], tally.total[level], render_age(tally.age(level, now))
        rows.append((2, paint(_colour(tally, level), render_row(level.word, cells))))
    return rows


def _strips(tally: Tally, terminal: Terminal, now: float) -> list[tuple[int, str]]:
    paint = _painter(terminal)
    width = min(max(terminal.columns - _LABEL_COLUMNS, 0), _STRIP_COLUMNS_MAX)
    fitting = (seconds for seconds in _COLUMN_SECONDS if REMEMBERED_SECONDS / seconds <= width)
    seconds = next(fitting, None)
    if seconds is None:
        return []
    columns = tally.columns(now, seconds)
    axis = " " * _LABEL_COLUMNS + _spread("a minute ago", "now", len(columns))
    rows = [(4, paint(_FAINT, axis))]
    for level in HIGHEST_FIRST:
        strip = render_strip([column[level] for column in columns], blocks=terminal.blocks)
        rows.append((4, paint(_colour(tally, level), f"{level.word:{_LABEL_COLUMNS}}{strip}")))
    return rows


def _colour(tally: Tally, level: Level) -> str:
    return _COLOURS[level] if tally.total[level] else _FAINT


def _spread(left: str, right: str, columns: int) -> str:
    """Return one text at each end of ``columns``; where both do not fit, the right text stays whole."""
    width = columns - len(right) - 1
    return f"{left[:width]:{width}} {right}" if width > 0 else right


def _printable(text: str, terminal: Terminal) -> str:
    """Return a text without what this terminal cannot show; a path can contain escape sequences."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if terminal.blocks else shown.encode("ascii", "replace").decode()


def _painter(terminal: Terminal) -> Callable[[str, str], str]:
    """Return a function that clips a text to the terminal and, where colours are wanted, colours it."""

    def paint(code: str, text: str) -> str:
        clipped = text[: terminal.columns]
        return f"\x1b[{code}m{clipped}\x1b[0m" if terminal.colour and clipped else clipped

    return paint


def render_changes(before: Sequence[str], after: Sequence[str]) -> str:
    """Return what turns the picture on the screen into another; only the rows that differ are sent."""
    rows = [
        f"\x1b[{number};1H{row}\x1b[K"
        for number, row in enumerate(after, start=1)
        if number > len(before) or row != before[number - 1]
    ]
    if len(before) > len(after):
        rows.append(f"\x1b[{len(after) + 1};1H\x1b[J")
    return "".join(rows)
