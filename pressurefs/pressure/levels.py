"""The arithmetic of pressure: a ratio becomes an index, an index becomes a level.

Pure.  The rules are those of Anton Vorontsov's vmpressure RFC of 2012 and of the kernel's
mm/vmpressure.c that grew from it; both compute in unsigned integers, and so does this file.

One departure, from the RFC: where more pages were reclaimed than scanned, its subtraction wraps
around to a huge number, and a machine that reclaims well would be told that it is out of memory.
Such a window has index 0 here, as in the kernel.
"""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Level(IntEnum):
    """How hard it is to reclaim memory.  The numbers are those of the binary registration."""

    LOW = 0
    MEDIUM = 1
    OOM = 2

    @property
    def word(self) -> str:
        """The level as it is written into ``vmpressure``."""
        return self.name.lower()


class Mode(StrEnum):
    """Whether an event of a descendant is heard, as in cgroup v1."""

    DEFAULT = "default"  # unless a cgroup between here and there heard it already
    HIERARCHY = "hierarchy"  # always
    LOCAL = "local"  # never


PRIORITY_MAX = 12  # the kernel's DEF_PRIORITY, where every reclaim begins; it counts down to 0


class Thresholds(NamedTuple):
    """Everything that judges a window.

    ``window_pages``: scanned pages that fill a window.  ``medium`` and ``oom``: the least index,
    in percent, of these levels.  ``oom_priority``: the scan priority (12 begins, 0 gives up) at or
    below which reclaim counts as a full window without success.  ``scale_pages``: what the
    arithmetic divides by, given (window, scanned, reclaimed).
    """

    window_pages: int
    medium: int
    oom: int
    oom_priority: int
    scale_pages: Callable[[int, int, int], int]


def rfc_scale_pages(window: int, scanned: int, reclaimed: int) -> int:  # noqa: ARG001
    """Return the window's nominal size, as the RFC does."""
    return window


def mainline_scale_pages(window: int, scanned: int, reclaimed: int) -> int:  # noqa: ARG001
    """Return scanned plus reclaimed, as the kernel does."""
    return scanned + reclaimed


# The RFC's text says that a window is 256 pages (1 MB) where its code says SWAP_CLUSTER_MAX * 16,
# which is 512.  The code wins.
RFC = Thresholds(window_pages=512, medium=60, oom=99, oom_priority=4, scale_pages=rfc_scale_pages)
MAINLINE = Thresholds(window_pages=512, medium=60, oom=95, oom_priority=3, scale_pages=mainline_scale_pages)
PROFILES = {"rfc": RFC, "mainline": MAINLINE}


def reclaim_index(scanned: int, reclaimed: int, scale: int) -> int:
    """Return the percentage, 0 to 100, of ``scanned`` pages that were not reclaimed.

    ``scale`` (pages) is the resolution of the integer division: what is lost to rounding depends on
    it, which is why both forms exist.  Nothing scanned, or more reclaimed than scanned: 0.
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
