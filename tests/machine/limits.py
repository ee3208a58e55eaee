# SPDX-License-Identifier: MIT
"""Limits of cgroups on this machine: loads inside a cgroup that reaches memory.max, and who hears of it.

Judges nothing; as root, in scripts/machine:

    python -m tests.machine.limits SOURCE

The machine has plenty of memory, so that what is heard is the limits' doing.  limits.json in $PRESSUREFS_OUT
gets for each scenario what each listener was signalled, and what else there is to tell of it; trace.jsonl
what the mount recorded, and history what it judged.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pressurefs import client
from tests.machine import loads
from tests.machine.guest import BIG, memory_bytes, protect
from tests.machine.listening import serving

MOUNT = Path("/run/pressurefs")
CGROUPS = Path("/sys/fs/cgroup")
LIMIT = 64 * loads.MIB
SECONDS = 4.0
# So long after the last look that finds anything nothing comes.
SETTLED_SECONDS = 1.0
# Reclaim at a limit begins within a second, but an emulated machine may be slow to fill memory, or swap.
PATIENCE_SECONDS = 150.0

# Who listens in every scenario: cgroup, level, mode.  /jobs is the parent of /jobs/box, where the loads run,
# and of /jobs/beside, where nothing does.
EVERYWHERE = [
    *(
        (cgroup, level, "local")
        for cgroup in ("/jobs/box", "/jobs/beside")
        for level in ("low", "medium", "oom")
    ),
    *(("/jobs", "low", mode) for mode in ("default", "hierarchy", "local")),
    *(("/", "low", mode) for mode in ("default", "hierarchy", "local")),
]


class Ears:
    """Eventfds of this process, each registered by a line in its cgroup's vmpressure."""

    def __init__(self, wishes: list[tuple[str, str, str]]) -> None:
        self._events: dict[str, int] = {}
        for cgroup, level, mode in wishes:
            event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            client.register(event, f"{level},{mode}", client.control_path(str(MOUNT), cgroup))
            self._events[f"{cgroup} {level},{mode}"] = event
        self.heard = dict.fromkeys(self._events, 0)
        self.first: dict[str, float] = {}

    def collect(self) -> dict[str, int]:
        """Add up what was signalled so far."""
        for name, event in self._events.items():
            with contextlib.suppress(BlockingIOError):
                self.heard[name] += os.eventfd_read(event)
                self.first.setdefault(name, time.monotonic())
        return self.heard

    def settle(self) -> dict[str, int]:
        """Collect until nothing comes any more: one event signals several, one after the other."""
        while select.select(self._events.values(), [], [], SETTLED_SECONDS)[0]:
            self.collect()
        return self.heard

    def close(self) -> None:
        """End the registrations, and wait until nobody counts as a listener any more."""
        for event in self._events.values():
            os.close(event)
        while (MOUNT / "vmpressure.debug" / "registrations").read_text():
            select.select([], [], [], 0.1)


def make_cgroups() -> None:
    """Make /jobs with two children, all with the memory controller, one with a limit and no swap."""
    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
    (CGROUPS / "jobs").mkdir()
    (CGROUPS / "jobs" / "cgroup.subtree_control").write_text("+memory")
    for name in ("box", "beside"):
        (CGROUPS / "jobs" / name).mkdir()
    (CGROUPS / "jobs" / "box" / "memory.max").write_text(str(LIMIT))


def inside(cgroup: str, load: Callable[..., None], *args: Any) -> None:
    """Be a load in a cgroup."""
    (CGROUPS / cgroup.strip("/") / "cgroup.procs").write_text("0")
    load(*args)


def play(
    wishes: list[tuple[str, str, str]],
    *starts: Callable[[], contextlib.AbstractContextManager[int]],
    until_dead: bool = False,
    enough: Callable[[Ears], bool] = lambda _: True,
) -> dict[str, Any]:
    """Run loads for some seconds of events, and until it is enough, or one of them is dead.

    Return what was heard.
    """
    ears = Ears(wishes)
    with contextlib.ExitStack() as stack:
        pidfds = [stack.enter_context(start()) for start in starts]
        end = time.monotonic() + PATIENCE_SECONDS
        died = None
        while time.monotonic() < end and died is None:
            if loads.is_dead(pidfds, 0.002):
                died = time.monotonic()
            ears.collect()
            is_soon = not ears.first or time.monotonic() < min(ears.first.values()) + SECONDS
            if not until_dead and not is_soon and enough(ears):
                break
    heard = dict(ears.settle())
    ears.close()
    ahead = {name: None if died is None else round((died - at) * 1000) for name, at in ears.first.items()}
    return {"heard": heard, "ahead_ms": ahead}


def hears_medium(ears: Ears) -> bool:
    """Tell whether the box has heard medium; on a busy host a thrash may take a while to come to that."""
    return "/jobs/box medium,local" in ears.first


def box(load: Callable[..., None], *args: Any) -> Callable[[], contextlib.AbstractContextManager[int]]:
    """Return what starts a load in /jobs/box."""
    return lambda: loads.running(inside, "/jobs/box", load, *args)


