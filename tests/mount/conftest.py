"""Fixtures of the mount lane."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted import Mounted, mounted


@pytest.fixture(scope="module")
def shared(fuse: None) -> Iterator[Mounted]:  # noqa: ARG001
    """One mount for a whole module, for tests that leave it as they found it."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name, mounted(Path(name)) as mount:
        yield mount
