# SPDX-License-Identifier: MIT
"""Cgroups at memory.max, on two kernels that have not the same: who hears of it, and who does not.

Linux 6.12 is Debian's, without cgroup v1's memory controller; 6.1 still has it.  The machine has plenty of
memory, so what is heard is the limits' doing.
"""

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.machine.test_machine import NO_MACHINE, ROOT, judge, read_trace
from tests.support.lanes import leave_out

Outcome = dict[str, Any]

# What takes the place of vmpressure() on a kernel that has lost it: played where it has not.
TRACEPOINTS = "6.12 kernel:windows=tracepoints"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Play limits.py on a kernel by a source, once; return the directory of what it has left."""

    @functools.cache
    def play(where: str) -> Path:
        kernel, source = where.split()
        out = tmp_path_factory.mktemp("limits")
        listener = out / "listener"
        subprocess.run(["cc", "-o", listener, ROOT / "tests" / "clients" / "listener.c"], check=True)
        command = [str(ROOT / "scripts" / "machine"), "--kernel", kernel, "--memory", "1G"]
        options = ["--seconds", "900", "--out", str(out), "--", "env", f"PRESSUREFS_LISTENER={listener}"]
        command += [*options, ".venv/bin/python", "-m", "tests.machine.limits", source]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        # The transcript belongs to the evidence: pytest shows it with -s, and when a test fails.
        print(f"Linux {kernel}, source {source}\n{done.stdout}")
        if done.returncode == NO_MACHINE:
            leave_out("machine", done.stderr.strip())
        assert done.returncode == 0, done.stderr
        return out

    return play


@pytest.fixture(
    scope="module",
    params=[
        *(f"{kernel} {source}" for kernel in ("6.12", "6.1") for source in ("vmstat", "kernel")),
        TRACEPOINTS,
    ],
)
def outcomes(request: pytest.FixtureRequest, played: Callable[[str], Path]) -> dict[str, Outcome]:
    """What limits.py tells of each scenario, on one kernel by one source."""
    out = played(request.param)
    told: dict[str, Outcome] = json.loads((out / "limits.json").read_text())
    return told


def heard(outcome: Outcome, cgroup: str, wish: str) -> int:
    """Return how often a listener was signalled."""
    count: int = outcome["heard"][f"{cgroup} {wish}"]
    return count


def sees_all(outcomes: dict[str, Outcome]) -> bool:
    """Tell whether the source misses no window and no sign of priority, as one that samples limits does."""
    return bool(outcomes["played"]["source"] == "kernel")


AT_A_LIMIT = (
    "stream at a limit",
    "thrash at a limit",
    "thrash, nobody in the box",
    "thrash, a level not reached",
    "bomb without swap",
    "bomb with swap",
)


@pytest.mark.parametrize("name", AT_A_LIMIT)
def test_only_the_cgroup_and_its_ancestors(outcomes: dict[str, Outcome], name: str) -> None:
    """A cgroup beside the one at its limit hears nothing, nor does a local listener above it."""
    outcome = outcomes[name]
    for level in ("low", "medium", "oom"):
        assert heard(outcome, "/jobs/beside", f"{level},local") == 0
    for cgroup in ("/jobs", "/"):
        assert heard(outcome, cgroup, "low,local") == 0


@pytest.mark.parametrize("name", AT_A_LIMIT)
def test_hierarchy_hears_all(outcomes: dict[str, Outcome], name: str) -> None:
    """A hierarchy listener hears of a descendant's limit, as often at the top as below it."""
    outcome = outcomes[name]
    assert heard(outcome, "/", "low,hierarchy") == heard(outcome, "/jobs", "low,hierarchy") > 0
    if "/jobs/box low,local" in outcome["heard"]:
        assert heard(outcome, "/jobs", "low,hierarchy") == heard(outcome, "/jobs/box", "low,local")