def thrashing(path: Path) -> list[Callable[[], contextlib.AbstractContextManager[int]]]:
    """Return what starts a thrash: see guest.play_thrash for the shares."""
    thrash = box(loads.thrash, path, LIMIT * 2 // 5)
    return [box(loads.hold, LIMIT * 3 // 5), thrash, thrash]


def play_bomb(swap: str) -> dict[str, Any]:
    """Fill the box until the OOM killer comes, with so much swap."""
    (CGROUPS / "jobs" / "box" / "memory.swap.max").write_text(swap)
    try:
        return play(EVERYWHERE, box(loads.anonymous_bomb), until_dead=True)
    finally:
        (CGROUPS / "jobs" / "box" / "memory.swap.max").write_text("0")


def scanned_in_the_box() -> int:
    """Return how many of the box's pages were ever scanned, on whosever account."""
    rows = (CGROUPS / "jobs" / "box" / "memory.stat").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("pgscan "))


def play_global(path: Path) -> dict[str, Any]:
    """Bring the whole machine to reclaim, the box's pages too, while the box is below its limit."""
    cached, huge = box(loads.hold_cached, path, LIMIT // 2), BIG.with_name("pressurefs-huge")
    before = scanned_in_the_box()
    with cached(), loads.big_file(huge, 2 * memory_bytes()) as larger:
        stream = lambda: loads.running(loads.stream, larger)  # noqa: E731
        outcome = play(EVERYWHERE, stream, enough=lambda _: scanned_in_the_box() > before)
    return {**outcome, "scanned_in_the_box": scanned_in_the_box() - before}


def await_empty(cgroup: Path) -> None:
    """Wait until no process is left in a cgroup; fail where nothing changes for so long."""
    with (cgroup / "cgroup.events").open() as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            assert changes.poll(PATIENCE_SECONDS * 1000), f"somebody stays in {cgroup}"
            events.seek(0)


def play_removal(path: Path) -> dict[str, Any]:
    """Remove the box while its neighbour reclaims; a program that was written for cgroup v1 listens there."""
    listener = [os.environ["PRESSUREFS_LISTENER"], str(MOUNT / "jobs" / "box"), "low"]
    event = os.eventfd(0, os.EFD_CLOEXEC)
    client.register(event, "oom,local", client.control_path(str(MOUNT), "/jobs/box"))
    with (
        subprocess.Popen(listener, stdout=subprocess.PIPE, text=True) as program,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(program.kill)
        with contextlib.ExitStack() as stack:
            for start in thrashing(path):
                stack.enter_context(start())
            assert program.stdout is not None
            said = [program.stdout.readline() for _ in range(3)]
        await_empty(CGROUPS / "jobs" / "box")
        (CGROUPS / "jobs" / "beside" / "memory.max").write_text(str(LIMIT))
        # What it reads is charged to it, but for what is in memory already.
        with loads.running(inside, "/jobs/beside", loads.stream, path):
            beside = os.eventfd(0, os.EFD_CLOEXEC)
            client.register(beside, "low,local", client.control_path(str(MOUNT), "/jobs/beside"))
            assert client.wait(beside, PATIENCE_SECONDS), "the neighbour is at ease"
            client.wait(event, 0)
            began = time.monotonic()
            os.rmdir(CGROUPS / "jobs" / "box")
            signals = client.wait(event, PATIENCE_SECONDS)
            milliseconds = (time.monotonic() - began) * 1000
            said.append(program.communicate(timeout=PATIENCE_SECONDS)[0])
            more = client.wait(event, SETTLED_SECONDS)
    for line in said:
        print(f"    {line.rstrip()}")
    told = {"ms": round(milliseconds, 1), "signals": signals, "more": more}
    return {**told, "code": program.returncode, "said": said}


@contextlib.contextmanager
def zram_swap(size: int) -> Iterator[None]:
    """Have swap, on memory."""
    with loads.zram(size) as device:
        subprocess.run(["mkswap", "-q", device], check=True)
        subprocess.run(["swapon", device], check=True)
        try:
            yield
        finally:
            subprocess.run(["swapoff", device], check=True)


def main(source: str) -> int:
    """Play all."""
    protect()
    make_cgroups()
    told: dict[str, dict[str, Any]] = {"played": {"source": source}}

    def tell(name: str, outcome: dict[str, Any]) -> None:
        told[name] = outcome
        print(f"{name}:", flush=True)
        for who, count in outcome.get("heard", {}).items():
            ahead = outcome["ahead_ms"].get(who)
            print(f"    {who:28} {count:5}" + (f"   {ahead} ms before the end" if ahead is not None else ""))
        if "ms" in outcome:
            print(f"    told {outcome['ms']} ms after the removal; the program ended with {outcome['code']}")
        sys.stdout.flush()

    out = Path(os.environ["PRESSUREFS_OUT"])
    parents_only = [one for one in EVERYWHERE if one[0] != "/jobs/box"]
    with serving(MOUNT, source, out / "trace.jsonl"), loads.big_file(BIG, 4 * LIMIT) as path:
        (CGROUPS / "jobs" / "box" / "memory.swap.max").write_text("0")
        # First: where the box was at its limit often the kernel takes of others, on 6.12 for minutes.
        tell("global reclaim", play_global(path))
        tell("stream at a limit", play(EVERYWHERE, box(loads.stream, path)))
        tell("thrash at a limit", play(EVERYWHERE, *thrashing(path), enough=hears_medium))
        tell("thrash, nobody in the box", play(parents_only, *thrashing(path)))
        tell(
            "thrash, a level not reached",
            play([("/jobs/box", "oom", "local"), *parents_only], box(loads.stream, path)),
        )
        tell("bomb without swap", play_bomb("0"))
        with zram_swap(4 * LIMIT):
            tell("bomb with swap", play_bomb("max"))
        tell("removal under load", play_removal(path))
        (out / "history").write_text((MOUNT / "vmpressure.debug" / "history").read_text())
    (out / "limits.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
