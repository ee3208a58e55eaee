# SPDX-License-Identifier: MIT
"""Records what a source samples: the other end of the replay source.

``record`` does nothing else, without a mount.  ``TraceWriter`` records what a mount judges, in a thread of
its own: a disk that is full or slow, or a pipe without a reader, delays no signal.
"""

import contextlib
import logging
import math
import os
import platform
import queue
import select
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from pressurefs.pressure.window import Sample, Verdict
from pressurefs.sources import Source
from pressurefs.sources.selection import Selection
from pressurefs.sources.trace import Header, render_header, render_sample

_log = logging.getLogger("pressurefs.sources.recorder")

_LOOKS_MAX = 10_000  # readings that wait to be written: 20 s of reclaim, some 4 MB
_FLUSH_SECONDS = 1.0


def record(
    selection: Selection,
    take_windows: Callable[[], Sequence[Verdict]],
    file: TextIO,
    seconds: float | None,
) -> None:
    """Write a trace until ``seconds`` have passed, the source has ended or the user interrupts.

    ``take_windows`` returns those that came filled since the last call.
    """
    source = selection.source
    print(_render_header(source), file=file, flush=True)
    started = time.monotonic()
    ends = None if seconds is None else started + seconds
    source.start(started)
    timeline = _Timeline(started)
    try:
        while True:
            now = time.monotonic()
            try:
                samples = source.read(now)
            except OSError as error:
                source = selection.replace(error)
                source.start(now)
                continue
            both: list[Sample | Verdict] = [*samples, *take_windows()]
            for seen in both:
                print(render_sample(timeline.put(seen)), file=file)
            due = source.next_read()
            if due is None or (ends is not None and now >= ends):
                break
            until = due if ends is None else min(due, ends)
            alarms = [] if source.alarm_fd is None else [source.alarm_fd]
            # A source that has an alarm may want no look without it.
            rest = None if math.isinf(until) else max(0.0, until - time.monotonic())
            select.select(alarms, [], [], rest)
    except KeyboardInterrupt:
        pass
    finally:
        source.close()


class TraceWriter:
    """A trace in the making.  Lives as long as the mount.

    It is complete up to some moment: the first line that cannot be written ends it, and is reported.
    """

    def __init__(self, path: Path, source: Source) -> None:
        """Open the file; OSError where that cannot be."""
        # A pipe without a reader is an error, not something to wait for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o666)
        os.set_blocking(self._fd, True)
        self._path = path
        self._header = _render_header(source)
        self._whole_bytes = 0
        self._started = 0.0
        self._is_over = False
        self._looks: queue.Queue[Iterable[Sample | Verdict] | None] = queue.Queue(_LOOKS_MAX)
        self._writer = threading.Thread(target=self._write, name="recorder", daemon=True)

    def start(self, now: float) -> None:
        """Begin: the trace's second 0 is ``now``, as the source's."""
        self._started = now
        self._writer.start()

    def put(self, seen: Iterable[Sample | Verdict]) -> None:
        """Queue what a source sampled; never blocks."""
        if self._is_over:
            return
        try:
            self._looks.put_nowait(seen)
        except queue.Full:
            self._end("it is written slower than it grows")

    def close(self) -> None:
        """Write what is left, unless that takes too long."""
        self._is_over = True
        with contextlib.suppress(queue.Full):
            self._looks.put_nowait(None)
        if self._writer.is_alive():
            self._writer.join(_FLUSH_SECONDS)

    def _end(self, why: str | None) -> None:
        self._is_over = True
        _log.warning("%s: %s: the trace ends here", self._path, why)

    def _write(self) -> None:
        try:
            timeline = _Timeline(self._started)
            self._write_lines([self._header])
            while (samples := self._looks.get()) is not None:
                self._write_lines(render_sample(timeline.put(one)) for one in samples)
        except OSError as error:
            self._end(error.strerror)
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._whole_bytes)
        os.close(self._fd)

    def _write_lines(self, lines: Iterable[str]) -> None:
        left = "".join(f"{line}\n" for line in lines).encode()
        size = len(left)
        while left:
            left = left[os.write(self._fd, left) :]
        self._whole_bytes += size


class _Timeline:
    """Samples as a trace has them: seconds since its start, which never go backwards.

    Of two processors that fill a window at the same moment the second can be reported first.
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._last = 0.0

    def put(self, seen: Sample | Verdict) -> Sample:
        """Return the sample to write; a window is the one that fills it again."""
        self._last = max(self._last, seen.time - self._started)
        # What the priority has added to a window, it adds again when it is played.
        scanned = seen.scanned - (seen.injected if isinstance(seen, Verdict) else 0)
        return Sample(self._last, seen.cgroup, scanned, seen.reclaimed, seen.priority)


def _render_header(source: Source) -> str:
    return render_header(Header(platform.release(), os.sysconf("SC_PAGE_SIZE"), source.name))
