# SPDX-License-Identifier: MIT
"""``plot``: draw a trace as PNG: pages scanned and reclaimed, and the window of each verdict.

``build_series`` is pure and judges as the daemon does; ``draw`` is the only user of matplotlib, which is an
extra, `plot`.  No display is needed.  How a trace is written is in ``sources.trace``.  One thread.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pressurefs import exitcodes
from pressurefs.exitcodes import Exit, or_exit
from pressurefs.pressure.levels import PROFILES, Level

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from pressurefs.cli.arguments import Subparsers
    from pressurefs.pressure.levels import Thresholds
    from pressurefs.pressure.window import Sample, Verdict
    from pressurefs.sources.trace import Header

# As many columns as a reader can distinguish in a picture of this width.
_BINS_MAX = 200
_INCHES = (11, 6.5)
_DOTS_PER_INCH = 120

_SCANNED, _RECLAIMED = "#d9b48f", "#4878a8"
# Colour, shape, size.  The shapes differ, too: not every reader and not every printer distinguishes colours.
_MARKS = {
    Level.LOW: ("#4878a8", "o", 14),
    Level.MEDIUM: ("#e08a00", "^", 26),
    Level.OOM: ("#c01818", "X", 40),
}


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parser of plot."""
    parser = subparsers.add_parser("plot", help="draw a trace: pages, and the index of each window")
    parser.set_defaults(command=plot)
    parser.add_argument("file", metavar="FILE", help="what record wrote")
    parser.add_argument("-o", dest="output", required=True, metavar="PNG", help="where the picture goes")
    parser.add_argument("--cgroup", metavar="/C", help="which, where the trace has several; default: /")
    parser.add_argument("--profile", default="rfc", choices=PROFILES, help="as of mount")


def plot(parsed: argparse.Namespace) -> int:
    """Draw one cgroup of a trace; return DONE.

    Raises Exit: UNEXPECTED where the trace cannot be read or the picture not be written, and without
    matplotlib; USAGE where the trace does not have the cgroup.
    """
    from pressurefs.sources.trace import TraceError, parse_trace  # noqa: PLC0415

    try:
        with or_exit(exitcodes.UNEXPECTED, parsed.file), Path(parsed.file).open(encoding="utf-8") as lines:
            header, parsed_samples = parse_trace(lines)
            samples = list(parsed_samples)
    except (TraceError, UnicodeDecodeError) as error:
        raise Exit(exitcodes.UNEXPECTED, parsed.file, error) from None
    cgroup = _cgroup_to_plot(parsed.file, parsed.cgroup, {sample.cgroup for sample in samples})
    thresholds = PROFILES[parsed.profile]
    series = build_series([sample for sample in samples if sample.cgroup == cgroup], thresholds)
    what = f"{Path(parsed.file).name}, cgroup {cgroup}, profile {parsed.profile}"
    try:
        draw(series, header, what, thresholds, parsed.output)
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        why = "matplotlib is not installed (pip install matplotlib)"
        raise Exit(exitcodes.UNEXPECTED, "plot", why) from None
    except OSError as error:
        raise Exit(exitcodes.UNEXPECTED, parsed.output, error.strerror) from None
    return exitcodes.DONE


def _cgroup_to_plot(file: str, wanted: str | None, known: set[str]) -> str:
    """Return the cgroup that was asked for; else the only cgroup of the trace; else the machine."""
    if not known:
        raise Exit(exitcodes.UNEXPECTED, file, "a trace without samples")
    if wanted is None and len(known) == 1:
        return next(iter(known))
    wanted = wanted or "/"
    if wanted not in known:
        raise Exit(exitcodes.USAGE, f"--cgroup {wanted}", f"{file} has {' '.join(sorted(known))}")
    return wanted


class Series(NamedTuple):
    """The trace of one cgroup, in bins of equal width.

    ``edges``: seconds since the recording began, one more than there are bins.  ``scanned``, ``reclaimed``:
    pages per second in each bin.  ``verdicts``: one for each full window.
    """

    edges: list[float]
    scanned: list[float]
    reclaimed: list[float]
    verdicts: list[Verdict]


def build_series(samples: Sequence[Sample], thresholds: Thresholds) -> Series:
    """Sum and judge the samples of one cgroup: at least one, in the order of their times."""
    seconds = bin_seconds(samples[-1].time)
    bins = math.floor(samples[-1].time / seconds) + 1
    scanned, reclaimed = [0.0] * bins, [0.0] * bins
    for sample in samples:
        at = math.floor(sample.time / seconds)
        scanned[at] += sample.scanned / seconds
        reclaimed[at] += sample.reclaimed / seconds
    edges = [number * seconds for number in range(bins + 1)]
    return Series(edges, scanned, reclaimed, list(_judge(samples, thresholds)))


def _judge(samples: Sequence[Sample], thresholds: Thresholds) -> Iterator[Verdict]:
    from pressurefs.pressure.window import Window  # noqa: PLC0415

    window = Window()
    for sample in samples:
        verdict = window.add(sample, thresholds)
        if verdict is not None:
            yield verdict


def bin_seconds(seconds: float) -> float:
    """Return the width of a bin, in seconds: 1, 2 or 5 times a power of ten, at least 0.01.

    It is the smallest that divides a trace of ``seconds`` into at most 200 bins.
    """
    least = max(seconds / _BINS_MAX, 0.01)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


def draw(series: Series, header: Header, what: str, thresholds: Thresholds, path: str) -> None:
    """Write the picture as PNG of 1320 x 780 pixels to ``path``.  ``what``: the title.

    Raises ImportError without matplotlib, and OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415, an extra

    # matplotlib logs at INFO about its own fonts, which does not concern our users.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    pages, index = figure.subplots(2, 1, sharex=True)
    title = f"{what}\nLinux {header.kernel}, source {header.source}"
    # The name of a cgroup can contain bytes that are not UTF-8.
    figure.suptitle(title.encode(errors="replace").decode(), parse_math=False)
    _draw_pages(pages, series)
    _draw_index(index, series, thresholds)
    figure.align_ylabels()
    figure.savefig(path, format="png")


def _draw_pages(axes: Axes, series: Series) -> None:
    axes.stairs(series.scanned, series.edges, fill=True, color=_SCANNED, label="scanned")
    axes.stairs(series.reclaimed, series.edges, fill=True, color=_RECLAIMED, label="reclaimed")
    axes.set_ylabel("pages a second")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(series.edges[0], series.edges[-1])
    _finish(axes, "pages")


def _draw_index(axes: Axes, series: Series, thresholds: Thresholds) -> None:
    for level in sorted(Level, reverse=True):
        windows = [verdict for verdict in series.verdicts if verdict.level is level]
        colour, marker, size = _MARKS[level]
        axes.scatter(
            [verdict.time for verdict in windows],
            [verdict.index_percent or 0 for verdict in windows],
            c=colour,
            marker=marker,
            s=size,
            linewidths=0,
            alpha=0.75,
            label=f"{level.word}: {len(windows)}",
            clip_on=False,
            zorder=2 + level,
        )
    for level, least in ((Level.MEDIUM, thresholds.medium), (Level.OOM, thresholds.oom)):
        axes.axhline(least, color=_MARKS[level][0], linestyle="--", linewidth=1)
    axes.set_ylim(0, 105)
    axes.set_yticks([0, 20, 40, thresholds.medium, 80, thresholds.oom])
    axes.set_ylabel("index of a window, %")
    axes.set_xlabel("seconds")
    _finish(axes, "windows")


def _finish(axes: Axes, title: str) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the panel, where it covers no data.
    axes.legend(title=title, alignment="left", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
