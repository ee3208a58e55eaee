# SPDX-License-Identifier: MIT
"""The recorder: a replay plays the samples that the source gave."""

import fcntl
import io
import itertools
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.events.listeners import Place
from pressurefs.pressure.levels import PROFILES, Level
from pressurefs.pressure.window import Sample, Verdict, Window
from pressurefs.sources import Source
from pressurefs.sources.recorder import TraceWriter, record
from pressurefs.sources.replay import ReplaySource
from pressurefs.sources.trace import parse_trace
from tests.support.sources import Chosen
from tests.unit.pressure.test_window import SAMPLES as ANY_SAMPLES

MOMENTS = [0.0, 0.0, 0.002, 0.004]
SAMPLES = [Sample(moment, "/a", number, 1, number) for number, moment in enumerate(MOMENTS)]


class LookedAt:
    """A source without samples that asks to be read in an hour, and records when it is read."""

    name = "looked at"
    limits = "none"
    alarm_fd: int | None = None
    hears_cgroup_v1 = False

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.closed = False

    def start(self, now: float) -> None:
        """Record this as a read."""
        self.looks.append(now)

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Ignore the cgroups."""

    def read(self, now: float) -> Sequence[Sample]:
        """Record the time; return nothing."""
        self.looks.append(now)
        return []

    def next_read(self) -> float | None:
        """Ask for the next read in an hour."""
        return self.looks[-1] + 3600.0

    def close(self) -> None:
        """Record that the source was closed."""
        self.closed = True


class Rung(LookedAt):
    """A source that waits only for its alarm, which rings; the second read is the last."""

    def __init__(self) -> None:
        super().__init__()
        self._fd = self.alarm_fd = os.eventfd(1)

    def next_read(self) -> float | None:
        """Ask first for no read without the alarm, then for none at all."""
        return math.inf if len(self.looks) < 3 else None

    def close(self) -> None:
        """Close the alarm."""
        super().close()
        os.close(self._fd)


class Ended(LookedAt):
    """A source that asks for no further read."""

    def next_read(self) -> None:
        """Ask for no further read."""


def record_source(
    source: Source, file: io.StringIO, seconds: float | None, windows: Sequence[Verdict] = ()
) -> None:
    """Record a source, and windows that came filled."""
    record(Chosen(source), lambda: windows, file, seconds)


def just_now(windows: Iterable[Verdict]) -> list[Verdict]:
    """Return windows that are judged at this moment."""
    return [window._replace(time=time.monotonic()) for window in windows]


def test_record_waits_for_an_alarm() -> None:
    """A source that asks for no read before its alarm is read when the alarm rings, however late."""
    source = Rung()
    record_source(source, io.StringIO(), None)
    assert len(source.looks) == 3
    assert source.closed


def test_record_of_a_replay_is_the_trace() -> None:
    """Until its source ends the recorder writes all samples, with the times since the start."""
    file = io.StringIO()
    record_source(ReplaySource(SAMPLES), file, None)
    header, samples = parse_trace(file.getvalue().splitlines())
    assert header.source == "replay"
    recorded = list(samples)
    assert [one._replace(time=0.0) for one in recorded] == [one._replace(time=0.0) for one in SAMPLES]
    assert [one.time for one in recorded] == pytest.approx(MOMENTS, abs=2e-6)


@given(st.lists(ANY_SAMPLES, max_size=30), st.sampled_from(sorted(PROFILES)))
def test_record_of_windows_gives_the_same_windows(samples: list[Sample], profile: str) -> None:
    """Windows that came filled, some by priority, are judged the same when they are replayed."""
    window, thresholds = Window(), PROFILES[profile]
    judged = [verdict for one in samples if (verdict := window.add(one, thresholds))]
    file = io.StringIO()
    record_source(Ended(), file, None, just_now(judged))
    _, played = parse_trace(file.getvalue().splitlines())
    again = [Window().add(one._replace(time=0.0), thresholds) for one in played]
    assert again == [verdict._replace(time=0.0) for verdict in judged]


def test_time_never_goes_backwards() -> None:
    """Windows that come in another order than they were filled in still make a valid trace."""
    window = Verdict(0.0, "/", 512, 512, None, 0, Level.LOW)
    file = io.StringIO()
    now = time.monotonic()
    windows = [window._replace(time=now - 0.001 * at) for at in range(3)]
    record_source(Ended(), file, None, windows)
    assert len(list(parse_trace(file.getvalue().splitlines())[1])) == 3


def test_record_ends_in_time() -> None:
    """A source that asks for a longer sleep does not prolong the record beyond its seconds."""
    source = LookedAt()
    began = time.monotonic()
    record_source(source, io.StringIO(), 0.01)
    assert 0.01 <= time.monotonic() - began < 60.0
    assert source.closed


def test_record_looks_once_more_at_the_end() -> None:
    """The record contains the events of the last sleep: the last read is not before the end."""
    source = LookedAt()
    record_source(source, io.StringIO(), 0.01)
    assert source.looks[-1] - source.looks[0] >= 0.01


@pytest.mark.parametrize("seconds", [None, math.inf, 5.0])
def test_interrupted_record_is_whole(seconds: float | None) -> None:
    """An interrupt ends the record, closes the source, and leaves a valid trace."""

    class Interrupted(LookedAt):
        def read(self, now: float) -> list[Sample]:
            if len(self.looks) == 2:
                raise KeyboardInterrupt
            super().read(now)
            return [Sample(now, "/", 1, 1)]

        def next_read(self) -> float:
            return self.looks[-1]

    source, file = Interrupted(), io.StringIO()
    record_source(source, file, seconds)
    assert len(list(parse_trace(file.getvalue().splitlines())[1])) == 1
    assert source.closed


def test_writer_whom_nobody_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that nobody reads delays nobody: the trace ends early, and is complete up to there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    filler = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
    other = os.open(pipe, os.O_WRONLY)
    os.write(other, b"x" * filler)
    writer = TraceWriter(pipe, LookedAt())
    writer.start(0.0)
    for _ in range(20_000):
        writer.put(SAMPLES[:1])
    assert "it is written slower than it grows: the trace ends here" in caplog.text
    os.set_blocking(reader, True)
    with os.fdopen(reader) as lines:
        assert lines.read(filler) == "x" * filler
        _, samples = parse_trace(lines)
        assert list(itertools.islice(samples, 10_000)) == SAMPLES[:1] * 10_000
    os.close(other)
    writer.close()


def test_writer_ends_whole(tmp_path: Path) -> None:
    """What was put in before the end is written at the end."""
    path = tmp_path / "trace"
    writer = TraceWriter(path, LookedAt())
    writer.start(0.0)
    for _ in range(100):
        writer.put(SAMPLES[:1])
    writer.close()
    with path.open() as lines:
        assert len(list(parse_trace(lines)[1])) == 100
