# SPDX-License-Identifier: MIT
"""2,000 cgroups and 200 listeners: what that costs, and that it costs only where somebody listens.

An emulated machine's figures mean something beside one another: see scale.py.
"""

import json
import subprocess

import pytest

from tests.machine.scale import NUMBER, REGISTRATIONS, SLICES
from tests.machine.test_machine import NO_MACHINE, ROOT
from tests.support.lanes import leave_out

FILES_A_CGROUP = 3


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What scale.py measures."""
    out = tmp_path_factory.mktemp("scale")
    # Steady: what the host does meanwhile is no part of the figures, and idle seconds pass at once.
    command = [str(ROOT / "scripts" / "machine"), "--steady", "--memory", "1G", "--seconds", "900"]
    command += ["--out", str(out)]
    play = [".venv/bin/python", "-m", "tests.machine.scale"]
    done = subprocess.run([*command, "--", *play], cwd=ROOT, capture_output=True, text=True, check=False)
    # The transcript belongs to the evidence: pytest shows it with -rP, and when a test fails.
    print(done.stdout)
    if done.returncode == NO_MACHINE:
        leave_out("machine", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads((out / "scale.json").read_text())
    return figures


def test_all_are_there(told: dict[str, float]) -> None:
    """Each of the cgroups, and the top, has its control file."""
    assert told["vmpressure files found"] == NUMBER + SLICES + 1


def test_only_what_is_listened_to_is_sampled(told: dict[str, float]) -> None:
    """The files of those cgroups are open that somebody listens to, of no others, and no others hear."""
    assert told["files open to sample"] == REGISTRATIONS * FILES_A_CGROUP
    assert told["events"] > 0
    assert told["signalled of the other 199"] == 0


def test_idle_is_idle(told: dict[str, float]) -> None:
    """Two hundred listeners take no more of an idle machine than nobody does, but for a half percent."""
    assert told["idle, 200 of 2,000 listened to, % of a core"] <= told["nobody registered"] + 0.5


def test_resident(told: dict[str, float]) -> None:
    """The daemon stays within the budget of a hundred registrations."""
    assert told["resident, MiB"] <= 30
