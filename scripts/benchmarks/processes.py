# SPDX-License-Identifier: MIT
"""Processes: which processor they run on, what they may open, and what /proc says of them."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

_PROCESSORS = sorted(os.sched_getaffinity(0))
FIRST = _PROCESSORS[0]
SECOND = _PROCESSORS[1] if len(_PROCESSORS) > 1 else None


@contextlib.contextmanager
def on(processor: int) -> Iterator[None]:
    """Let this process, and what it starts meanwhile, run on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def forked(work: Callable[..., None], *arguments: object) -> Iterator[int]:
    """Have a child at work meanwhile; yield its pid."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    try:
        yield child.pid or 0
    finally:
        child.kill()
        child.join()


def allow_descriptors(count: int) -> None:
    """Raise the limit of descriptors for this process and what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, hard), max(count, hard)))
    except (OSError, ValueError):
        raise SystemExit(f"scripts/bench: it takes {count} descriptors, ulimit -Hn is {hard}") from None


def processor_seconds(pid: int) -> float:
    """Return the nanosecond clock of all threads: utime and stime count in steps of 10 ms."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in _tasks(pid)) / 1e9


def wakeups(pid: int) -> int:
    """Return how often threads gave the processor up by themselves: each is one wake-up later."""
    return sum(_status_number(task / "status", "voluntary_ctxt_switches") for task in _tasks(pid))


def resident_mib(pid: int) -> float:
    """Return the resident memory."""
    return _status_number(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def descriptors(pid: int) -> int:
    """Return how many descriptors are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _tasks(pid: int) -> Iterator[Path]:
    return Path(f"/proc/{pid}/task").iterdir()


def _status_number(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)
