# SPDX-License-Identifier: MIT
"""From a full window to the application: the kernel's own path and ours, from the same window on.

Judges nothing; as root, in scripts/machine, on a kernel that still has cgroup v1's memory controller:

    python -m tests.machine.latency

A streaming read fills windows one after the other.  When each was full the BPF program says; when the first
and the last of 1, 10, 100 and 1,000 listeners were awake, stamps.c, for the kernel's file and for ours.
latency.json in $PRESSUREFS_OUT gets, for each number of listeners and each path, the microseconds; how often
the daemon woke up in half a minute of idleness; and for each path how many milliseconds after rmdir(2) began
the listener of a cgroup was told that it is removed, and how often.
"""

import bisect
import contextlib
import json
import os
import resource
import select
import sys
import time
from pathlib import Path

from pressurefs import client
from tests.machine import loads
from tests.machine.fidelity import (
    BOX,
    HIERARCHY,
    LIMIT,
    MOUNT,
    OPTIONS,
    Listener,
    inside,
    limited_box,
    mount_hierarchy,
)
from tests.machine.guest import BIG, protect
from tests.machine.listening import serving
from tests.machine.matching import Events

FANS = (1, 10, 100, 1000)
SECONDS = 3.0
IDLE_SECONDS = 30.0
# The eventfds of a thousand listeners that have gone are let go in several sweeps.
SWEPT_SECONDS = 10.0
REMOVALS = 30
# So long after both were told of a removal nothing more comes.
REMOVED_SECONDS = 0.3


def windows(cgroup: str) -> list[int]:
    """Return when a cgroup's windows were full, in nanoseconds, as the debug directory has them."""
    rows = (MOUNT / "vmpressure.debug" / "history").read_text().splitlines()[1:]
    return [round(float(row.split()[0]) * 1e9) for row in rows if row.split()[1] == cgroup]


def awake_us(full: list[int], heard: Events, listeners: int) -> dict[str, list[float]]:
    """Return how long after each window the first and the last listener was awake.

    A window that some listener has not read of before the next one was full tells nothing.
    """
    reads = heard["low"]
    awake: dict[str, list[float]] = {"first": [], "last": []}
    for began, ended in zip(full, [*full[1:], sys.maxsize], strict=True):
        those = reads[bisect.bisect_left(reads, began) : bisect.bisect_left(reads, ended)]
        if len(those) == listeners:
            awake["first"].append((those[0] - began) / 1e3)
            awake["last"].append((those[-1] - began) / 1e3)
    return awake


def measure(listeners: int, path: Path) -> dict[str, dict[str, list[float]]]:
    """Return the times of both paths."""
    before = len(windows("/box"))
    directories = {"kernel": BOX, "ours": MOUNT / "box"}
    both = {who: Listener(directory, listeners) for who, directory in directories.items()}
    with inside(loads.stream, path)() as pidfd:
        select.select([pidfd], [], [], SECONDS)
    heard = {who: one.end() for who, one in both.items()}
    full = windows("/box")[before:]
    return {who: awake_us(full, events, listeners) for who, events in heard.items()}


def remove() -> dict[str, dict[str, list[float]]]:
    """Remove cgroups at which somebody listens by the kernel's file and by ours."""
    told: dict[str, dict[str, list[float]]] = {who: {"ms": [], "signals": []} for who in ("kernel", "ours")}
    for number in range(REMOVALS):
        cgroup = HIERARCHY / f"gone{number}"
        cgroup.mkdir()
        events = {who: os.eventfd(0, os.EFD_CLOEXEC) for who in told}
        level = os.open(cgroup / "memory.pressure_level", os.O_RDONLY | os.O_CLOEXEC)
        (cgroup / "cgroup.event_control").write_text(f"{events['kernel']} {level} low,local")
        client.register(events["ours"], "low,local", client.control_path(str(MOUNT), f"/{cgroup.name}"))
        began = time.monotonic()
        cgroup.rmdir()
        waiting = {event: who for who, event in events.items()}
        while waiting:
            for event in select.select(waiting, [], [])[0]:
                told[waiting.pop(event)]["ms"].append((time.monotonic() - began) * 1000)
        select.select([], [], [], REMOVED_SECONDS)
        for who, event in events.items():
            told[who]["signals"].append(os.eventfd_read(event))
            os.close(event)
        os.close(level)
    return told


def count_wake_ups(pid: int) -> int:
    """Return how often any thread of a process has gone to sleep."""
    statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(one.split("\nvoluntary_ctxt_switches:")[1].split("\n")[0]) for one in statuses)


def main() -> int:
    """Measure all."""
    protect()
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    mount_hierarchy()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(loads.big_file(BIG, 4 * LIMIT))
        pid = stack.enter_context(serving(MOUNT, "kernel:windows=own", options=OPTIONS))
        stack.enter_context(limited_box())
        fans = {}
        for listeners in FANS:
            fans[listeners] = measure(listeners, path)
            print(f"{listeners} listeners: {len(fans[listeners]['ours']['last'])} windows", flush=True)
        # Its books must be in order: to let go of thousands takes a while.
        while (MOUNT / "vmpressure.debug" / "registrations").read_text():
            select.select([], [], [], 0.5)
        select.select([], [], [], SWEPT_SECONDS)
        before = count_wake_ups(pid)
        select.select([], [], [], IDLE_SECONDS)
        wake_ups = (count_wake_ups(pid) - before) / IDLE_SECONDS
        removed = remove()
    told = {"listeners": fans, "wake_ups": wake_ups, "removed": removed}
    Path(os.environ["PRESSUREFS_OUT"], "latency.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
