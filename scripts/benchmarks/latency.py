# SPDX-License-Identifier: MIT
"""How long it takes from a full window to an application that is awake.

The replay source fills windows.  The clock starts when the source gives the sample away that fills one, and
stops when the application is back from read(2).  The time from the moment for which the sample was due is
shown, too: it has the kernel's timer in it, and the daemon's own waking.

Compared with one write(2) of another process that slept in the same rhythm.  On one processor and on two:
where they are virtual, the wake-up across is the larger part, of both sides.
"""

import contextlib
import itertools
import math
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import awakening, processes
from benchmarks.awakening import Wakes
from benchmarks.table import Row, judged, microseconds, percentile

TURNS = 3
EVENTS_A_ROUND = 60
PAUSE_SECONDS = 0.005
OPERATIONS_A_SECOND = 100
BUDGET_P99_MS = 1.0


def measure(work: Path, rounds: int) -> list[Row]:
    """Measure quiet and busy mounts, the daemon on the application's processor and on another."""
    between = awakening.pauses(math.ceil(rounds / TURNS) * EVENTS_A_ROUND, PAUSE_SECONDS)
    rows: list[Row] = []
    for where, processor in (("one processor", processes.FIRST), ("two processors", processes.SECOND)):
        if processor is None:
            rows.append(Row(f"full to awake, {where}", "this machine has one"))
            continue
        bare, quiet, busy = Wakes([], []), Wakes([], []), Wakes([], [])
        for _ in range(TURNS):
            bare.add(awakening.written(work, 1, between, processor=processor))
            quiet.add(awakening.replayed(work, 1, between, processor=processor))
            busy.add(awakening.replayed(work, 1, between, processor=processor, beside=operations))
        rows.append(Row(f"write(2) to awake, {where}", _shown(bare.from_given)))
        rows += _compared(where, quiet, bare)
        rows += _compared(f"{where}, {OPERATIONS_A_SECOND} operations/s beside", busy, bare)
    return rows


def _compared(situation: str, wakes: Wakes, bare: Wakes) -> list[Row]:
    wrote = statistics.median(bare.from_given)
    ratio = statistics.median(wakes.from_given) / wrote
    measured = f"{_shown(wakes.from_given)}, write(2) {microseconds(wrote)}: {ratio:.1f} x"
    p99_ms = percentile(wakes.from_given, 99) * 1e3
    return [
        judged(f"full to awake, {situation}", measured, p99_ms, BUDGET_P99_MS, "ms, p99"),
        Row(f"due to awake, {situation}", _shown(wakes.from_due)),
    ]


def operations(vmpressure: Path) -> AbstractContextManager[object]:
    """Have another process look at, open, read, write and close the control file meanwhile."""
    return processes.forked(_operate, vmpressure)


def _operate(vmpressure: Path) -> None:
    for number in itertools.count(1):
        for _ in _one_cycle(vmpressure, number):
            time.sleep(1 / OPERATIONS_A_SECOND)


def _one_cycle(vmpressure: Path, number: int) -> Iterator[None]:
    """Do one operation at a time.  What is registered does not hear what this measures."""
    vmpressure.stat()
    yield
    fd = os.open(vmpressure, os.O_RDWR)
    yield
    os.read(fd, 100)
    yield
    event = os.eventfd(0)
    os.write(fd, b"%d oom" % event)
    yield
    with contextlib.suppress(OSError):
        os.write(fd, b"%d nonsense" % number)
    yield
    os.close(fd)
    os.close(event)
    yield


def _shown(seconds: list[float]) -> str:
    return f"{microseconds(statistics.median(seconds))}, p99 {microseconds(percentile(seconds, 99))}"
