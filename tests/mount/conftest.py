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
    """One mount for all tests of a module that leave it as it was."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name, mounted(Path(name)) as mount:
        yield mount


@pytest.fixture(scope="session")
def listener() -> Iterator[Path]:
    """The compiled C program for cgroup v1's file, in a directory that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        program = Path(name) / "listener"
        warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
        subprocess.run(["gcc", "-std=gnu11", *warnings, str(LISTENER), "-o", str(program)], check=True)
        Path(name).chmod(0o755)
        yield program
