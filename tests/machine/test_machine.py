"""The real thing: a small Linux comes under pressure, and a shell's eventfd hears of it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.lanes import leave_out

ROOT = Path(__file__).parents[2]
NO_MACHINE = 125


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a 512 MB machine with the vmstat source has left behind: see guest.py."""
    out = tmp_path_factory.mktemp("machine")
    command = [str(ROOT / "scripts" / "machine"), "--seconds", "400", "--out", str(out), "--"]
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


def test_ordinary_user(out: Path) -> None:
    """An ordinary user's daemon does under Yama and without io_uring what inside.py claims."""
    assert json.loads((out / "ordinary.json").read_text()) == 0
