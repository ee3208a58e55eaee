# SPDX-License-Identifier: MIT
"""Rows of the table: what was measured, the budget, and the verdict."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One line.  ``met`` is None where there is no budget, and the figure is for information."""

    what: str
    measured: str
    budget: str = "-"
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """The last cell."""
        return {None: "", True: "met", False: "MISSED"}[self.met]


def judged(what: str, measured: str, figure: float, most: float, unit: str) -> Row:
    """Return a row whose budget is ``most``: the figure itself is compared, not what is printed of it."""
    return Row(what, measured, f"<= {most:g} {unit}", met=figure <= most)


def microseconds(seconds: float) -> str:
    """Return a time as people compare it: 0.21 us, 85 us, 5380 us."""
    value = seconds * 1e6
    return f"{value:.2f} us" if value < 1 else f"{value:.1f} us" if value < 10 else f"{value:.0f} us"  # noqa: PLR2004


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that ``percent`` of all do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def print_table(rows: Sequence[tuple[str, Row]]) -> bool:
    """Print each row after the name of its measurement; tell whether no budget was missed."""
    lines = [(name, row.what, row.measured, row.budget, row.verdict) for name, row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return all(row.met is not False for _, row in rows)
