# SPDX-License-Identifier: MIT
"""A window adds samples up and, when enough pages were scanned, gives a verdict.

Pure: time comes in with the sample and goes out with the verdict.  A window knows no cgroup tree and no
listener.  The event path in C computes the same: this file is the oracle that the tests compare the C with,
and ``plot`` judges by it without the compiled module.
"""

from typing import NamedTuple

from pressurefs.pressure.levels import Level, Thresholds, level_of, reclaim_index


class Sample(NamedTuple):
    """What one reading of the kernel's counters found.

    ``time``: seconds, monotonic.  ``cgroup``: "/" is the whole machine, "/a" a cgroup; "/a/", which is no
    cgroup's name, stands for any cgroup below "/a" that the source does not distinguish.  ``scanned``,
    ``reclaimed``: pages since the reading before.  ``priority``: the kernel's scan priority, 12 (the first,
    gentle pass) to 0 (nothing is spared), None where the source cannot know it.
    """

    time: float
    cgroup: str
    scanned: int
    reclaimed: int
    priority: int | None = None


class Verdict(NamedTuple):
    """The judgement of a full window.

    ``time``, ``cgroup``, ``priority``: of the sample that filled it.  ``scanned``, ``reclaimed``: pages of
    the whole window.  ``index_percent``: 0 to 100, None where a level was injected without a window.
    ``injected``: how many of the pages ``scanned`` were added for the priority and not scanned by the kernel.
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
    """Scanned and reclaimed pages of one cgroup since the last verdict.  Nothing expires.

    Lives as long as its owner keeps it: one for each cgroup that had samples.
    """

    __slots__ = ("reclaimed", "scanned")

    def __init__(self) -> None:
        self.scanned = 0
        self.reclaimed = 0

    def add(self, sample: Sample, thresholds: Thresholds) -> Verdict | None:
        """Add a sample; return the verdict if that filled the window, which then starts empty.

        A sample larger than the window is one window, not several: the kernel too judges at once all that
        was added since it judged last.
        """
        injected = 0
        if sample.priority is not None and sample.priority <= thresholds.oom_priority:
            # As the kernel's vmpressure_prio(): adds a full window of failure to what the window has.  Pages
            # reclaimed before it lower the index, in the kernel as here.
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
