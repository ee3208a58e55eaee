"""Looks at the source, and hands what it saw to the exchange.

The source says when the next look is worth its cost, and its alarm may say so earlier.  How dear a look is,
neither knows: that depends on how many cgroups reach their limits, and anybody may have a thousand.  So the
pump rests at least as long as it was at work.

Threads: ``run`` has one of its own; ``awaken`` and ``stop`` are anybody's.
"""

import logging
import math
import os
import select
import threading
import time

from pressurefs.events.dispatcher import Exchange
from pressurefs.sources import Source
from pressurefs.sources.recorder import TraceWriter

_log = logging.getLogger("pressurefs.sources.thread")

# For each second at work so many of rest, whoever rings: with 1, looks take half of one core at most.  Only
# the thread's own time is work: under pressure it waits for a processor, and should not wait twice.
REST_PER_WORK = 1.0


class Pump:
    """Drives one source.  Lives as long as the mount."""

    def __init__(self, source: Source, trace: TraceWriter | None) -> None:
        """``trace`` writes down what was seen."""
        self._source = source
        self._trace = trace
        self._stopping = threading.Event()
        # Opened early: select(2), which alone waits to the microsecond, takes low descriptors only.
        self._awaken_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self, exchange: Exchange) -> None:
        """Look until stopped, and close the source."""
        source, trace = self._source, self._trace
        started = time.monotonic()
        source.start(started)
        if trace is not None:
            trace.start(started)
        sampled: object = None
        while not self._stopping.is_set():
            began = time.thread_time()
            wanted = exchange.sampled()
            if wanted is not sampled:
                source.sample_cgroups(wanted)
                sampled = wanted
            seen = source.read(time.monotonic())
            if seen:
                exchange.feed(seen)
                if trace is not None:
                    trace.put(seen)
            due = source.next_look()
            if due is None:
                _log.info("source %s: nothing more to come", source.name)
            self._rest(due, (time.thread_time() - began) * REST_PER_WORK)
        source.close()

    def awaken(self) -> None:
        """Have the next look come soon: what is to be sampled has changed."""
        os.eventfd_write(self._awaken_fd, 1)

    def stop(self) -> None:
        """Have no more looks come."""
        self._stopping.set()
        self.awaken()

    def _rest(self, due: float | None, least_seconds: float) -> None:
        """Wait until ``due``, or until the source's alarm or somebody else says that there is work."""
        now = time.monotonic()
        alarm_fd = self._source.alarm_fd
        awake = [self._awaken_fd] if alarm_fd is None else [self._awaken_fd, alarm_fd]
        seconds = None if due is None or math.isinf(due) else max(due - now, least_seconds)
        if self._awaken_fd in select.select(awake, [], [], seconds)[0]:
            os.eventfd_read(self._awaken_fd)
        left = now + least_seconds - time.monotonic()
        if left > 0:
            time.sleep(left)
