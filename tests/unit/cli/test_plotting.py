# SPDX-License-Identifier: MIT
"""A trace as a picture: the picture shows what the arithmetic computes, and the file is a PNG."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

import pressurefs
from pressurefs.cli.main import main
from pressurefs.cli.plot import bin_seconds, build_series, draw
from pressurefs.pressure.levels import MAINLINE, RFC, Level
from pressurefs.pressure.window import Sample
from pressurefs.sources.trace import Header, parse_trace, render_header, render_sample

TRACE = Path(pressurefs.__file__).parent / "share" / "traces" / "stream-then-thrash.jsonl"


@pytest.mark.parametrize(
    ("seconds", "width"),
    [(0.0, 0.01), (2.0, 0.01), (2.1, 0.02), (14.6, 0.1), (200.0, 1.0), (201.0, 2.0), (3600.0, 20.0)],
)
def test_bins_are_round(seconds: float, width: float) -> None:
    """The width of a bin is a round number, and there are at most two hundred bins."""
    assert bin_seconds(seconds) == pytest.approx(width)


def test_pages_a_second() -> None:
    """The pages of a bin are summed, and shown per second."""
    series = build_series([Sample(0.0, "/", 3, 1), Sample(0.004, "/", 4, 2), Sample(0.012, "/", 5, 5)], RFC)
    assert series.edges == pytest.approx([0.0, 0.01, 0.02])
    assert series.scanned == pytest.approx([700.0, 500.0])
    assert series.reclaimed == pytest.approx([300.0, 500.0])
    assert series.verdicts == []


def test_windows() -> None:
    """Each full window is a verdict, by the thresholds and the priority of the profile."""
    samples = [
        Sample(1.0, "/", 500, 200),
        Sample(2.0, "/", 12, 4),
        Sample(3.0, "/", 0, 0, 4),
        Sample(4.0, "/", 1, 1),
    ]
    told = [(one.time, one.index_percent, one.level) for one in build_series(samples, RFC).verdicts]
    assert told == [(2.0, 60, Level.MEDIUM), (3.0, 100, Level.OOM)]
    assert [one.time for one in build_series(samples, MAINLINE).verdicts] == [2.0]


def test_a_real_trace_is_drawn(tmp_path: Path) -> None:
    """No page of the recorded trace is lost, each level occurs, and the picture is a PNG of full size."""
    with TRACE.open() as lines:
        header, parsed = parse_trace(lines)
        samples = list(parsed)
    series = build_series(samples, RFC)
    width = series.edges[1]
    assert sum(series.scanned) * width == pytest.approx(sum(one.scanned for one in samples))
    assert sum(series.reclaimed) * width == pytest.approx(sum(one.reclaimed for one in samples))
    assert {one.level for one in series.verdicts} == set(Level)
    picture = tmp_path / "trace.png"
    draw(series, header, "a trace", RFC, str(picture))
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1320, 780)


def test_an_odd_name_is_drawn(tmp_path: Path) -> None:
    """Names that are not text, or would be read as formulas, are drawn; so is a trace of a single moment."""
    series = build_series([Sample(0.0, "/", 0, 0)], RFC)
    draw(series, Header("6.12", 4096, "replay"), "/\udcff$\\x$", RFC, str(tmp_path / "odd.png"))
    assert (tmp_path / "odd.png").stat().st_size > 0


@pytest.fixture
def two_cgroups(tmp_path: Path) -> str:
    """A trace of two cgroups, without samples of the machine."""
    header = Header("6.12", 4096, "replay")
    rows = [render_header(header), *(render_sample(Sample(1.0, name, 600, 6)) for name in ("/a", "/b"))]
    trace = tmp_path / "two.jsonl"
    trace.write_text("\n".join(rows))
    return str(trace)


def test_command(tmp_path: Path, two_cgroups: str) -> None:
    """The command draws the cgroup that it is given, or the only one in the trace."""
    for trace, *options in (
        [str(TRACE)],
        [str(TRACE), "--profile", "mainline"],
        [two_cgroups, "--cgroup", "/b"],
    ):
        picture = tmp_path / "picture.png"
        assert main(["plot", trace, "-o", str(picture), *options]) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
        picture.unlink()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "an empty file is no trace"),
        ("no trace", "line 1: Expecting value: line 1 column 1 (char 0)"),
        (render_header(Header("6.12", 4096, "vmstat")), "a trace without samples"),
    ],
)
def test_what_is_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, why: str) -> None:
    """The message for a file that is no trace, or is empty, says so."""
    trace = tmp_path / "trace"
    trace.write_text(content)
    assert main(["plot", str(trace), "-o", str(tmp_path / "picture.png")]) == 1
    assert capsys.readouterr().err == f"pressurefs: {trace}: {why}\n"


def test_what_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str], two_cgroups: str) -> None:
    """A wrong output path is named; so is a wrong cgroup, with the cgroups that the trace has."""
    nowhere = str(tmp_path / "nowhere" / "picture.png")
    for words, code, message in (
        ([str(TRACE), "-o", nowhere], 1, f"{nowhere}: No such file or directory"),
        ([nowhere, "-o", "picture.png"], 1, f"{nowhere}: No such file or directory"),
        ([two_cgroups, "-o", nowhere], 2, f"--cgroup /: {two_cgroups} has /a /b"),
        ([two_cgroups, "-o", nowhere, "--cgroup", "/c"], 2, f"--cgroup /c: {two_cgroups} has /a /b"),
    ):
        assert main(["plot", *words]) == code
        assert capsys.readouterr().err == f"pressurefs: {message}\n"


def test_without_matplotlib(tmp_path: Path) -> None:
    """If the extra is not installed, the message says what to install."""
    program = (
        "import sys; sys.modules['matplotlib'] = None; from pressurefs.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "plot", str(TRACE), "-o", str(tmp_path / "picture.png")],
        capture_output=True,
        text=True,
        check=False,
    )
    why = "pressurefs: plot: matplotlib is not installed (pip install matplotlib)\n"
    assert (done.returncode, done.stderr) == (1, why)
