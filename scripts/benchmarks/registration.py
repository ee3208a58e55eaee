# SPDX-License-Identifier: MIT
"""What a registration costs, beside file systems that do nothing."""

import contextlib
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.programs import FOLDER, compile_empty
from benchmarks.serving import PRESSUREFS, serving
from benchmarks.table import Row, judged, microseconds

BUDGET = 1.5
CYCLES = 200


def measure(work: Path, rounds: int) -> list[Row]:
    """Compare a registration and a refusal with the same calls on an empty fusepy and an empty C one."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    with (
        serving([sys.executable, str(FOLDER / "empty.py")], work / "empty-fusepy"),
        serving([str(compile_empty(work))], work / "empty-libfuse"),
        serving(PRESSUREFS, work / "registration"),
    ):
        for _ in range(rounds):
            times["fusepy"].append(_seconds_each(work / "empty-fusepy", _registration))
            times["C"].append(_seconds_each(work / "empty-libfuse", _registration))
            times["registration"].append(_seconds_each(work / "registration", _registration))
            times["refusal"].append(_seconds_each(work / "registration", _refusal))
    median = {name: statistics.median(spent) for name, spent in times.items()}
    return [
        _judged("registration", median["registration"], median["fusepy"]),
        _judged("refusal", median["refusal"], median["fusepy"]),
        _beside_c("registration", median["registration"], median["C"]),
        _beside_c("empty fusepy", median["fusepy"], median["C"]),
    ]


def _judged(name: str, ours: float, empty: float) -> Row:
    ratio = ours / empty
    measured = f"{microseconds(ours)}, empty fusepy {microseconds(empty)}: {ratio:.2f} x"
    return judged(f"{name}: open, write, close", measured, ratio, BUDGET, "x")


def _beside_c(name: str, spent: float, empty: float) -> Row:
    measured = f"{microseconds(spent)}, empty C {microseconds(empty)}: {spent / empty:.1f} x"
    return Row(f"{name} beside C", measured)


def _registration() -> tuple[bytes, int | None]:
    """Return a line that registers a fresh eventfd, and that."""
    event = os.eventfd(0)
    return b"%d low" % event, event


def _refusal() -> tuple[bytes, int | None]:
    """Return a line whose descriptor is not open."""
    return b"99 low", None


def _seconds_each(place: Path, line: Callable[[], tuple[bytes, int | None]]) -> float:
    """Return the time of one open, write, close, of CYCLES."""
    path = place / "vmpressure"
    spent = 0.0
    for _ in range(CYCLES):
        text, event = line()
        began = time.perf_counter()
        fd = os.open(path, os.O_WRONLY)
        with contextlib.suppress(OSError):
            os.write(fd, text)
        os.close(fd)
        spent += time.perf_counter() - began
        if event is not None:
            os.close(event)
    return spent / CYCLES
