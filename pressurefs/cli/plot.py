"""Draws a trace: what was scanned and reclaimed, and the window that each verdict came from.

``build_series`` is pure and judges as the daemon would; ``draw`` is the only user of matplotlib, which is
an extra, `plot`.  No display is needed.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pressurefs.pressure.levels import Level, Thresholds
from pressurefs.pressure.window import Sample, Verdict, Window
from pressurefs.sources.trace import Header

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# As many columns as a reader can tell apart in a picture of this width.
_BINS_MAX = 200
_INCHES = (11, 6.5)
_DOTS_PER_INCH = 120

_SCANNED, _RECLAIMED = "#d9b48f", "#4878a8"
# Told apart by shape too: colours are not for everybody, nor for every printer.
_MARKS = {
    Level.LOW: ("#4878a8", "o", 14),
    Level.MEDIUM: ("#e08a00", "^", 26),
    Level.OOM: ("#c01818", "X", 40),
}


class Series(NamedTuple):
    """One cgroup's trace, added up.

    ``edges``: seconds, one more than there are bins.  ``scanned``, ``reclaimed``: pages a second in
    each bin.  ``verdicts``: one for each full window.
    """

    edges: list[float]
    scanned: list[float]
    reclaimed: list[float]
    verdicts: list[Verdict]


def build_series(samples: Sequence[Sample], thresholds: Thresholds) -> Series:
    """Add up and judge samples, at least one, of one cgroup."""
    seconds = bin_seconds(samples[-1].time)
    bins = math.floor(samples[-1].time / seconds) + 1
    scanned, reclaimed = [0.0] * bins, [0.0] * bins
    for sample in samples:
        at = math.floor(sample.time / seconds)
        scanned[at] += sample.scanned / seconds
        reclaimed[at] += sample.reclaimed / seconds
    edges = [number * seconds for number in range(bins + 1)]
    return Series(edges, scanned, reclaimed, list(_judge(samples, thresholds)))


def _judge(samples: Sequence[Sample], thresholds: Thresholds) -> Iterable[Verdict]:
    window = Window()
    for sample in samples:
        verdict = window.add(sample, thresholds)
        if verdict is not None:
            yield verdict


def bin_seconds(seconds: float) -> float:
    """Return a round width that divides so many seconds into few enough bins: 1, 2 or 5, and zeros."""
    least = max(seconds / _BINS_MAX, 0.01)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


def draw(series: Series, header: Header, what: str, thresholds: Thresholds, path: str) -> None:
    """Write the picture as PNG.  ``what``: the trace and its cgroup, for the title.

    Raises ImportError without matplotlib, and OSError.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415, an extra

    # Its remarks on its own fonts are not for our users.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    pages, index = figure.subplots(2, 1, sharex=True)
    title = f"{what}\nLinux {header.kernel}, source {header.source}"
    # A cgroup's name may be bytes that are no text.
    figure.suptitle(title.encode(errors="replace").decode(), parse_math=False)
    _draw_pages(pages, series)
    _draw_index(index, series, thresholds)
    figure.align_ylabels()
    figure.savefig(path, format="png")


def _draw_pages(axes: "Axes", series: Series) -> None:
    axes.stairs(series.scanned, series.edges, fill=True, color=_SCANNED, label="scanned")
    axes.stairs(series.reclaimed, series.edges, fill=True, color=_RECLAIMED, label="reclaimed")
    axes.set_ylabel("pages a second")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(series.edges[0], series.edges[-1])
    _finish(axes, "pages")


def _draw_index(axes: "Axes", series: Series, thresholds: Thresholds) -> None:
    for level in sorted(Level, reverse=True):
        windows = [one for one in series.verdicts if one.level is level]
        colour, marker, size = _MARKS[level]
        axes.scatter(
            [one.time for one in windows],
            [one.index_percent or 0 for one in windows],
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


def _finish(axes: "Axes", title: str) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the panel, where it hides nothing.
    axes.legend(title=title, alignment="left", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
