# SPDX-License-Identifier: MIT
"""The table: one line for each case, the bytes written in it and the kernel's answer.

event_control.tsv is what Linux 6.18 said.  Where nothing is written the case names another system call.
"""

import re
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("event_control.tsv")


class Row(NamedTuple):
    """One line of the table."""

    case: str
    written: str
    result: str


def read_rows() -> list[Row]:
    """Return all lines, in their order."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [Row(*line.split("\t")[:3]) for line in lines]


def bytes_of(written: str) -> bytes:
    """Undo the escapes; a long row shows its beginning, whose last byte fills it up to its size."""
    shown, _, size = written.partition("...(")
    shown = re.sub(r"\\(x[0-9a-f]?)?$", "", shown) if size else shown
    said = shown.encode().decode("unicode_escape").encode("latin-1")
    return said.ljust(int(size.split()[0]), said[-1:]) if size else said
