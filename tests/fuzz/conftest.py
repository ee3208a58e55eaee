# SPDX-License-Identifier: MIT
"""Fixtures of the fuzz lane."""

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import Mounted, mounted


@pytest.fixture
def seed() -> str:
    """Return what the records come from."""
    seed = os.environ.get("PRESSUREFS_FUZZ_SEED") or secrets.token_hex(4)
    print(f"PRESSUREFS_FUZZ_SEED={seed}")
    return seed


@pytest.fixture
def mount(fuse: None, place: Path) -> Iterator[Mounted]:  # noqa: ARG001
    """A mount that has no events of its own, on one processor with whoever writes.

    A write wakes the daemon and then the writer; where each wake-up crosses processors, a million of them
    take three times as long.
    """
    trace = place / "nothing.jsonl"
    header = {"format": "pressurefs-trace", "version": 1, "kernel": "", "page_size": 4096, "source": "replay"}
    trace.write_text(json.dumps(header) + "\n")
    processors = os.sched_getaffinity(0)
    # Each of pytest-xdist's workers has another: gw0, gw1, ...
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(processors)[worker % len(processors)]})
    try:
        with mounted(place, "--source", f"replay:{trace}") as one:
            yield one
    finally:
        os.sched_setaffinity(0, processors)


@pytest.fixture
def listener(mount: Mounted) -> Iterator[int]:
    """Somebody well-behaved, who was there before."""
    event_fd = os.eventfd(0, os.EFD_NONBLOCK)
    with open(mount.vmpressure, "w") as file:
        file.write(f"{event_fd} low")
    yield event_fd
    os.close(event_fd)
