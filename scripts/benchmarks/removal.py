# SPDX-License-Identifier: MIT
"""How long after a cgroup was removed its listener is told.

The tree is one of plain directories, which vanish at once by rename(2).  The kernel's own tree, and its
file beside ours, are measured in the small machine (tests/machine/latency.py).
"""

import os
import select
import statistics
import time
from pathlib import Path

from benchmarks.serving import PRESSUREFS, register, serving
from benchmarks.table import Row, judged

BUDGET_MS = 40.0
REMOVALS_A_ROUND = 10


def measure(work: Path, rounds: int) -> list[Row]:
    """Remove one cgroup after the other."""
    tree, gone = work / "removal-tree", work / "removal-gone"
    gone.mkdir()
    cgroups = [tree / f"cgroup{number}" for number in range(rounds * REMOVALS_A_ROUND)]
    for cgroup in cgroups:
        cgroup.mkdir(parents=True)
        (cgroup / "memory.stat").write_text("anon 0\npgscan 0\npgsteal 0\n")
    times = []
    command = [*PRESSUREFS[:-1], "--cgroup", str(tree), PRESSUREFS[-1]]
    with serving(command, work / "removal") as _:
        for cgroup in cgroups:
            event = os.eventfd(0, os.EFD_CLOEXEC)
            register(work / "removal" / cgroup.name / "vmpressure", [event])
            began = time.perf_counter()
            cgroup.rename(gone / cgroup.name)
            select.select([event], [], [])
            times.append((time.perf_counter() - began) * 1000)
            os.close(event)
    median = statistics.median(times)
    measured = f"{median:.2f} ms, at most {max(times):.1f}"
    return [judged("cgroup removed to listener told", measured, median, BUDGET_MS, "ms")]
