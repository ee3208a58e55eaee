# SPDX-License-Identifier: MIT
"""What many eventfds cost, beside write(2) on each.

Twice.  In this process, where nothing but the signalling is measured: from a full window fed to the
dispatcher until all are signalled, and write(2) to the same eventfds, in turns.  Nobody waits for them.  Then
through a mount: from the sample that fills the window until an application is awake that waits for the last
one, and the same with a process that writes.
"""

import contextlib
import math
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import awakening, processes
from benchmarks.awakening import Wakes
from benchmarks.programs import Bare
from benchmarks.table import Row, judged, microseconds
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import EventPath
from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import RFC, Level, Mode
from pressurefs.pressure.window import Sample
from pressurefs.signaller.signaller import open_signaller
from pressurefs.signaller.writer import Caller

COUNTS = (1, 10, 100, 1000, 5000)
BUDGETS = {1000: 5.0}

TURNS = 2
REPEATS_A_ROUND = 10
WINDOWS_A_ROUND = 2
PAUSE_SECONDS = 0.01
PAUSE_SECONDS_EACH = 10e-6

_DESCRIPTORS_EACH = 2  # the eventfd and its ring, in this process
_DESCRIPTORS_SPARE = 512


def measure(work: Path, rounds: int) -> list[Row]:
    """Measure each count both ways."""
    processes.allow_descriptors(max(COUNTS) * _DESCRIPTORS_EACH + _DESCRIPTORS_SPARE)
    within = [in_process(work, count, rounds * REPEATS_A_ROUND) for count in COUNTS]
    return within + [through_mount(work, count, rounds * WINDOWS_A_ROUND) for count in COUNTS]


def in_process(work: Path, count: int, repeats: int) -> Row:
    """Feed a dispatcher whose listeners are our own eventfds."""
    bare_times, feed_times = [], []
    with _dispatcher(count) as (dispatcher, events):
        bare = Bare(work, events)
        full = [Sample(0.0, "/", awakening.WINDOW_PAGES, awakening.WINDOW_PAGES)]
        for _ in range(repeats):
            bare_times.append(bare.write_all())
            _require_signalled(events)
            began = time.perf_counter()
            dispatcher.feed(full)
            feed_times.append(time.perf_counter() - began)
            _require_signalled(events)
    fed, wrote = (statistics.median(times) for times in (feed_times, bare_times))
    return _compared(f"{count:,} signalled, in process", count, fed, wrote, microseconds(fed))


def through_mount(work: Path, count: int, windows: int) -> Row:
    """Have a replay fill windows at a mount."""
    between = awakening.pauses(math.ceil(windows / TURNS), PAUSE_SECONDS + count * PAUSE_SECONDS_EACH)
    replayed, written = Wakes([], []), Wakes([], [])
    for _ in range(TURNS):
        replayed.add(awakening.replayed(work, count, between, processor=processes.FIRST))
        written.add(awakening.written(work, count, between, processor=processes.FIRST))
    ours, bare = (statistics.median(wakes.from_given) for wakes in (replayed, written))
    what = f"{count:,} signalled, to the last awake"
    return _compared(what, count, ours, bare, microseconds(ours))


def _compared(what: str, count: int, ours: float, bare: float, measured: str) -> Row:
    ratio = ours / bare
    measured += f", write(2) {microseconds(bare)}: {ratio:.1f} x"
    return judged(what, measured, ratio, BUDGETS[count], "x") if count in BUDGETS else Row(what, measured)


@contextlib.contextmanager
def _dispatcher(count: int) -> Iterator[tuple[Dispatcher, list[int]]]:
    signaller, path = open_signaller(), EventPath(0)
    dispatcher = Dispatcher(RFC, path, signaller)
    events = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(count)]
    us = Caller(threading.get_native_id(), os.getuid(), os.getgid())
    for token, event in enumerate(events, start=1):
        wish = Level.LOW, Mode.LOCAL, us.uid, us.pid
        dispatcher.add(Listener(token, "/", *wish, signaller.keep(us, event, token)))
    try:
        yield dispatcher, events
    finally:
        dispatcher.end_all()
        path.close()
        signaller.give_up_spares()
        for event in events:
            os.close(event)


def _require_signalled(events: list[int]) -> None:
    """See that each was signalled once, and make them ready for the next time."""
    if any(os.eventfd_read(event) != 1 for event in events):
        raise SystemExit("scripts/bench: an eventfd was signalled more than once")
