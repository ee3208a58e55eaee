"""What was heard, and how it looks: lines for a pipe, a picture for a terminal.

Pure: counts and moments come in, text goes out.  ``now`` is in seconds, monotonic; it never goes back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from pressurefs.pressure.levels import Level

REMEMBERED_SECONDS = 60

HIGHEST_FIRST = sorted(Level, reverse=True)

# How high a column is: 0, 1, 2-3, 4-7 and so on events, the last glyph from 128 up.  Reclaim makes
# a thousand windows a second as well as one a minute, so each step is twice the one before.
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"

_LABEL_COLUMNS = 8
_STRIP_COLUMNS_MAX = 4 * REMEMBERED_SECONDS
_COLUMN_SECONDS = (0.25, 0.5, 1, 2, 3, 5, 10, 20)  # each divides the minute

_BOLD, _FAINT = "1", "2"
_COLOURS = {Level.LOW: "36", Level.MEDIUM: "33", Level.OOM: "1;31"}  # cyan, yellow, bold red

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Counts(NamedTuple):
    """A number for each level, found by ``counts[level]``."""

    low: int = 0
    medium: int = 0
    oom: int = 0


class Look(NamedTuple):
    """What a terminal can show.  ``blocks``: it has more than ASCII."""

    columns: int
    rows: int
    colour: bool
    blocks: bool


class Separation:
    """Tells each event once, at its own level, from three eventfds of which a higher event signals several.

    An event at L adds one to the eventfd of L and of each level below, so what only low heard is low.
    Neither the daemon's adding nor our reading is one step: an event may be seen at low when it
    has not come to oom yet.  It is then told as low, and as oom too when that comes; in return
    the next event that only low hears is not told.  So the sums come right, and nothing of a higher level is
    ever missed.
    """

    def __init__(self) -> None:
        self._heard = [0] * len(Level)
        self._told = [0] * len(Level)

    def add(self, heard: Counts) -> Counts:
        """Take what the three eventfds counted since the last time; return what to tell."""
        above = 0
        told = [0] * len(Level)
        for level in HIGHEST_FIRST:
            self._heard[level] += heard[level]
            told[level] = max(0, self._heard[level] - above - self._told[level])
            self._told[level] += told[level]
            above = self._heard[level]
        return Counts(*told)


class Tally:
    """Events since the start, and when they came if that is less than a minute ago."""

    def __init__(self) -> None:
        self.total = Counts()
        self._last: dict[Level, float] = {}
        self._recent: deque[tuple[float, Counts]] = deque()

    def add(self, now: float, counts: Counts) -> None:
        """Take events that came now."""
        if not any(counts):
            return
        self.total = _sum([self.total, counts])
        self._last |= {level: now for level in Level if counts[level]}
        self._recent.append((now, counts))
        while self._recent[0][0] <= now - 2 * REMEMBERED_SECONDS:
            self._recent.popleft()

    def since(self, moment: float) -> Counts:
        """Return the events after a moment not longer than a minute ago."""
        return _sum([counts for at, counts in self._recent if at > moment])

    def age(self, level: Level, now: float) -> float | None:
        """Return the seconds since the last event of a level, None where there was none."""
        return now - self._last[level] if level in self._last else None

    def columns(self, now: float, seconds: float) -> list[Counts]:
        """Return the events of the last minute in columns of ``seconds``, the last one not yet full.

        Columns begin at whole multiples of ``seconds``: a picture moves on by a column, and does not flicker.
        """
        last = int(now // seconds)
        columns: list[list[Counts]] = [[] for _ in range(round(REMEMBERED_SECONDS / seconds))]
        for at, counts in self._recent:
            back = last - int(at // seconds)
            if back < len(columns):
                columns[-1 - back].append(counts)
        return [_sum(column) for column in columns]


def _sum(several: Sequence[Counts]) -> Counts:
    return Counts(*map(sum, zip(*several, strict=True))) if several else Counts()


def render_lines(moment: datetime, counts: Counts) -> str:
    """Return ``TIME LEVEL +COUNT`` for each level that has events, the highest first."""
    time = moment.isoformat(timespec="milliseconds")
    return "".join(f"{time} {level.word} +{counts[level]}\n" for level in HIGHEST_FIRST if counts[level])


def render_summary(total: Counts) -> str:
    """Return one line of what was heard in all."""
    return ", ".join(f"{total[level]} {level.word}" for level in HIGHEST_FIRST)


def render_age(seconds: float | None) -> str:
    """Return how long ago, in a unit that lets it change seldom; "-" for never."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "now"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return f"{int(seconds)} s ago"


