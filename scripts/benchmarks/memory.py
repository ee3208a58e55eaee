# SPDX-License-Identifier: MIT
"""What a daemon holds.  As root its memory is locked: what is resident stays."""

import os
from pathlib import Path

from benchmarks.processes import allow_descriptors, descriptors, resident_mib
from benchmarks.serving import PRESSUREFS, register, serving
from benchmarks.table import Row, judged

BUDGETS_MIB = {0: None, 100: 30.0, 1000: None}


def measure(work: Path, _rounds: int) -> list[Row]:
    """Register more and more at one mount."""
    allow_descriptors(2 * max(BUDGETS_MIB))
    rows = []
    events: list[int] = []
    with serving(PRESSUREFS, work / "memory") as served:
        for count, budget_mib in BUDGETS_MIB.items():
            more = [os.eventfd(0) for _ in range(count - len(events))]
            register(work / "memory" / "vmpressure", more)
            events += more
            resident = resident_mib(served.pid)
            what = f"resident, {count:,} registrations"
            measured = f"{resident:.1f} MiB, {descriptors(served.pid):,} descriptors"
            if budget_mib is None:
                rows.append(Row(what, measured))
            else:
                rows.append(judged(what, measured, resident, budget_mib, "MiB"))
    for event in events:
        os.close(event)
    return rows
