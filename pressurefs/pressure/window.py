"""A window adds samples up and, when enough pages were scanned, gives a verdict.

Pure: time comes in with the sample and goes out with the verdict.  A window knows no cgroup tree
and no listener; the engine keeps one for each cgroup that had samples.
"""

from typing import NamedTuple

from pressurefs.pressure.levels import Level, Thresholds, level_of, reclaim_index


class Sample(NamedTuple):
    """What one look at the kernel's counters found.

    ``time``: seconds, monotonic.  ``cgroup``: "/" is the whole machine, "/a" a cgroup; "/a/", which none can
    be called, stands for any of those below "/a" that are not told apart.  ``scanned``, ``reclaimed``:
    pages since the look before.  ``priority``: the kernel's scan priority, 12 (the first, gentle pass) to 0
    (nothing is spared), None where the source cannot know it.
    """

    time: float
    cgroup: str
    scanned: int
    reclaimed: int
    priority: int | None = None


class Verdict(NamedTuple):
    """A full window, judged.

    ``index_percent`` is None where a level was injected without a window.  ``injected``: of the pages
    ``scanned``, those that stand for the priority and were none.
    """

    time: float
    cgroup: str
    scanned: int
    reclaimed: int
    priority: int | None
    index_percent: int | None
    level: Level
    injected: int = 0


class Window:
    """Scanned and reclaimed pages of one cgroup since the last verdict.  Nothing expires."""

    __slots__ = ("reclaimed", "scanned")

    def __init__(self) -> None:
        self.scanned = 0
        self.reclaimed = 0

    def add(self, sample: Sample, thresholds: Thresholds) -> Verdict | None:
        """Add a sample; return the verdict if that filled the window, which then starts empty.

        A sample larger than the window is one window, not several: the kernel judges what has come
        in since it last looked, and so do we.
        """
        injected = 0
        if sample.priority is not None and sample.priority <= thresholds.oom_priority:
            # The kernel's vmpressure_prio(): a full window of failure on top of what was there.
            # A good ratio before it dilutes it, there as here.
            injected = thresholds.window_pages
        self.scanned += sample.scanned + injected
        self.reclaimed += sample.reclaimed
        if self.scanned < thresholds.window_pages:
            return None
        scanned, reclaimed = self.scanned, self.reclaimed
        self.scanned = self.reclaimed = 0
        scale = thresholds.scale_pages(thresholds.window_pages, scanned, reclaimed)
        percent = reclaim_index(scanned, reclaimed, scale)
        level = level_of(percent, thresholds)
        pages = scanned, reclaimed, sample.priority
        return Verdict(sample.time, sample.cgroup, *pages, percent, level, injected)
