# SPDX-License-Identifier: MIT
"""Draws what ``pressurefs watch`` shows in a terminal: scripts/pictures calls it.

Usage: terminal_picture.py TRACE DIR SVG

Mounts at DIR with TRACE as source, runs watch in a terminal of its own until the trace has ended, and writes
what the screen shows as SVG.  One thread.
"""

import contextlib
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyte

COLUMNS, ROWS = 68, 12  # as wide as the minute, a column for each second
SPEED = 0.25
# After the last sample all events are counted, and so soon the last of them are still of the last second.
SECONDS_AFTER_THE_END = 0.5

# Pixels of a character's cell; the text is stretched to it, whatever font the viewer has.
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 9, 20, 15
BASELINE = 15
MARGIN, TITLE_BAR = 16, 34

BACKGROUND, BAR, TEXT, FAINT = "#16191f", "#2a2f38", "#d7dbe0", "#868e99"
# By pyte's names of the terminal's colours: those that watch uses.
COLOURS = {"cyan": "#4fc3e0", "brown": "#f2b134", "red": "#ff5a52", "default": TEXT}
BUTTONS = ("#ff5f57", "#febc2e", "#28c840")
# Drawn as boxes: a font's own glyphs leave gaps between each other.
BLOCKS = "▁▂▃▄▅▆▇█"


class Style(NamedTuple):
    """How a piece of a row is painted."""

    colour: str
    bold: bool


class Piece(NamedTuple):
    """Neighbouring cells of one style.  ``column``: the first one's, counted from 0."""

    column: int
    text: str
    style: Style


@contextlib.contextmanager
def replaying(trace: str, directory: str) -> Iterator[None]:
    """Mount at ``directory`` with the trace as source, from when the mount answers."""
    ready, told = os.pipe()
    command = [
        "pressurefs",
        "mount",
        "--source",
        f"replay:{trace},speed={SPEED}",
        "--ready-fd",
        str(told),
        directory,
    ]
    with subprocess.Popen(command, pass_fds=[told]) as daemon:
        os.close(told)
        try:
            if os.read(ready, 1) != b"\n":
                raise SystemExit("terminal_picture: the mount does not answer")
            yield
        finally:
            os.close(ready)
            daemon.terminate()


def watch(directory: str, seconds: float) -> pyte.Screen:
    """Return the screen of a terminal in which a watch has listened for so many seconds."""
    screen = FaintScreen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PRESSUREFS_MOUNT": directory}
    environment.pop("NO_COLOR", None)
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        ["pressurefs", "watch"], stdin=inner, stdout=inner, stderr=inner, env=environment
    ) as process:
        os.close(inner)
        while (left := deadline - time.monotonic()) > 0:
            if select.select([outer], [], [], left)[0]:
                stream.feed(os.read(outer, 65536))
        process.kill()
    os.close(outer)
    return screen


class FaintScreen(pyte.Screen):
    """A screen that knows faint text, which pyte ignores: it is kept as italics, which watch does not use."""

    def select_graphic_rendition(self, *attributes: int, **more: bool) -> None:
        """Take SGR 2, faint, for SGR 3."""
        super().select_graphic_rendition(*(3 if one == 2 else one for one in attributes), **more)  # noqa: PLR2004


def read_pieces(screen: pyte.Screen, row: int) -> list[Piece]:
    """Return a row of the screen, cut where its style changes or where blanks stand."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]

    def key(item: tuple[int, pyte.screens.Char]) -> tuple[bool, bool, Style]:
        _, cell = item
        colour = FAINT if cell.italics else COLOURS[cell.fg]
        return cell.data == " ", cell.data in BLOCKS, Style(colour, cell.bold)

    pieces = []
    for (blank, _, style), group in groupby(enumerate(cells), key):
        numbered = list(group)
        if not blank:
            pieces.append(Piece(numbered[0][0], "".join(cell.data for _, cell in numbered), style))
    return pieces


def render_piece(piece: Piece, top: int) -> str:
    """Return a piece as SVG, in the row whose upper edge is ``top``."""
    left, width = MARGIN + piece.column * CELL_WIDTH, len(piece.text) * CELL_WIDTH
    if piece.text[0] in BLOCKS:
        boxes = []
        for at, character in enumerate(piece.text):
            height = CELL_HEIGHT * (BLOCKS.index(character) + 1) // len(BLOCKS)
            x, y = left + at * CELL_WIDTH, top + CELL_HEIGHT - height
            boxes.append(f"M{x} {y}h{CELL_WIDTH - 1}v{height}h-{CELL_WIDTH - 1}z")
        return f'<path fill="{piece.style.colour}" d="{"".join(boxes)}"/>'
    weight = ' font-weight="bold"' if piece.style.bold else ""
    return (
        f'<text x="{left}" y="{top + BASELINE}" textLength="{width}" lengthAdjust="spacingAndGlyphs"'
        f' fill="{piece.style.colour}"{weight}>{escape(piece.text)}</text>'
    )


def render(rows: Sequence[Sequence[Piece]]) -> str:
    """Return the whole picture: a terminal's window with its title bar, and the rows in it."""
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = TITLE_BAR + len(rows) * CELL_HEIGHT + 2 * MARGIN
    middle = f'x="{width // 2}" y="{TITLE_BAR // 2 + 5}" text-anchor="middle"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        f' width="{width}" height="{height}" font-size="{FONT_SIZE}"',
        ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">',
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<path fill="{BAR}" d="M0 {TITLE_BAR}V8a8 8 0 0 1 8-8H{width - 8}a8 8 0 0 1 8 8V{TITLE_BAR}z"/>',
        *(
            f'<circle cx="{20 + 20 * number}" cy="{TITLE_BAR // 2}" r="6" fill="{colour}"/>'
            for number, colour in enumerate(BUTTONS)
        ),
        f'<text {middle} fill="{FAINT}">$ pressurefs watch</text>',
    ]
    for number, row in enumerate(rows):
        lines += [render_piece(piece, TITLE_BAR + MARGIN + number * CELL_HEIGHT) for piece in row]
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Make the picture."""
    trace, directory, output = sys.argv[1:]
    *_, last = Path(trace).read_text().splitlines()
    seconds = json.loads(last)["t"] / SPEED + SECONDS_AFTER_THE_END
    with replaying(trace, directory):
        screen = watch(directory, seconds)
    rows = [read_pieces(screen, row) for row in range(ROWS)]
    Path(output).write_text(render(rows))


if __name__ == "__main__":
    main()