@pytest.mark.parametrize("name", ["stream at a limit", "thrash at a limit", "bomb without swap"])
def test_default_stops_at_who_was_signalled(outcomes: dict[str, Outcome], name: str) -> None:
    """Where the cgroup itself has a listener that hears, a default listener above it hears nothing."""
    assert heard(outcomes[name], "/jobs", "low,default") == 0
    assert heard(outcomes[name], "/", "low,default") == 0


@pytest.mark.parametrize("name", ["thrash, nobody in the box", "thrash, a level not reached"])
def test_default_hears_where_nobody_below_did(outcomes: dict[str, Outcome], name: str) -> None:
    """Nobody listens in the cgroup, or to a higher level: then its parent hears all, and the top nothing."""
    outcome = outcomes[name]
    assert heard(outcome, "/jobs", "low,default") == heard(outcome, "/jobs", "low,hierarchy") > 0
    assert heard(outcome, "/", "low,default") == 0
    assert outcome["heard"].get("/jobs/box oom,local", 0) == 0


def test_streaming_read(outcomes: dict[str, Outcome]) -> None:
    """Reading a file larger than the limit is low, and never medium."""
    outcome = outcomes["stream at a limit"]
    assert heard(outcome, "/jobs/box", "low,local") > 0
    assert heard(outcome, "/jobs/box", "medium,local") == 0


def test_thrash(outcomes: dict[str, Outcome]) -> None:
    """Thrashing within the limit reaches medium, and oom where each window is seen."""
    outcome = outcomes["thrash at a limit"]
    assert heard(outcome, "/jobs/box", "medium,local") > 0
    assert heard(outcome, "/jobs/box", "oom,local") > 0 or not sees_all(outcomes)


@pytest.mark.parametrize("name", ["bomb without swap", "bomb with swap"])
def test_out_of_memory(outcomes: dict[str, Outcome], name: str) -> None:
    """Filling the cgroup reaches oom; with swap, or by the priority, before its OOM killer comes."""
    outcome = outcomes[name]
    assert heard(outcome, "/jobs/box", "oom,local") > 0
    if name == "bomb with swap" or sees_all(outcomes):
        assert outcome["ahead_ms"]["/jobs/box oom,local"] > 0


def test_global_reclaim(outcomes: dict[str, Outcome]) -> None:
    """The machine's own reclaim is the top directory's, although it takes pages of the cgroups."""
    outcome = outcomes["global reclaim"]
    assert heard(outcome, "/", "low,local") > 0
    assert outcome["scanned_in_the_box"] > 0
    cgroups = [count for name, count in outcome["heard"].items() if name.startswith("/jobs")]
    assert cgroups
    assert not any(cgroups)


def test_removal_under_load(outcomes: dict[str, Outcome]) -> None:
    """A program of cgroup v1 runs unchanged: it hears real pressure, and ends when its cgroup is removed."""
    outcome = outcomes["removal under load"]
    assert outcome["said"][0] == "listening\n"
    assert outcome["said"][1].startswith("low +")
    assert outcome["said"][-1].splitlines()[-1] == "removed"
    assert outcome["code"] == 0
    assert (outcome["signals"], outcome["more"]) == (1, None)


@pytest.mark.parametrize("kernel", ["6.12", "6.1"])
def test_trace_gives_the_same_windows(played: Callable[[str], Path], kernel: str) -> None:
    """What the kernel source has judged, by priority too, is what the arithmetic makes of its trace."""
    out = played(f"{kernel} kernel")
    recorded = [window for sample in read_trace(out / "trace.jsonl") for window in judge([sample])]
    judged = [line.split()[1:] for line in (out / "history").read_text().splitlines()[1:]]
    assert {window[3] for window in judged} > {"-"}, "no priority was seen"
    # History has the last of them, but for what came after it was read.
    ends = range(len(recorded), len(judged) - 1, -1)
    assert any(recorded[end - len(judged) : end] == judged for end in ends)
