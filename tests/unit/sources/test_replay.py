# SPDX-License-Identifier: MIT
"""The replay source: samples of a recorded trace come at their own times."""

import errno
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.pressure.levels import Level
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.origin import Origin, Roots
from pressurefs.sources.replay import ReplaySource
from pressurefs.sources.selection import Selection
from pressurefs.sources.trace import Header, render_header, render_sample
from tests.support.verdicts import judge

SAMPLES = [
    Sample(0.0, "/", 512, 512),
    Sample(0.25, "/", 500, 100),
    Sample(0.25, "/", 12, 0),
    Sample(1.5, "/a", 600, 1, 6),
    Sample(4.0, "/", 0, 0, 0),
]
TIMES = st.lists(st.floats(0, 1e6), max_size=20).map(sorted)


def write_trace(path: Path, samples: list[Sample]) -> Path:
    header = render_header(Header("6.12.1", 4096, "vmstat"))
    path.write_text("".join(f"{line}\n" for line in [header, *map(render_sample, samples)]))
    return path


def play(source: ReplaySource, start: float) -> list[Sample]:
    """Read exactly when the source asks for it, until it ends."""
    source.start(start)
    seen: list[Sample] = []
    while (look := source.next_read()) is not None:
        seen += source.read(look)
    return seen


@given(times=TIMES, start=st.floats(0, 1e9), speed=st.floats(1e-3, 1e6))
def test_samples_come_at_their_moment(times: list[float], start: float, speed: float) -> None:
    """A sample comes at start + t / speed, not earlier, and carries that time."""
    source = ReplaySource([Sample(time, "/", number, 0) for number, time in enumerate(times)], speed)
    source.start(start)
    for moment in sorted({start + time / speed for time in times}):
        assert source.next_read() == moment
        assert source.read(math.nextafter(moment, -math.inf)) == []
        due = source.read(moment)
        assert [one.time for one in due] == [moment] * len(due)
        assert [one.scanned for one in due] == [
            number for number, time in enumerate(times) if start + time / speed == moment
        ]
        assert due
    assert source.next_read() is None
    assert source.read(math.inf) == []


def test_late_look() -> None:
    """A late read returns all samples that were due, oldest first, each with its own time."""
    source = ReplaySource(SAMPLES)
    source.start(100.0)
    assert [one.time for one in source.read(101.5)] == [100.0, 100.25, 100.25, 101.5]
    assert source.next_read() == 104.0


def test_file_is_played_as_it_was_recorded(tmp_path: Path) -> None:
    """The samples of a file are played unchanged, except for their times."""
    path = write_trace(tmp_path / "trace", SAMPLES)
    source = ReplaySource.from_arguments(f"{path},speed=0.5")
    assert play(source, 10.0) == [one._replace(time=10.0 + one.time * 2) for one in SAMPLES]


def test_file_name_with_commas(tmp_path: Path) -> None:
    """Only the last ,speed= is an option: a file's name may contain commas."""
    path = write_trace(tmp_path / "a,b,speed=3", SAMPLES)
    assert len(play(ReplaySource.from_arguments(f"{path},speed=8"), 0.0)) == len(SAMPLES)


def test_trace_is_judged(tmp_path: Path) -> None:
    """A replay gives the verdicts of its samples: sums, indexes, and a separate window for a cgroup."""
    path = write_trace(tmp_path / "trace", SAMPLES)
    assert judge(play(ReplaySource.from_arguments(str(path)), 0.0)) == [
        Verdict(0.0, "/", 512, 512, None, 0, Level.LOW),
        Verdict(0.25, "/", 512, 100, None, 80, Level.MEDIUM),
        Verdict(1.5, "/a", 600, 1, 6, 100, Level.OOM),
        Verdict(4.0, "/", 512, 0, 0, 100, Level.OOM, injected=512),
    ]


def test_closed_source_has_nothing_to_come() -> None:
    """After close the source asks for no read and gives no sample."""
    source = ReplaySource(SAMPLES)
    source.start(0.0)
    source.close()
    assert (source.next_read(), source.read(math.inf)) == (None, [])


def test_selection_plays_a_file(tmp_path: Path) -> None:
    """``replay:FILE`` names this source, with or without a speed."""
    path = write_trace(tmp_path / "trace", SAMPLES)
    for arguments in (path, f"{path},speed=2.5"):
        source = Selection(f"replay:{arguments}", Origin(Roots(Path("/proc")))).source
        assert isinstance(source, ReplaySource)


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "-inf", "1e999", "", "fast", "1,speed=0"])
def test_bad_speed(tmp_path: Path, speed: str) -> None:
    """A speed that is not a positive finite number makes the source unavailable: EINVAL."""
    path = write_trace(tmp_path / "trace", SAMPLES)
    with pytest.raises(SourceUnavailable, match="positive number") as refused:
        ReplaySource.from_arguments(f"{path},speed={speed}")
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("name", "number"), [("missing", errno.ENOENT), ("", errno.EISDIR), ("trace/x", errno.ENOTDIR)]
)
def test_missing_file(tmp_path: Path, name: str, number: int) -> None:
    """A file that cannot be opened makes the source unavailable, with the errno and the path."""
    write_trace(tmp_path / "trace", SAMPLES)
    with pytest.raises(SourceUnavailable, match=str(tmp_path)) as refused:
        ReplaySource.from_arguments(str(tmp_path / name))
    assert refused.value.errno == number


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"no trace\n", "line 1"),
        (b"\xff\xfe", "decode"),
        (render_header(Header("6", 4096, "vmstat")).encode() + b"\n{}\n", "line 2"),
    ],
    ids=["empty", "words", "bytes", "second line"],
)
def test_no_trace(tmp_path: Path, content: bytes, told: str) -> None:
    """A file that is not a trace down to its last line makes the source unavailable, before it starts."""
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(SourceUnavailable, match=told) as refused:
        ReplaySource.from_arguments(str(path))
    assert refused.value.errno == errno.EINVAL
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("specification", ["", "psi", "replay", "auto:x", "vmstat:/proc", "VMSTAT"])
def test_unknown_source(specification: str) -> None:
    """A word that names no source, or arguments to a source without any, make it unavailable."""
    with pytest.raises(SourceUnavailable):
        Selection(specification, Origin(Roots(Path("/proc"))))
