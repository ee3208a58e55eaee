# SPDX-License-Identifier: MIT
"""The scale of a real host, on this machine: 2,000 cgroups, 200 registrations spread over them.

Judges nothing.  As root, in scripts/machine; the machine is emulated, so a figure means something beside the
one that stands with it: the same done to cgroupfs itself, and a daemon that nobody has registered with.

    python -m tests.machine.scale

scale.json in $PRESSUREFS_OUT gets all figures.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pressurefs import client
from tests.machine import loads
from tests.machine.guest import BIG
from tests.machine.limits import CGROUPS, LIMIT, MOUNT, inside
from tests.machine.listening import serving
from tests.support.mounted import open_files

SLICES = 20
NUMBER = 2000
REGISTRATIONS = 200
ROUNDS = 15
IDLE_SECONDS = 20.0
LIMIT_SECONDS = 10.0


def make_cgroups() -> list[str]:
    """Make the cgroups, a hundred in each of twenty; return their paths."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    paths = []
    for slice_ in range(SLICES):
        parent = CGROUPS / f"slice{slice_}"
        parent.mkdir()
        (parent / "cgroup.subtree_control").write_text("+memory")
        for number in range(NUMBER // SLICES):
            (parent / f"c{number}").mkdir()
            paths.append(f"/slice{slice_}/c{number}")
    return paths


def milliseconds(action: Callable[[], object]) -> float:
    """Return the median time of an action."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        action()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def percent_of_a_core(pid: int, seconds: float) -> float:
    """Return the share of a core that a process takes in the time to come."""
    before = processor_seconds(pid)
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / seconds * 100


def processor_seconds(pid: int) -> float:
    """Return the nanosecond clock of all threads."""
    return (
        sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
        / 1e9
    )


def sampled_files(pid: int) -> int:
    """Return how many of the kernel's files of cgroups a process has open."""
    return sum(link.startswith(f"{CGROUPS}/") for link in open_files(pid).values())


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def register(cgroups: list[str]) -> tuple[list[int], float]:
    """Register an eventfd in each cgroup; return them, and the mean milliseconds of one."""
    events = [os.eventfd(0, os.EFD_CLOEXEC) for _ in cgroups]
    began = time.perf_counter()
    for event, path in zip(events, cgroups, strict=True):
        client.register(event, "low", client.control_path(str(MOUNT), path))
    return events, (time.perf_counter() - began) * 1000 / len(cgroups)


def at_a_limit(pid: int, cgroup: str, event: int) -> tuple[float, int]:
    """Bring one cgroup to its limit; return the daemon's share of a core meanwhile, and the events."""
    (CGROUPS / cgroup.strip("/") / "memory.max").write_text(str(LIMIT))
    with loads.big_file(BIG, 4 * LIMIT) as path, loads.running(inside, cgroup, loads.stream, path):
        select.select([event], [], [])
        return percent_of_a_core(pid, LIMIT_SECONDS), os.eventfd_read(event)


def main() -> int:
    """Measure all."""
    paths = make_cgroups()
    some = paths[:: NUMBER // REGISTRATIONS]
    told: dict[str, object] = {}

    def tell(what: str, figure: float, beside: str = "", other: float | None = None) -> None:
        told[what] = figure
        if other is not None:
            told[beside] = other
            beside = f"{beside} {other:.3f}"
        print(f"{what:44} {figure:9.3f}   {beside}", flush=True)

    with serving(MOUNT) as pid:
        alone = percent_of_a_core(pid, IDLE_SECONDS)
        ours, theirs = (
            milliseconds(lambda: [os.stat(f"{top}{path}") for path in some]) / len(some)  # noqa: B023
            for top in (MOUNT, CGROUPS)
        )
        tell("look up a cgroup, ms", ours, "cgroupfs", theirs)
        ours, theirs = (
            milliseconds(lambda: os.listdir(f"{top}/slice1"))  # noqa: B023
            for top in (MOUNT, CGROUPS)
        )
        tell("list a directory of 100, ms", ours, "cgroupfs, list", theirs)
        events, spent = register(some)
        _, at_the_top = register(["/"])
        tell("register in a cgroup, ms", spent, "at the top", at_the_top)
        idle = percent_of_a_core(pid, IDLE_SECONDS)
        tell("idle, 200 of 2,000 listened to, % of a core", idle, "nobody registered", alone)
        tell("files open to sample", sampled_files(pid))
        busy, heard = at_a_limit(pid, some[0], events[0])
        tell("one of them at its limit, % of a core", busy, "events", heard)
        tell("signalled of the other 199", sum(map(bool, select.select(events[1:], [], [], 0)[0])))
        tell("resident, MiB", resident_mib(pid))
        find = ["find", str(MOUNT), "-name", "vmpressure"]
        found = subprocess.run(find, capture_output=True, text=True, check=True).stdout
        tell("vmpressure files found", len(found.splitlines()))
    Path(os.environ["PRESSUREFS_OUT"], "scale.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
