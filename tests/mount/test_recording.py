# SPDX-License-Identifier: MIT
"""``mount --record``: what is judged is written down, and nobody waits for the writing."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from pressurefs import exitcodes
from pressurefs.pressure.window import Sample
from pressurefs.sources.trace import Header, parse_trace, render_header, render_sample
from tests.support.mounted import Mounted, is_mounted, mounted

SAMPLES = [Sample(at / 1000, "/", 100 + at % 500, at % 300, None if at % 7 else at % 13) for at in range(500)]


@pytest.fixture
def trace(place: Path) -> Path:
    """A trace of half a second, with all levels in it."""
    path = place / "trace"
    lines = [render_header(Header("6", 4096, "vmstat")), *map(render_sample, SAMPLES)]
    path.write_text("\n".join(lines) + "\n")
    return path


def history(mount: Mounted) -> list[list[str]]:
    """Return what was judged, without the moment."""
    return [line.split()[1:] for line in mount.debug("history").splitlines()[1:]]


def played(place: Path, trace: Path, *arguments: str, through: tuple[str, ...] = ()) -> list[list[str]]:
    """Play a trace through a mount, and return what was judged once all was."""
    source = f"replay:{trace}"
    with mounted(place, "--source", source, *arguments, through=through) as mount:
        mount.await_said("nothing more to come")
        return history(mount)


def pages(path: Path) -> list[Sample]:
    """Return the samples of a trace without their moments."""
    with path.open() as lines:
        return [one._replace(time=0.0) for one in parse_trace(lines)[1]]


def test_record_is_what_was_judged(fuse: None, place: Path, trace: Path) -> None:  # noqa: ARG001
    """The record has each sample that was judged, in order, and replays to the same history."""
    first = played(place, trace, "--record", str(place / "record"))
    assert {line[-1] for line in first} == {"low", "medium", "oom"}
    assert pages(place / "record") == pages(trace)
    assert played(place, place / "record") == first


def test_injected_is_not_recorded(fuse: None, place: Path, trace: Path) -> None:  # noqa: ARG001
    """What a person injects is judged, but no part of what the source saw."""
    record = place / "record"
    with mounted(place, "--source", f"replay:{trace}", "--record", str(record)) as mount:
        mount.await_said("nothing more to come")
        judged = len(history(mount))
        mount.inject("512 0")
        assert len(history(mount)) == judged + 1
    assert pages(record) == pages(trace)


def test_full_disk(fuse: None, place: Path, trace: Path) -> None:  # noqa: ARG001
    """A disk that is full ends the record after a whole line, with a word in the log; judging goes on."""
    through = ("prlimit", "--fsize=9999", "--")
    record = place / "record"
    assert played(place, trace, "--record", str(record), through=through) == played(place, trace)
    recorded = pages(record)
    assert 50 < len(recorded) < len(SAMPLES)
    assert recorded == pages(trace)[: len(recorded)]


def test_full_disk_is_told(fuse: None, place: Path, trace: Path) -> None:  # noqa: ARG001
    """What cannot be written at all is told, too."""
    source = f"replay:{trace}"
    with mounted(place, "--source", source, "--record", "/dev/full") as mount:
        mount.await_said("/dev/full: No space left on device: the trace ends here")


def test_pipe_that_nobody_reads(fuse: None, place: Path, trace: Path) -> None:  # noqa: ARG001
    """A pipe that is full holds up neither the judging nor the end."""
    pipe = place / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    assert played(place, trace, "--record", str(pipe)) == played(place, trace)
    os.close(reader)
    os.close(writer)


def test_pipe_without_a_reader(fuse: None, place: Path) -> None:  # noqa: ARG001
    """Such a pipe, or a directory, is refused before anything is mounted."""
    os.mkfifo(place / "pipe")
    (place / "mount").mkdir()
    for name, why in (("pipe", "No such device or address"), ("mount", "Is a directory")):
        command = ["pressurefs", "mount", "--record", str(place / name), str(place / "mount")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == exitcodes.UNEXPECTED
        assert done.stderr == f"pressurefs: --record {place / name}: {why}\n"
        assert not is_mounted(place / "mount")
