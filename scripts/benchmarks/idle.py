# SPDX-License-Identifier: MIT
"""What a daemon costs that has nothing to do.

How often the vmstat source looks depends on the free memory above the watermarks, so it is measured far
from them and near them.  Neither is left to this machine, both are trees for ``--proc``:

- far: a copy of its /proc/vmstat, changed to 64 GiB free;
- near: its own /proc/vmstat, which costs what it costs, beside a zoneinfo whose watermark is out of reach.

Beside that, what is the least that looking as often takes: a loop of nanosleep(2) and pread(2) in C.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import forked, processor_seconds, wakeups
from benchmarks.programs import make_looker
from benchmarks.serving import PRESSUREFS, register, serving
from benchmarks.table import Row, judged
from pressurefs.sources.memory_files import NEAR_SECONDS

REGISTRATIONS = 100
SECONDS_A_ROUND = 1.5

BUDGET_PERCENT = 0.1
BUDGET_FAR = 2.0
BUDGET_NEAR = 50.0

_FREE_FAR_PAGES = (64 << 30) // os.sysconf("SC_PAGE_SIZE")
_WATERMARK_FAR_PAGES = 0
_WATERMARK_NEAR_PAGES = 1 << 40


def measure(work: Path, rounds: int) -> list[Row]:
    """Let two daemons do nothing at the same time, and a loop in C look."""
    seconds = rounds * SECONDS_A_ROUND
    events = [os.eventfd(0) for _ in range(REGISTRATIONS)]
    with (
        _daemon(work, "far", _far_proc(work / "proc-far"), events) as far,
        _daemon(work, "near", _near_proc(work / "proc-near"), events) as near,
        forked(make_looker(work, Path("/proc/vmstat"), NEAR_SECONDS)) as bare,
    ):
        pids = far, near, bare
        before, scanned = [(processor_seconds(pid), wakeups(pid)) for pid in pids], _pages_scanned()
        time.sleep(seconds)
        after = [(processor_seconds(pid), wakeups(pid)) for pid in pids]
        load = f"{REGISTRATIONS} registrations" + (", DISTURBED" if _pages_scanned() != scanned else "")
    for event in events:
        os.close(event)
    spent = [
        ((late[0] - early[0]) / seconds * 100, (late[1] - early[1]) / seconds)
        for early, late in zip(before, after, strict=True)
    ]
    (far_percent, far_rate), (near_percent, near_rate), (bare_percent, _) = spent
    beside = f"{near_percent:.3f} % of a core, a loop in C {bare_percent:.3f} %"
    return [
        judged(f"idle far, {load}", f"{far_percent:.3f} % of a core", far_percent, BUDGET_PERCENT, "%"),
        judged(f"idle near, {load}", beside, near_percent, BUDGET_PERCENT, "%"),
        judged("wake-ups far", f"{far_rate:.2f} a second", far_rate, BUDGET_FAR, "a second"),
        judged("wake-ups near", f"{near_rate:.2f} a second", near_rate, BUDGET_NEAR, "a second"),
    ]


@contextlib.contextmanager
def _daemon(work: Path, name: str, proc: Path, events: list[int]) -> Iterator[int]:
    command = [*PRESSUREFS[:-1], "--source", "vmstat", "--proc", str(proc), PRESSUREFS[-1]]
    with serving(command, work / f"idle-{name}") as served:
        register(work / f"idle-{name}" / "vmpressure", events)
        yield served.pid


def _far_proc(proc: Path) -> Path:
    """Make a /proc of a machine that has plenty free."""
    proc.mkdir()
    vmstat = Path("/proc/vmstat").read_text()
    (proc / "vmstat").write_text(re.sub(r"(?m)^nr_free_pages .*", f"nr_free_pages {_FREE_FAR_PAGES}", vmstat))
    return _complete(proc, _WATERMARK_FAR_PAGES)


def _near_proc(proc: Path) -> Path:
    """Make a /proc of this machine, as if it had nothing free above the watermark."""
    proc.mkdir()
    (proc / "vmstat").symlink_to("/proc/vmstat")
    return _complete(proc, _WATERMARK_NEAR_PAGES)


def _complete(proc: Path, low_watermark_pages: int) -> Path:
    (proc / "zoneinfo").write_text(f"Node 0, zone   Normal\n        low      {low_watermark_pages}\n")
    (proc / "meminfo").symlink_to("/proc/meminfo")
    return proc


def _pages_scanned() -> list[str]:
    """Return the counters of scanning: while they rise, nobody is idle."""
    return re.findall(r"(?m)^pgscan_.*", Path("/proc/vmstat").read_text())
