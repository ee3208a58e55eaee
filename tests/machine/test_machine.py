# SPDX-License-Identifier: MIT
"""The real thing: a small Linux comes under pressure, and a shell's eventfd hears of it."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.lanes import leave_out
from tests.support.mounted import mounted
from tests.support.puppet import Puppet

ROOT = Path(__file__).parents[2]
NO_MACHINE = 125
LOADS = ("stream", "thrash", "bomb")
LEVELS = ("low", "medium", "oom")
WINDOW = 512
REGISTERING_SECONDS = 5  # a replay begins with the mount, so its first sample comes so much later


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a 512 MB machine with the vmstat source has left behind: see guest.py."""
    out = tmp_path_factory.mktemp("machine")
    command = [str(ROOT / "scripts" / "machine"), "--seconds", "900", "--out", str(out), "--"]
    play = [".venv/bin/python", "-m", "tests.machine.guest", "listen", "ordinary"]
    done = subprocess.run([*command, *play], cwd=ROOT, capture_output=True, text=True, check=False)
    # The transcript belongs to the evidence: pytest shows it with -s, and when a test fails.
    print(done.stdout)
    if done.returncode == NO_MACHINE:
        leave_out("machine", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def events(out: Path) -> dict[str, dict[str, int]]:
    """What listeners at all levels heard under each load."""
    told: dict[str, dict[str, int]] = json.loads((out / "events.json").read_text())
    return told


def test_streaming_read(events: dict[str, dict[str, int]]) -> None:
    """Reading a file larger than memory is low, again and again, and never medium."""
    assert events["stream"]["low"] > 0
    assert (events["stream"]["medium"], events["stream"]["oom"]) == (0, 0)


def test_thrash(events: dict[str, dict[str, int]]) -> None:
    """Thrashing reaches medium or oom."""
    assert events["thrash"]["medium"] > 0


def test_each_window_is_one_signal(events: dict[str, dict[str, int]]) -> None:
    """Under pressure as at rest, what was signalled is what was judged: nothing lost, nothing doubled."""
    windows = events["windows"]
    heard = {level: events["stream"][level] + events["thrash"][level] for level in windows}
    assert heard["oom"] == windows["oom"]
    assert heard["medium"] == windows["medium"] + windows["oom"]
    assert heard["low"] == sum(windows.values())


def test_out_of_memory_without_swap(events: dict[str, dict[str, int]]) -> None:
    """An anonymous bomb reaches oom, by the second sign, before the OOM killer ends it."""
    assert events["bomb"]["oom"] > 0


def test_trace_is_what_the_kernel_counted(out: Path) -> None:
    """The trace that the mount recorded lacks nothing that a watcher beside it saw in the counters."""
    recorded = read_trace(out / "trace.jsonl")
    rows = [row.split() for name in LOADS for row in (out / f"{name}.series").read_text().splitlines()]
    assert rows
    assert sum(one["scanned"] for one in recorded) >= sum(int(scanned) for _, scanned, _ in rows) > 0
    assert sum(one["reclaimed"] for one in recorded) >= sum(int(reclaimed) for *_, reclaimed in rows) > 0


def test_live_history_is_the_arithmetic(out: Path) -> None:
    """What the live mount judged is what the contract's arithmetic makes of its own record."""
    live = json.loads((out / "history.json").read_text())
    # What came between the last look at the history and the unmount is in the trace alone.
    assert live == judge(read_trace(out / "trace.jsonl"))[: len(live)]
    assert {window[-1] for window in live} == {"low", "medium", "oom"}


@pytest.mark.parametrize("speed", [20, 1000])
def test_replay_is_the_live_run(out: Path, events: dict[str, dict[str, int]], fuse: None, speed: int) -> None:  # noqa: ARG001
    """Replayed on another machine, at any speed, the trace gives the same windows and the same signals."""
    live = json.loads((out / "history.json").read_text())
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        trace = Path(name, "trace")
        trace.write_text(begin_later((out / "trace.jsonl").read_text(), REGISTERING_SECONDS * speed))
        with Puppet() as puppet, mounted(Path(name), "--source", f"replay:{trace},speed={speed}") as mount:
            puppet.do("events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]")
            for at, level in enumerate(LEVELS):
                puppet.do(f"write({mount.vmpressure!r}, f'{{events[{at}]}} {level}')")
            assert mount.debug("history").count("\n") == 1, "the replay began before all had registered"
            mount.await_said("nothing more to come")
            replayed = [line.split()[1:] for line in mount.debug("history").splitlines()[1:]]
            heard = dict(zip(LEVELS, puppet.do("list(map(drain, events))"), strict=True))
    assert replayed[: len(live)] == live
    assert replayed == judge(read_trace(out / "trace.jsonl"))
    assert heard == signals(replayed)
    assert events["ever"] == signals(live)


def read_trace(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a trace, read by this file's own means."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def judge(samples: list[dict[str, Any]]) -> list[list[str]]:
    """Return the history that the contract's arithmetic makes of a trace: the profile rfc, written anew."""
    windows, scanned, reclaimed = [], 0, 0
    for sample in samples:
        priority = sample["priority"]
        scanned += sample["scanned"] + (WINDOW if priority is not None and priority <= 4 else 0)
        reclaimed += sample["reclaimed"]
        if scanned < WINDOW:
            continue
        index = 0 if reclaimed >= scanned else (WINDOW - reclaimed * WINDOW // scanned) * 100 // WINDOW
        level = "oom" if index >= 99 else "medium" if index >= 60 else "low"
        shown = (scanned, reclaimed, "-" if priority is None else priority, index, level)
        windows.append([sample["cgroup"], *map(str, shown)])
        scanned = reclaimed = 0
    return windows


def signals(windows: list[list[str]]) -> dict[str, int]:
    """Return how often each level's eventfd is signalled: by its own windows and by worse ones."""
    at = [LEVELS.index(window[-1]) for window in windows]
    return {level: sum(one >= number for one in at) for number, level in enumerate(LEVELS)}


def begin_later(trace: str, seconds: float) -> str:
    """Return a trace whose samples come so much later."""
    header, *lines = trace.splitlines()
    later = ({**sample, "t": sample["t"] + seconds} for sample in map(json.loads, lines))
    return "\n".join([header, *map(json.dumps, later)]) + "\n"


def test_ordinary_user(out: Path) -> None:
    """An ordinary user's daemon does under Yama and without io_uring what inside.py claims."""
    assert json.loads((out / "ordinary.json").read_text()) == 0