def render_strip(counts: Sequence[int], *, blocks: bool) -> str:
    """Return a character for each number, higher where it is larger."""
    glyphs = _BLOCKS if blocks else _ASCII
    return "".join(glyphs[min(count.bit_length(), len(glyphs) - 1)] for count in counts)


def render_picture(tally: Tally, look: Look, title: str, clock: str, now: float) -> list[str]:
    """Return the rows of the whole screen; a small one gets the rows that matter most."""
    paint = _painter(look)
    # The smaller the number the longer a row stays.
    rows = [(1, paint(_BOLD, _spread(_printable(f"memory pressure: {title}", look), clock, look.columns)))]
    rows += [(6, ""), *_table(tally, look, now), (6, ""), *_strips(tally, look, now), (6, "")]
    legend = "A step up is twice as many events.  Ctrl-C ends."
    rows.append((5, paint(_FAINT, legend)))
    while len(rows) > look.rows:
        rows.remove(max(rows, key=lambda row: row[0]))
    return [text for _, text in rows]


def _table(tally: Tally, look: Look, now: float) -> list[tuple[int, str]]:
    paint = _painter(look)
    second, minute = tally.since(now - 1), tally.since(now - REMEMBERED_SECONDS)
    widths, heading = (13, 13, 13, 14), ("last second", "last minute", "total", "last event")
    if look.columns < _LABEL_COLUMNS + sum(widths):
        widths, heading = (5, 6, 9, 12), ("1 s", "1 min", "total", "last")

    def render_row(label: str, cells: Sequence[object]) -> str:
        texts = (f"{cell:>{width}}" for cell, width in zip(map(str, cells), widths, strict=True))
        return f"{label:{_LABEL_COLUMNS}}{''.join(texts)}"

    rows = [(3, paint(_FAINT, render_row("", heading)))]
    for level in HIGHEST_FIRST:
        cells = second[level], minute[level], tally.total[level], render_age(tally.age(level, now))
        rows.append((2, paint(_colour(tally, level), render_row(level.word, cells))))
    return rows


def _strips(tally: Tally, look: Look, now: float) -> list[tuple[int, str]]:
    paint = _painter(look)
    room = min(max(look.columns - _LABEL_COLUMNS, 0), _STRIP_COLUMNS_MAX)
    seconds = next((one for one in _COLUMN_SECONDS if REMEMBERED_SECONDS / one <= room), None)
    if seconds is None:
        return []
    columns = tally.columns(now, seconds)
    axis = " " * _LABEL_COLUMNS + _spread("a minute ago", "now", len(columns))
    rows = [(4, paint(_FAINT, axis))]
    for level in HIGHEST_FIRST:
        strip = render_strip([column[level] for column in columns], blocks=look.blocks)
        rows.append((4, paint(_colour(tally, level), f"{level.word:{_LABEL_COLUMNS}}{strip}")))
    return rows


def _colour(tally: Tally, level: Level) -> str:
    return _COLOURS[level] if tally.total[level] else _FAINT


def _spread(left: str, right: str, columns: int) -> str:
    """Put one text at each end; where there is no room for both the right one stays whole."""
    room = columns - len(right) - 1
    return f"{left[:room]:{room}} {right}" if room > 0 else right


def _printable(text: str, look: Look) -> str:
    """Return a name as this terminal may be shown it: a path may hold what would command it."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if look.blocks else shown.encode("ascii", "replace").decode()


def _painter(look: Look) -> Callable[[str, str], str]:
    """Return what clips a text to the screen and colours it, if it may."""

    def paint(code: str, text: str) -> str:
        clipped = text[: look.columns]
        return f"\x1b[{code}m{clipped}\x1b[0m" if look.colour and clipped else clipped

    return paint


def render_changes(before: Sequence[str], after: Sequence[str]) -> str:
    """Return what turns one picture on the screen into another: only the rows that differ are sent."""
    rows = [
        f"\x1b[{number};1H{row}\x1b[K"
        for number, row in enumerate(after, start=1)
        if number > len(before) or row != before[number - 1]
    ]
    if len(before) > len(after):
        rows.append(f"\x1b[{len(after) + 1};1H\x1b[J")
    return "".join(rows)
