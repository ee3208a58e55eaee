# SPDX-License-Identifier: MIT
"""The benchmarks run: scripts/bench measures everything, if only once, and says what it found."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from benchmarks.__main__ import MEASUREMENTS
from benchmarks.table import Row, judged, percentile, print_table

BENCH = Path(__file__).parents[2] / "scripts" / "bench"

# A number and its unit; what was compared stands after it.
FIGURE = re.compile(r"^[\d,.]+ (us|ms|MiB|% of a core|a second)\b")


def test_bench_measures(fuse: None) -> None:  # noqa: ARG001
    """Each measurement gives figures that are no zeros; the exit code is 1 just when a budget is missed."""
    run = subprocess.run([BENCH, "--rounds", "1"], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    rows = [re.split(r"  +", line) for line in run.stdout.splitlines()]
    assert {row[0] for row in rows} == set(MEASUREMENTS)
    for _, what, measured, budget, *verdict in rows:
        if (measured, os.cpu_count()) == ("this machine has one", 1):
            continue
        assert FIGURE.match(measured), what
        assert float(measured.split()[0].replace(",", "")) > 0, what
        assert verdict in ([["met"], ["MISSED"]] if budget != "-" else [[]]), what
    assert run.returncode == any(row[-1] == "MISSED" for row in rows)


def test_bench_knows_its_measurements() -> None:
    """Another name is a usage error."""
    run = subprocess.run([BENCH, "nonsense"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "there is no measurement 'nonsense'" in run.stderr


@pytest.mark.parametrize(("figure", "verdict"), [(1.5, "met"), (1.5001, "MISSED")])
def test_budget_is_compared_unrounded(figure: float, verdict: str) -> None:
    """The budget itself is within the budget, and what only prints like it is not."""
    assert judged("what", f"{figure:.2f} x", figure, 1.5, "x").verdict == verdict


def test_one_miss_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """A table with one budget missed is not well; without a budget there is nothing to miss."""
    well = ("start", judged("what", "1 ms", 1, 2, "ms"))
    assert print_table([well, ("start", Row("else", "9 ms"))])
    assert not print_table([well, ("start", judged("what", "3 ms", 3, 2, "ms"))])
    assert capsys.readouterr().out.splitlines()[-1] == "start  what  3 ms  <= 2 ms  MISSED"


def test_percentile() -> None:
    """The 99th of 1 to 100 is 99; of a single value, that."""
    assert percentile(range(100, 0, -1), 99) == 99
    assert percentile([7], 99) == 7
