# SPDX-License-Identifier: MIT
"""How long it takes from exec to a mount that answers."""

import statistics
from pathlib import Path

from benchmarks.serving import PRESSUREFS, serving
from benchmarks.table import Row, judged

BUDGET_MS = 300.0


def measure(work: Path, rounds: int) -> list[Row]:
    """Mount again and again."""
    times = []
    for _ in range(rounds):
        with serving(PRESSUREFS, work / "start") as served:
            times.append(served.ready_seconds * 1000)
    median = statistics.median(times)
    return [judged("mount to ready", f"{median:.0f} ms, at most {max(times):.0f}", median, BUDGET_MS, "ms")]
