# SPDX-License-Identifier: MIT
"""The tables of what fidelity.py and latency.py measured, as Markdown.

python -m tests.machine.tables DIR     prints those of DIR's fidelity.json, latency.json and notices.json
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.machine.matching import LEVELS, agree, compare, detect, percentile

Outcomes = dict[str, dict[str, Any]]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def render_fidelity(told: Outcomes) -> Iterator[str]:
    """Yield the lines of the table that compares events one by one."""
    yield _row(
        "source", "load", "level", "kernel", "ours", "difference", "matched in 5 ms", "ours earlier by more",
        "ours - kernel's, ms: median", "p90", "p99", "same highest level in 100 ms",
    )  # fmt: skip
    yield _row(*["---"] * 12)
    for setting, loads in told.items():
        for load, heard in loads.items():
            same = agree(heard["kernel"], heard["ours"])
            for level in LEVELS:
                one = compare(heard["kernel"][level], heard["ours"][level])
                if not (one.kernel or one.ours):
                    continue
                shares = _share(one.matched, one.kernel), _share(one.forestalled, one.kernel)
                times = (f"{one.percentile_ms(percent):+.2f}" for percent in (50, 90, 99))
                counts = one.kernel, one.ours, one.ours - one.kernel
                yield _row(setting, load, level, *counts, *shares, *times, _share(*same))


def render_detection(told: Outcomes) -> Iterator[str]:
    """Yield the lines of the table of what sampling sees, in intervals of 100 ms."""
    yield _row("source", "load", "level", "intervals, kernel", "ours", "both", "precision", "recall")
    yield _row(*["---"] * 8)
    for load, heard in told["vmstat"].items():
        for level in LEVELS:
            one = detect(heard["kernel"], heard["ours"], level)
            if one.kernel or one.ours:
                shares = _share(one.both, one.ours), _share(one.both, one.kernel)
                yield _row("vmstat", load, level, one.kernel, one.ours, one.both, *shares)


def render_notices(told: Outcomes) -> Iterator[str]:
    """Yield the lines of the table of first notices, in milliseconds after the load began."""
    who = ["kernel", "ours", "PSI, privileged", "PSI, unprivileged"]
    yield _row("source", "load", "the kernel's file", "ours", *who[2:])
    yield _row(*["---"] * 6)
    for setting, loads in told.items():
        for load, heard in loads.items():
            times = [heard["first_ms"].get(one) for one in who]
            yield _row(setting, load, *("-" if one is None else one for one in times))


def render_latency(told: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of both paths from the same windows, in microseconds."""
    yield _row(
        "listeners", "windows", "first awake, kernel: median", "p99", "ours: median", "p99",
        "last awake, kernel: median", "p99", "ours: median", "p99", "ours / kernel, last",
    )  # fmt: skip
    yield _row(*["---"] * 11)
    for listeners, paths in told["listeners"].items():
        times = [paths[who][which] for which in ("first", "last") for who in ("kernel", "ours")]
        cells = [f"{percentile(one, percent):.0f}" for one in times for percent in (50, 99)]
        ratio = percentile(times[3], 50) / percentile(times[2], 50)
        yield _row(listeners, len(times[0]), *cells, f"{ratio:.2f}")


def render_removals(told: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of removed cgroups, in milliseconds from rmdir(2) to select(2)."""
    yield _row("told by", "cgroups removed", "median", "p90", "the longest")
    yield _row(*["---"] * 5)
    for who, name in (("kernel", "the kernel's file"), ("ours", "ours")):
        times = told["removed"][who]["ms"]
        yield _row(name, len(times), *(f"{percentile(times, percent):.2f}" for percent in (50, 90, 100)))


def main(directory: str) -> int:
    """Print all tables."""
    told, latency, without = (
        json.loads(Path(directory, f"{name}.json").read_text()) for name in ("fidelity", "latency", "notices")
    )
    tables = [render_fidelity(told), render_detection(told), render_latency(latency)]
    tables.append(render_removals(latency))
    for table in (*tables, render_notices(told), render_notices(without)):
        print("\n".join(table), end="\n\n")
    print(f"idle: {latency['wake_ups']:.1f} wake-ups a second")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
