# SPDX-License-Identifier: MIT
"""The windows that samples fill, by the paths of their cgroups.

C adds up and judges, and knows cgroups by number; a sample has a path.  Not locked: the dispatcher's lock
guards it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pressurefs.cgroups.paths import BELOW, MACHINE
from pressurefs.events.event_path import NOBODY, new_pages
from pressurefs.pressure.window import Sample

if TYPE_CHECKING:
    from pressurefs._native import Pages
    from pressurefs.events.event_path import EventPath, Judged
    from pressurefs.events.history import History
    from pressurefs.events.listened_cgroups import ListenedCgroups
    from pressurefs.pressure.window import Verdict

# Where numbers begin that name sampled windows in history: above every inode number.
_FIRST_NUMBER = 2**63


class Windows:
    """The windows that have begun.  Lives as long as the mount."""

    def __init__(self, event_path: EventPath, listened: ListenedCgroups, history: History) -> None:
        self._event_path = event_path
        self._listened = listened
        self._history = history
        self._pages: dict[str, Pages] = {}
        self._numbers = itertools.count(_FIRST_NUMBER)

    def feed(self, sample: Sample) -> None:
        """Add a sample to the window of its cgroup, and signal if that fills it."""
        path = sample.cgroup
        pages = self._pages.get(path)
        if pages is None:
            pages = self._pages[path] = new_pages(next(self._numbers))
        listening, is_inherited = self._listened.nearest(path) or (NOBODY, True)
        if self._event_path.add_sample(pages, listening, sample, is_inherited=is_inherited):
            # It is empty now, and cgroups come and go.
            del self._pages[path]
            self._history.name(pages.cgroup, path)

    def feed_again(self, judged: Judged) -> None:
        """Judge a window once more, for those above a cgroup that had no listener any more."""
        verdict = judged.verdict
        # Its priority adds to the sample what it has added before.
        pages = verdict.scanned - verdict.injected, verdict.reclaimed, verdict.priority
        self.feed(Sample(verdict.time, verdict.cgroup, *pages))

    def inject(self, verdict: Verdict) -> None:
        """Signal a verdict that no window was judged for."""
        number = next(self._numbers)
        self._history.name(number, verdict.cgroup)
        listening, is_inherited = self._listened.nearest(verdict.cgroup) or (NOBODY, True)
        self._event_path.inject(number, listening, verdict, is_inherited=is_inherited)

    def forget(self, cgroup: str) -> None:
        """Drop what was added up for a cgroup that is removed or has no listener; the machine's stays."""
        if cgroup != MACHINE:
            for path in (cgroup, cgroup + BELOW):
                self._pages.pop(path, None)
