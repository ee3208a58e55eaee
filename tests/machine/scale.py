"""The scale of a real host, on this machine: 2,000 cgroups, 200 registrations spread over them.

Judges nothing.  As root, in scripts/machine; the machine is emulated, so a figure means something beside the
one that stands with it: the same done to cgroupfs itself, and a daemon that nobody has registered with.

    python -m tests.machine.scale
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pressurefs import client
from tests.machine.limits import CGROUPS, MOUNT
from tests.machine.listening import serving

NUMBER = 2000
REGISTRATIONS = 200
ROUNDS = 15
IDLE_SECONDS = 20.0


def make_cgroups() -> list[str]:
    """Make the cgroups, a hundred in each of twenty; return their paths."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    paths = []
    for slice_ in range(20):
        parent = CGROUPS / f"slice{slice_}"
        parent.mkdir()
        (parent / "cgroup.subtree_control").write_text("+memory")
        for number in range(NUMBER // 20):
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


def tell(what: str, ours: float, theirs: float, unit: str, beside: str) -> None:
    """Print one line."""
    print(f"{what:44} {ours:9.3f} {unit}, {beside} {theirs:.3f}", flush=True)


def idle_percent(pid: int) -> float:
    """Return the share of a core that a process takes while nothing happens."""
    before = processor_seconds(pid)
    time.sleep(IDLE_SECONDS)
    return (processor_seconds(pid) - before) / IDLE_SECONDS * 100


def processor_seconds(pid: int) -> float:
    """Return the nanosecond clock of all threads."""
    return (
        sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
        / 1e9
    )


def main() -> int:
    """Measure all."""
    paths = make_cgroups()
    some = paths[:: NUMBER // REGISTRATIONS]
    with serving(MOUNT) as pid:
        alone = idle_percent(pid)
        mount = str(MOUNT)
        for what, ask in (
            ("look up a cgroup", lambda top: [os.stat(f"{top}{path}") for path in some]),
            ("list a directory of 100", lambda top: os.listdir(f"{top}/slice1")),
        ):
            number = len(some) if "look" in what else 1
            ours, theirs = (milliseconds(lambda: ask(top)) / number for top in (mount, str(CGROUPS)))  # noqa: B023
            tell(what, ours, theirs, "ms", "cgroupfs")
        events = [os.eventfd(0, os.EFD_CLOEXEC) for _ in some]
        began = time.perf_counter()
        for event, path in zip(events, some, strict=True):
            client.register(event, "low", client.control_path(mount, path))
        spent = (time.perf_counter() - began) * 1000 / len(some)
        top = os.eventfd(0, os.EFD_CLOEXEC)
        began = time.perf_counter()
        client.register(top, "low", client.control_path(mount))
        tell("register in a cgroup", spent, (time.perf_counter() - began) * 1000, "ms", "at the top")
        tell("idle, 200 of 2,000 listened to", idle_percent(pid), alone, "% of a core", "nobody registered")
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"{'resident':44} {rss / 1024:9.1f} MiB, {len(os.listdir(f'/proc/{pid}/fd'))} descriptors")
        sweep = subprocess.run(
            ["find", mount, "-name", "vmpressure"], capture_output=True, text=True, check=True
        )
        print(f"{'found in the mount':44} {len(sweep.stdout.splitlines()):9} vmpressure files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
