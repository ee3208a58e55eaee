# SPDX-License-Identifier: MIT
"""The daemon itself holds out."""

import re
from pathlib import Path

from tests.support.mounted import Mounted, mounted


def locked_kib(mount: Mounted) -> int:
    """Return how much of the daemon's memory cannot be evicted."""
    status = Path(f"/proc/{mount.process.pid}/status").read_text()
    match = re.search(r"^VmLck:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1])


def test_memory_is_locked(mount: Mounted) -> None:
    """Root's daemon has all its memory locked, and locking does not fill what nobody touched."""
    assert locked_kib(mount) > mount.rss_kib() * 0.9
    assert mount.rss_kib() < 30 * 1024


def test_without_the_right_to_lock(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A daemon that may not lock its memory serves all the same."""
    with mounted(place, through=["setpriv", "--bounding-set", "-ipc_lock"]) as mount:
        mount.inject("low")
        assert mount.debug("history").count("low") == 1
