# SPDX-License-Identifier: MIT
"""Reclaim at the limits of cgroups, sampled from cgroup v2's files: whose limit it was, and how many pages.

Some facts about these files, measured on Linux 6.1 and 6.12 with two emulated processors:

- memory.stat charges the owner of a page, whatever the reclaim was for: reclaim at the limit of an ancestor
  and the machine's own reclaim are in it beside the cgroup's own.  memory.events.local distinguishes them:
  its ``max`` or ``high`` moves in the cgroup whose limit was reached; memory.events has those of the
  descendants too (not where cgroup2 is mounted with memory_localevents).  kswapd works for the machine alone,
  so pgscan_kswapd never belongs to a limit.  Proactive reclaim moves no event.
- ``max`` and ``high`` move before the reclaim that they begin.  Of the pages scanned in a stream, 2 to 28 in
  100 showed in a later reading than the event, in a thrash up to half: one pass went on for 370 ms.
- memory.stat is not of this moment: the kernel adds up what its processors have counted when 64 changes a
  processor have come together, else every 2 s.  On two processors 7 to 71 pages were missing on average,
  on many it can be more than a window.  memory.events is exact.
- memory.events can be polled: POLLPRI at once when a limit is reached in the cgroup or below, then at most
  every 10 ms.  So an idle cgroup is not read at all.  Pages scanned before the alarm cannot be distinguished
  from an hour of the machine's reclaim, and are not counted: 0 to 140 pages.
- When reclaim has failed 16 times on end ``oom`` moves, and the OOM killer begins.  ``max`` that moves while
  nothing is reclaimed is no sign of that: in a plain stream it did so 13 times on end, and in six of six
  bombs no reading showed it before ``oom``.
- The files of a removed cgroup, held open, give ENODEV.  Its removal does not wake a process that polls them.
- cgroup v1 has none of these files.  Nothing is sampled there.

An example: /a has memory.max, /a/b is its child, both are read 2 ms after the last reading.  The limit of /a
was reached once, and 300 pages were scanned for it, 200 of them in /a/b:

    /a/memory.events          max 1 more       tree of /a      300 scanned, max 1
    /a/memory.events.local    max 1 more       own of /a       max 1
    /a/memory.stat            300 more
    /a/b/memory.events        nothing          tree of /a/b    200 scanned
    /a/b/memory.stat          200 more

/a is read first.  No event moved in /a/b, so nothing is counted there: ``below`` is 0, and the ``rest`` of
/a, its tree without its own events and without what was counted below, is 300 pages: Sample("/a", 300).  If
/a/b had its own event, its 200 pages would be Sample("/a/b", 200) and the rest of /a 100.  Where /a/b had its
own event and memory.stat of /a is late, showing 150 of the 300, the rest of /a is -50 after the child's 200:
no sample for /a, and ``_ahead`` keeps the -50, so that the 150 pages which show later count as 100.
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

# For this long after ``max`` or ``high`` has moved, scanned pages belong to that limit: above the 370 ms of a
# pass.
LIMIT_SECONDS = 0.5

# ... and for this long where no other reclaim is at work in the cgroup: memory.stat can be 2 s late.
LATE_SECONDS = 2.5

# ``oom`` is 16 failures on end.  What was reclaimed before dilutes the first sample of priority 0, in one of
# seven bombs down to medium; the second stands alone.
EXHAUSTED_TIMES = 2

FILES = ("memory.events", "memory.events.local", "memory.stat")


class SampledCgroup:
    """A cgroup that is sampled: its files, and what the last reading found.  Lives until closed."""

    def __init__(self, place: Place, root: CgroupRoot) -> None:
        """Raise OSError where there is no such cgroup, or it has no memory controller."""
        self.path = path = place.cgroup
        self.birth = place.birth
        self.parent: SampledCgroup | None = None  # the nearest of its ancestors that is sampled
        self.children: list[SampledCgroup] = []
        self.due = math.inf
        self.idle_seconds = math.inf  # with an alarm there is no need to read
        self._looked_at = self._reached_at = self._busy_until = -math.inf
        self._reached = path  # the limit that was reached last
        # What was counted below and these files do not show yet: always <= 0.
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
        """Tell whether a limit here or below was reached since the last reading.  OSError if it is gone."""
        return parse_events(self._tree_file.read()) != self._tree

    def read(self) -> tuple[Counts, Counts]:
        """Return what has moved since the last reading: here and below, and the events of this cgroup alone.

        OSError where the cgroup is gone.  An ancestor is read before its descendants, and events before
        the pages that they begin: what is missing shows in the next reading, and nothing shows twice.
        """
        tree, own = parse_events(self._tree_file.read()), parse_events(self._own_file.read())
        pages = parse_stat(self._stat_file.read())
        moved = tree.minus(self._tree).plus(pages.minus(self._pages)), own.minus(self._own)
        self._tree, self._own, self._pages = tree, own, pages
        return moved[0].above(0), moved[1].above(0)

    def own_limit_reached(self, now: float) -> bool:
        """Tell whether this cgroup reclaims at its own limit: pages scanned below can be on its account."""
        return self._reached == self.path and now - self._reached_at <= LIMIT_SECONDS

    def count(self, now: float, own: Counts, rest: Counts, patience: float) -> list[Sample]:
        """Return the samples of one reading.

        ``own``: the events of this cgroup.  ``rest``: what moved here and below and is neither own events
        nor counted below.  ``patience``: how long after an event pages are its limit's.
        """
        rest = self._ahead.plus(rest)
        self._ahead, rest = rest.minus(rest.above(0)), rest.above(0)
        if own.reached() or rest.reached():
            self._reached = self.path if own.reached() else self.path + BELOW
            self._reached_at = self._busy_until = now
        # The first reading after a while finds what was scanned in all that time, for whatever reason.
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
    """One reading of all cgroups that are due, and what it found."""

    def __init__(self, now: float, due: Iterable[SampledCgroup], *, is_stalled: bool) -> None:
        self.now = now
        self._is_stalled = is_stalled
        self.samples: list[Sample] = []
        self.looked: list[SampledCgroup] = []
        self.gone: list[SampledCgroup] = []
        # The ancestors are read too: they share what is counted.
        self._due = set(due)
        for cgroup in list(self._due):
            self._due.update(_ancestors(cgroup))

    def run(self) -> None:
        """Read, from the topmost of them down."""
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
        return True  # reading it finds out that it is gone
