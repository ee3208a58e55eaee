# SPDX-License-Identifier: MIT
"""Who wakes whom, and when: windows that fill, or bare writes, and this process as the application.

The application blocks in read(2) on the eventfd that was registered last and so is signalled last.  When it
is awake every other eventfd must have been signalled, or there is no figure.
"""

import contextlib
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks import processes
from benchmarks.programs import FOLDER, Bare
from benchmarks.replaying import STAMP
from benchmarks.serving import register, serving
from pressurefs.pressure.window import Sample
from pressurefs.sources.trace import Header, render_header, render_sample

WINDOW_PAGES = 512

_GOLDEN = 0.618034


class Wakes(NamedTuple):
    """Seconds until the application was awake, one of each for each window."""

    from_due: list[float]
    from_given: list[float]

    def add(self, more: "Wakes") -> None:
        """Put those of another turn with these."""
        self.from_due.extend(more.from_due)
        self.from_given.extend(more.from_given)


def pauses(count: int, mean_seconds: float) -> list[float]:
    """Return times between events, from half to one and a half of the mean: they meet nobody's rhythm."""
    return [mean_seconds * (0.5 + index * _GOLDEN % 1) for index in range(count)]


def replayed(
    work: Path,
    eventfds: int,
    between: Sequence[float],
    *,
    processor: int,
    beside: Callable[[Path], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Wakes:
    """Fill windows by a replay on ``processor``; ``beside`` is entered, with the control file, meanwhile."""
    place, stamps = work / "replaying", work / "stamps"
    stamps.write_bytes(bytes(STAMP.size * len(between)))
    with _pipe() as (go_read, go_write), _events(eventfds) as events, contextlib.ExitStack() as entered:
        program = [sys.executable, str(FOLDER / "replaying.py"), str(go_read), str(stamps)]
        source = f"replay:{_write_trace(work / 'trace.jsonl', between)}"
        command = [*program, "mount", "--source", source, "--ready-fd"]
        with processes.on(processor):
            entered.enter_context(serving(command, place, pass_fds=[go_read]))
        register(place / "vmpressure", events)
        entered.enter_context(beside(place / "vmpressure"))
        os.write(go_write, b"\n")
        awake = _await_events(events, len(between))
        return _subtract(awake, stamps.read_bytes())


def written(work: Path, eventfds: int, between: Sequence[float], *, processor: int) -> Wakes:
    """Have a process on ``processor`` write(2) to each eventfd in place of a daemon."""
    stamps = mmap.mmap(-1, STAMP.size * len(between))
    with _events(eventfds) as events:
        bare = Bare(work, events)
        with contextlib.ExitStack() as entered:
            with processes.on(processor):
                entered.enter_context(processes.forked(_write, bare, between, stamps))
            awake = _await_events(events, len(between))
    return _subtract(awake, stamps[:])


def _write(bare: Bare, between: Sequence[float], stamps: mmap.mmap) -> None:
    due = time.monotonic()
    for index, pause in enumerate(between):
        due += pause
        time.sleep(max(0.0, due - time.monotonic()))
        STAMP.pack_into(stamps, index * STAMP.size, due, time.monotonic())
        bare.write_all()


def _await_events(events: Sequence[int], count: int) -> list[float]:
    """Wait for so many events on the last eventfd; return when this process was awake after each."""
    awake: list[float] = []
    *others, last = events
    signalled = [0] * len(others)
    while len(awake) < count:
        merged = os.eventfd_read(last)
        awake += [time.monotonic()] * merged
        for at, other in enumerate(others):
            # The next window may be on its way already.
            with contextlib.suppress(BlockingIOError):
                signalled[at] += os.eventfd_read(other)
        if min(signalled, default=len(awake)) < len(awake):
            raise SystemExit("scripts/bench: the last eventfd was signalled before another")
    return awake


def _subtract(awake: Sequence[float], stamps: bytes) -> Wakes:
    moments = list(STAMP.iter_unpack(stamps))
    if len(moments) != len(awake) or not all(given for _, given in moments):
        raise SystemExit("scripts/bench: events without windows")
    from_due = [seen - due for seen, (due, _) in zip(awake, moments, strict=True)]
    from_given = [seen - given for seen, (_, given) in zip(awake, moments, strict=True)]
    return Wakes(from_due, from_given)


def _write_trace(path: Path, between: Sequence[float]) -> Path:
    """Write a trace that fills a window after each pause."""
    lines = [render_header(Header(kernel="none", page_size=4096, source="bench"))]
    at = 0.0
    for pause in between:
        at += pause
        lines.append(render_sample(Sample(at, "/", WINDOW_PAGES, WINDOW_PAGES)))
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@contextlib.contextmanager
def _events(count: int) -> Iterator[list[int]]:
    """Make eventfds; only the last one blocks."""
    events = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(count - 1)]
    events.append(os.eventfd(0, os.EFD_CLOEXEC))
    try:
        yield events
    finally:
        for event in events:
            os.close(event)
