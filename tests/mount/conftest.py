# SPDX-License-Identifier: MIT
"""Fixtures of the mount lane."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Mounted, mounted

LISTENER = Path(__file__).parents[1] / "clients" / "listener.c"


@pytest.fixture(scope="module")
def shared(fuse: None) -> Iterator[Mounted]:  # noqa: ARG001
    """One mount for a whole module, for tests that leave it as they found it."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name, mounted(Path(name)) as mount:
        yield mount


@pytest.fixture(scope="session")
def listener() -> Iterator[Path]:
    """A C program for cgroup v1's file, compiled, where every user may run it."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        program = Path(name) / "listener"
        warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
        subprocess.run(["gcc", "-std=gnu11", *warnings, str(LISTENER), "-o", str(program)], check=True)
        Path(name).chmod(0o755)
        yield program
