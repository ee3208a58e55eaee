# SPDX-License-Identifier: MIT
"""The thread that reads the live source and feeds the dispatcher.

The source says when the next reading is worth its cost, and its alarm can say so earlier.  How much a reading
costs, neither knows: that depends on how many cgroups reach their limits, and any user can have a thousand.
So the thread rests at least as long as it was at work.

Threads: ``run`` has one of its own; ``awaken`` and ``stop`` are called by any.
"""

from __future__ import annotations

import logging
import math
import os
import select
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pressurefs.events.dispatcher import Dispatcher
    from pressurefs.sources import Source
    from pressurefs.sources.recorder import TraceWriter
    from pressurefs.sources.selection import Selection

_log = logging.getLogger("pressurefs.source")

# For each second at work so many of rest, whatever wakes it: with 1, readings take half of one core at most.
# Only the thread's own time is work: under pressure it waits for a processor, and should not wait twice.
REST_PER_WORK = 1.0


class SourceThread:
    """Reads one source after another.  Lives as long as the mount."""

    def __init__(
        self,
        selection: Selection,
        trace: TraceWriter | None,
        on_replaced: Callable[[Source], None] = lambda _: None,
    ) -> None:
        """``trace`` records what is sampled, and the windows that came filled.

        ``on_replaced`` is called with the source that takes the place of one that has died.
        """
        self._selection = selection
        self._trace = trace
        self._on_replaced = on_replaced
        self._stopping = threading.Event()
        # Opened early: select(2), which alone waits to the microsecond, takes low descriptors only.
        self._awaken_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self, dispatcher: Dispatcher) -> None:
        """Read until stopped, and close the source; SourceUnavailable where the last source has died."""
        source, trace = self._selection.source, self._trace
        started = time.monotonic()
        source.start(started)
        if trace is not None:
            trace.start(started)
        sampled: object = None
        while not self._stopping.is_set():
            began = time.thread_time()
            wanted = dispatcher.sampled()
            if wanted is not sampled:
                source.sample_cgroups(wanted)
                sampled = wanted
            dispatcher.warm()
            try:
                samples = source.read(time.monotonic())
            except OSError as error:
                source = self._selection.replace(error)
                self._on_replaced(source)
                source.start(time.monotonic())
                sampled = None
                continue
            if samples:
                dispatcher.feed(samples)
            windows = dispatcher.take_windows()
            if trace is not None and (samples or windows):
                trace.put([*samples, *windows])
            due = source.next_read()
            if due is None:
                _log.info("source %s: nothing more to come", source.name)
            sweep_at = dispatcher.next_sweep()
            if sweep_at < math.inf:
                due = sweep_at if due is None else min(due, sweep_at)
            self._rest(source, due, (time.thread_time() - began) * REST_PER_WORK)
        source.close()

    def awaken(self) -> None:
        """Have the next reading come soon: what is to be sampled has changed."""
        os.eventfd_write(self._awaken_fd, 1)

    def stop(self) -> None:
        """Have no more readings come."""
        self._stopping.set()
        self.awaken()

    def _rest(self, source: Source, due: float | None, least_seconds: float) -> None:
        """Wait until ``due``, or until the source's alarm or another thread says that there is work."""
        now = time.monotonic()
        alarm_fd = source.alarm_fd
        awake = [self._awaken_fd] if alarm_fd is None else [self._awaken_fd, alarm_fd]
        seconds = None if due is None or due == math.inf else max(due - now, least_seconds)
        if self._awaken_fd in select.select(awake, [], [], seconds)[0]:
            os.eventfd_read(self._awaken_fd)
        left = now + least_seconds - time.monotonic()
        if left > 0:
            time.sleep(left)
