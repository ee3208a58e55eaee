# SPDX-License-Identifier: MIT
"""The daemon's own memory under pressure."""

from pathlib import Path

from tests.support.mounted import Mounted, mounted


def test_memory_is_locked(mount: Mounted) -> None:
    """Root's daemon has all its memory locked, and locking does not fault in pages that it never touched."""
    assert mount.locked_kib() > mount.rss_kib() * 0.9
    assert mount.rss_kib() < 30 * 1024


def test_without_the_right_to_lock(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A daemon that is not allowed to lock its memory serves without it."""
    with mounted(place, through=["setpriv", "--bounding-set", "-ipc_lock"]) as mount:
        mount.inject("low")
        assert mount.debug("history").count("low") == 1
