# SPDX-License-Identifier: MIT
"""Reclaim at the limits of cgroups, sampled from cgroup v2's files: whose it is, and what one look finds.

Some facts about these files, measured on Linux 6.1 and 6.12 with two emulated processors:

- memory.stat counts for the owner of a page, whoever wanted it: reclaim at the limit of an ancestor and
  the machine's own stand in it beside the cgroup's own.  What tells them apart is memory.events.local,
  whose ``max`` or ``high`` moves in the cgroup whose limit was reached; memory.events has its descendants'
  too (not where cgroup2 is mounted with memory_localevents).  kswapd works for the machine alone, so
  pgscan_kswapd is never a limit's.  Proactive reclaim moves no event.
- ``max`` and ``high`` move before the reclaim that they begin.  Of the pages scanned in a stream 2 to 28 in
  100 were seen in a later look than the event, in a thrash up to half: one pass went on for 370 ms.
- memory.stat is not of this moment: the kernel adds up what its processors have counted when 64 changes a
  processor have come together, else every 2 s.  On two processors 7 to 71 pages were missing on average,
  on many it can be more than a window.  memory.events is exact.
- memory.events can be polled: POLLPRI at once when a limit is reached in the cgroup or below, then at most
  every 10 ms.  So an idle cgroup is not looked at at all.  What was scanned before the alarm cannot be told
  from an hour of the machine's reclaim, and is not counted: 0 to 140 pages.
- When reclaim has failed 16 times on end ``oom`` moves, and the OOM killer begins.  ``max`` that moves while
  nothing is reclaimed is no sign of that: a plain stream did so 13 times on end, and in six of six bombs
  no look saw it before ``oom``.
- The files of a removed cgroup, held open, give ENODEV.  Its removal wakes nobody who polls them.
- cgroup v1 has none of these files.  Nothing is sampled there.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator

from pressurefs.cgroups.paths import BELOW
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample
from pressurefs.sources.memory_files import (
    BUSY_LINGER_SECONDS,
    BUSY_SECONDS,
    EXHAUSTED_PRIORITY,
    NEAR_SECONDS,
    NOTHING,
    Counts,
    HeldFile,
    parse_events,
    parse_stat,
)

# So long after ``max`` or ``high`` has moved what is scanned is that limit's: above the 370 ms of one pass.
LIMIT_SECONDS = 0.5

# ... and so long where nobody else is at work in the cgroup: memory.stat may be 2 s late.
LATE_SECONDS = 2.5

# ``oom`` is 16 failures on end.  What was reclaimed before dilutes the first sample of priority 0, in one of
# seven bombs down to medium; the second stands alone.
EXHAUSTED_TIMES = 2

FILES = ("memory.events", "memory.events.local", "memory.stat")


class SampledCgroup:
    """A cgroup that is sampled: its files, and what the last look found.  Lives until closed."""

    def __init__(self, place: Place, root: CgroupRoot) -> None:
        """Raise OSError where there is no such cgroup, or it has no memory controller."""
        self.path = path = place.cgroup
        self.birth = place.birth
        self.parent: SampledCgroup | None = None  # the nearest of its ancestors that is sampled
        self.children: list[SampledCgroup] = []
        self.due = math.inf
        self.idle_seconds = math.inf  # with an alarm there is no need to look
        self._looked_at = self._reached_at = self._busy_until = -math.inf
        self._reached = path  # the limit that was reached last
        # What was counted below and is not seen in these files yet: nowhere above zero.
        self._ahead = NOTHING
        self._pages = NOTHING
        with contextlib.ExitStack() as opened:
            self._tree_file, self._own_file, self._stat_file = (
                opened.enter_context(contextlib.closing(HeldFile(root.open(f"{path}/{name}", os.O_RDONLY))))
                for name in FILES
            )
            # Reading arms the alarm.
            self._tree, self._own = parse_events(self._tree_file.read()), parse_events(self._own_file.read())
            self._files = opened.pop_all()

    @property
    def alarm_fd(self) -> int:
        """The descriptor to poll for POLLPRI."""
        return self._tree_file.fd

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def was_reached(self) -> bool:
        """Tell whether a limit, here or below, was reached since the last look.  OSError where it is gone."""
        return parse_events(self._tree_file.read()) != self._tree

    def read(self) -> tuple[Counts, Counts]:
        """Return what has moved since the last look: here and below, and the events of this cgroup alone.

        OSError where the cgroup is gone.  An ancestor is read before its descendants, and events before
        the pages that they begin: so what is missing is seen by the next look, and nothing is seen twice.
        """
        tree, own = parse_events(self._tree_file.read()), parse_events(self._own_file.read())
        pages = parse_stat(self._stat_file.read())
        moved = tree.minus(self._tree).plus(pages.minus(self._pages)), own.minus(self._own)
        self._tree, self._own, self._pages = tree, own, pages
        return moved[0].above(0), moved[1].above(0)

    def own_limit_reached(self, now: float) -> bool:
        """Tell whether this cgroup reclaims, so that what is scanned below may be on its account."""
        return self._reached == self.path and now - self._reached_at <= LIMIT_SECONDS

    def count(self, now: float, own: Counts, rest: Counts, patience: float) -> list[Sample]:
        """Return the samples of one look.

        ``own``: the events of this cgroup.  ``rest``: what moved here and below and is neither own events
        nor counted below.  ``patience``: how long after an event pages are its limit's.
        """
        rest = self._ahead.plus(rest)
        self._ahead, rest = rest.minus(rest.above(0)), rest.above(0)
        if own.reached() or rest.reached():
            self._reached = self.path if own.reached() else self.path + BELOW
            self._reached_at = self._busy_until = now
        # The first look after a while finds what was scanned in all that time, by whomever.
        is_known = now - self._looked_at <= LIMIT_SECONDS
        self._looked_at = now
        samples = []
        if is_known and now - self._reached_at <= patience and (rest.scanned or rest.reclaimed):
            samples.append(Sample(now, self._reached, rest.scanned, rest.reclaimed))
            self._busy_until = now
        if own.oom or rest.oom:
            samples += [Sample(now, self._reached, 0, 0, EXHAUSTED_PRIORITY)] * EXHAUSTED_TIMES
        self.due = now + self._pace(now)
        return samples

    def _pace(self, now: float) -> float:
        if now - self._busy_until < BUSY_LINGER_SECONDS:
            return BUSY_SECONDS
        return NEAR_SECONDS if now - self._reached_at <= LATE_SECONDS else self.idle_seconds


class CgroupLook:
    """One look at all cgroups that are due, and what it found."""

    def __init__(self, now: float, due: Iterable[SampledCgroup], *, is_stalled: bool) -> None:
        self.now = now
        self._is_stalled = is_stalled
        self.samples: list[Sample] = []
        self.looked: list[SampledCgroup] = []
        self.gone: list[SampledCgroup] = []
        # Who looks at a cgroup looks at its ancestors too: they share what is counted.
        self._due = set(due)
        for cgroup in list(self._due):
            self._due.update(_ancestors(cgroup))

    def run(self) -> None:
        """Look, from the topmost of them down."""
        for cgroup in [one for one in self._due if one.parent is None]:
            self._look(cgroup, disturbed=self._is_stalled)

    def _look(self, cgroup: SampledCgroup, *, disturbed: bool) -> Counts:
        """Return what was counted here and below, and all events."""
        try:
            tree, own = cgroup.read()
        except OSError:
            self.gone.append(cgroup)
            return NOTHING
        below = NOTHING
        for child in cgroup.children:
            # A child without an event has nothing to count, and keeps none of the events seen here.
            if child in self._due or (tree.limits() != own.limits() and _was_reached(child)):
                inside = disturbed or own.reached() or cgroup.own_limit_reached(self.now)
                below = below.plus(self._look(child, disturbed=inside))
        patience = LIMIT_SECONDS if disturbed else LATE_SECONDS
        rest = tree.minus(own).minus(below)
        samples = cgroup.count(self.now, own, rest, patience)
        self.samples += samples
        self.looked.append(cgroup)
        counted = below
        for sample in samples:
            counted = counted.plus(Counts(sample.scanned, sample.reclaimed))
        return Counts(*counted.pages(), *tree.limits())


def _ancestors(cgroup: SampledCgroup) -> Iterator[SampledCgroup]:
    while cgroup.parent is not None:
        cgroup = cgroup.parent
        yield cgroup


def _was_reached(cgroup: SampledCgroup) -> bool:
    try:
        return cgroup.was_reached()
    except OSError:
        return True  # looking at it will tell that it is gone
