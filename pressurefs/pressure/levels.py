# SPDX-License-Identifier: MIT
"""The arithmetic of pressure: a ratio becomes an index, an index becomes a level.

Pure.  The event path in C computes the same: this file is the oracle that the tests compare the C with,
and ``plot`` judges by it without the compiled module.

The rules are those of Anton Vorontsov's vmpressure RFC of 2012 and of the kernel's mm/vmpressure.c that
grew from it; both compute in unsigned integers, and so does this file.

There is one departure from the RFC.  Where more pages were reclaimed than scanned, the RFC's subtraction
wraps around to a huge number, and a machine that reclaims well would report that it is out of memory.  Such
a window has index 0 here, as in the kernel.
"""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Level(IntEnum):
    """How hard it is to reclaim memory.  The values are the numbers of ``struct vmpressure_notify``."""

    LOW = 0
    MEDIUM = 1
    OOM = 2

    @property
    def word(self) -> str:
        """The level's word in the grammar of ``vmpressure``."""
        return self.name.lower()


class Mode(StrEnum):
    """Whether a listener hears the events of descendants of its cgroup, as in cgroup v1."""

    DEFAULT = "default"  # unless a cgroup below, on the way up, was signalled already
    HIERARCHY = "hierarchy"  # always
    LOCAL = "local"  # never


PRIORITY_MAX = 12  # the kernel's DEF_PRIORITY: every reclaim begins there and counts down to 0


class Thresholds(NamedTuple):
    """Everything that a window is judged by.

    ``window_pages``: scanned pages that fill a window.  ``medium`` and ``oom``: the least index,
    in percent, of these levels.  ``oom_priority``: the scan priority (12 begins, 0 gives up) at or
    below which reclaim counts as a full window of failure.  ``scale_pages``: returns the pages that the
    arithmetic divides by, given the pages (window, scanned, reclaimed).
    """

    window_pages: int
    medium: int
    oom: int
    oom_priority: int
    scale_pages: Callable[[int, int, int], int]


def rfc_scale_pages(window: int, scanned: int, reclaimed: int) -> int:  # noqa: ARG001
    """Return the nominal size of the window, in pages, as the RFC does."""
    return window


def mainline_scale_pages(window: int, scanned: int, reclaimed: int) -> int:  # noqa: ARG001
    """Return scanned plus reclaimed pages, as the kernel does."""
    return scanned + reclaimed


# The RFC's text says that a window is 256 pages (1 MB); its code says SWAP_CLUSTER_MAX * 16, which is 512.
# The code wins.
RFC = Thresholds(window_pages=512, medium=60, oom=99, oom_priority=4, scale_pages=rfc_scale_pages)
MAINLINE = Thresholds(window_pages=512, medium=60, oom=95, oom_priority=3, scale_pages=mainline_scale_pages)
PROFILES = {"rfc": RFC, "mainline": MAINLINE}


def reclaim_index(scanned: int, reclaimed: int, scale: int) -> int:
    """Return the percentage, 0 to 100, of ``scanned`` pages that were not reclaimed.

    ``scale``: pages, the resolution of the integer division.  The RFC and the kernel round differently, which
    is why both forms exist.  Nothing scanned, or more reclaimed than scanned, gives 0.
    """
    if reclaimed >= scanned:
        return 0
    not_reclaimed = scale - reclaimed * scale // scanned
    return not_reclaimed * 100 // scale


def level_of(index: int, thresholds: Thresholds) -> Level:
    """Return the highest level that ``index`` (percent) reaches."""
    if index >= thresholds.oom:
        return Level.OOM
    if index >= thresholds.medium:
        return Level.MEDIUM
    return Level.LOW
