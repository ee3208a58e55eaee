# SPDX-License-Identifier: MIT
"""The tunables: one public, the sensitivity, and four that are for debugging only.

Pure.  Values come in as numbers; a value out of range raises ValueError and changes nothing.  The event path
in C gets the thresholds that result.
"""

from pressurefs.pressure.levels import PRIORITY_MAX, Thresholds

SENSITIVITY_DEFAULT = 50

# The window at sensitivity 100 and at 0.  One SWAP_CLUSTER_MAX is 32 pages: a window smaller than half of it
# would judge single batches of reclaim; a window above 16384 pages (64 MB) would miss a burst that empties a
# small machine.
WINDOW_PAGES_MIN = 16
WINDOW_PAGES_MAX = 16384


def window_of_sensitivity(sensitivity: int) -> int:
    """Return the window in pages, for a sensitivity of 0 to 100: each ten steps halve it; 50 is 512 pages."""
    pages = round(512 * 2 ** ((SENSITIVITY_DEFAULT - sensitivity) / 10))
    return min(max(pages, WINDOW_PAGES_MIN), WINDOW_PAGES_MAX)


class Tunables:
    """The thresholds in force, and the sensitivity that the window was computed from.

    Lives as long as the mount; starts from a profile.  It has no lock: the lock of events/ guards it.
    """

    def __init__(self, profile: Thresholds) -> None:
        self.sensitivity = SENSITIVITY_DEFAULT
        self.thresholds = profile

    def set_sensitivity(self, value: int) -> None:
        """Set 0 (the largest window) to 100 (the smallest); this ends an override of the window."""
        _require(0 <= value <= 100, "sensitivity is 0 to 100")  # noqa: PLR2004, percent
        self.sensitivity = value
        self.thresholds = self.thresholds._replace(window_pages=window_of_sensitivity(value))

    def set_window(self, pages: int) -> None:
        """Set the window, at least 1 page, until the sensitivity is set again."""
        _require(pages >= 1, "a window is at least 1 page")
        self.thresholds = self.thresholds._replace(window_pages=pages)

    def set_level_medium(self, percent: int) -> None:
        """Set the least index, in percent, that is medium: 0 to the oom level."""
        _require(0 <= percent <= self.thresholds.oom, "medium is 0 to the oom level")
        self.thresholds = self.thresholds._replace(medium=percent)

    def set_level_oom(self, percent: int) -> None:
        """Set the least index, in percent, that is oom: the medium level to 100."""
        _require(self.thresholds.medium <= percent <= 100, "oom is the medium level to 100")  # noqa: PLR2004
        self.thresholds = self.thresholds._replace(oom=percent)

    def set_level_oom_priority(self, priority: int) -> None:
        """Set the scan priority, 0 to 12, at or below which reclaim counts as failed."""
        _require(0 <= priority <= PRIORITY_MAX, f"a scan priority is 0 to {PRIORITY_MAX}")
        self.thresholds = self.thresholds._replace(oom_priority=priority)


def _require(holds: bool, reason: str) -> None:  # noqa: FBT001
    if not holds:
        raise ValueError(reason)
