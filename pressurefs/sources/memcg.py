"""The cgroups' half of the vmstat source: reclaim at their limits, sampled from cgroup v2's files.

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
  every 10 ms.  So an idle cgroup is not looked at at all.  What was scanned before
  the alarm cannot be told from an hour of the machine's reclaim, and is not counted: 0 to 140 pages.
- When reclaim has failed 16 times on end ``oom`` moves, and the OOM killer begins.  ``max`` that moves while
  nothing is reclaimed is no sign of that: a plain stream did so 13 times on end, and in six of six bombs
  no look saw it before ``oom``.
- The files of a removed cgroup, held open, give ENODEV.  Its removal wakes nobody who polls them.
- cgroup v1 has none of these files.  Nothing is sampled there.
"""

import contextlib
import errno
import logging
import math
import os
import resource
import select
from collections.abc import Iterable, Iterator

from pressurefs.cgroups import CgroupRoot
from pressurefs.engine import BELOW, MACHINE
from pressurefs.registry import Place
from pressurefs.sources.counts import NOTHING, Counts, parse_events, parse_stat
from pressurefs.sources.looks import (
    BUSY_LINGER_SECONDS,
    BUSY_SECONDS,
    EXHAUSTED_PRIORITY,
    FAR_SECONDS,
    NEAR_SECONDS,
    HeldFile,
)
from pressurefs.window import Sample

_log = logging.getLogger("pressurefs.memcg")

# So long after ``max`` or ``high`` has moved what is scanned is that limit's: above the 370 ms of one pass.
LIMIT_SECONDS = 0.5

# ... and so long where nobody else is at work in the cgroup: memory.stat may be 2 s late.
LATE_SECONDS = 2.5

# ``oom`` is 16 failures on end.  What was reclaimed before dilutes the first sample of priority 0, in one of
# seven bombs down to medium; the second stands alone.
EXHAUSTED_TIMES = 2

# Nobody nests cgroups so deep but to make us walk; cgroup v2 allows any number.
LEVELS_MAX = 128

# What could not be opened for want of descriptors, watches or memory is tried again after so long.
RETRY_SECONDS = 1.0

# Cgroups right below the top may take this share of our descriptors, for listeners at the top.
_DESCRIPTORS_SHARE = 0.5

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)

_FILES = ("memory.events", "memory.events.local", "memory.stat")


class _Cgroup:
    """A cgroup that is sampled: its files, and what the last look found.  Lives until closed."""

    def __init__(self, place: Place, root: CgroupRoot) -> None:
        """Raise OSError where there is no such cgroup, or it has no memory controller."""
        self.path = path = place.cgroup
        self.birth = place.birth
        self.parent: _Cgroup | None = None  # the nearest of its ancestors that is sampled
        self.children: list[_Cgroup] = []
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
                for name in _FILES
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


class _Look:
    """One look at all cgroups that are due, and what it found."""

    def __init__(self, now: float, due: Iterable[_Cgroup], *, is_stalled: bool) -> None:
        self.now = now
        self._is_stalled = is_stalled
        self.samples: list[Sample] = []
        self.looked: list[_Cgroup] = []
        self.gone: list[_Cgroup] = []
        # Who looks at a cgroup looks at its ancestors too: they share what is counted.
        self._due = set(due)
        for cgroup in list(self._due):
            self._due.update(_ancestors(cgroup))

    def run(self) -> None:
        """Look, from the topmost of them down."""
        for cgroup in [one for one in self._due if one.parent is None]:
            self._look(cgroup, disturbed=self._is_stalled)

    def _look(self, cgroup: _Cgroup, *, disturbed: bool) -> Counts:
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


def _ancestors(cgroup: _Cgroup) -> Iterator[_Cgroup]:
    while cgroup.parent is not None:
        cgroup = cgroup.parent
        yield cgroup


def _was_reached(cgroup: _Cgroup) -> bool:
    try:
        return cgroup.was_reached()
    except OSError:
        return True  # looking at it will tell that it is gone


class CgroupSampler:
    """Samples of the cgroups that somebody listens to.  Lives until closed.

    For the listeners at the top that want to hear of limits below, the cgroups right below the top are
    sampled, each under its own name.
    """

    def __init__(self, root: CgroupRoot) -> None:
        self._root = root
        self._epoll = select.epoll()
        self._listened: dict[str, int] = {}
        self._below_top: dict[str, int] = {}
        self._cgroups: dict[str, _Cgroup] = {}
        self._by_fd: dict[int, _Cgroup] = {}
        self._awake: set[_Cgroup] = set()
        self._open_at = math.inf  # when to see again which cgroups are to be open
        self._was_short = False
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._below_top_max = int(soft * _DESCRIPTORS_SHARE) // len(_FILES)

    @property
    def alarm_fd(self) -> int:
        """A descriptor that is readable when a limit was reached."""
        return self._epoll.fileno()

    def sample_only(self, listened: frozenset[Place]) -> None:
        """Sample these cgroups and no others; "/" stands for limits anywhere below the top."""
        # Of two by the same name the one that was made later lives.
        self._listened = dict(sorted(listened))
        # The first look, which knows the time, tells when the next is due.
        self._open_at = math.inf if self._hold_open() == math.inf else -math.inf

    def read(self, now: float, *, is_stalled: bool) -> list[Sample]:
        """Look at the cgroups that are due; return what was scanned at their limits.

        ``is_stalled``: the machine's own reclaim, too, has made allocations wait within LIMIT_SECONDS.
        """
        if now >= self._open_at:
            self._open_at = now + self._hold_open()
        due = {self._by_fd[fd] for fd, _ in self._epoll.poll(0)}
        due.update(cgroup for cgroup in self._awake if cgroup.due <= now)
        if not due:
            return []
        look = _Look(now, due, is_stalled=is_stalled)
        look.run()
        for cgroup in look.looked:
            (self._awake.discard if cgroup.due == math.inf else self._awake.add)(cgroup)
        for cgroup in look.gone:
            self._close(cgroup)
        if look.gone:
            self._link()
        return look.samples

    def next_look(self) -> float:
        """Return when a look is due, infinity where the alarm is to be waited for."""
        return min(self._open_at, min((cgroup.due for cgroup in self._awake), default=math.inf))

    def close(self) -> None:
        """Close all files."""
        for cgroup in list(self._cgroups.values()):
            self._close(cgroup)
        self._epoll.close()

    def _list_below_top(self) -> dict[str, int]:
        if MACHINE not in self._listened:
            return {}
        try:
            children = sorted(self._root.children(MACHINE))
        except OSError as error:
            self._tell_shortage(f"those below the top cannot be listed: {error.strerror}")
            return self._below_top
        if len(children) > self._below_top_max:
            self._tell_shortage(f"listeners at the top hear only {self._below_top_max} of {len(children)}")
        self._below_top = {MACHINE + name: inode for name, inode in children[: self._below_top_max]}
        return self._below_top

    def _hold_open(self) -> float:
        """Have those open that are to be sampled; return after how long to see again."""
        wanted = self._list_below_top() | self._listened
        closed = [one for one in self._cgroups.values() if wanted.get(one.path) != one.birth]
        for cgroup in closed:
            self._close(cgroup)
        places = [Place(*one) for one in wanted.items() if one[0] not in self._cgroups and one[0] != MACHINE]
        deep = [place for place in places if place.cgroup.count("/") > LEVELS_MAX]
        if deep:
            self._tell_shortage(f"nothing is sampled below {LEVELS_MAX} levels")
            places = [place for place in places if place not in deep]
        seconds = FAR_SECONDS if MACHINE in self._listened else math.inf
        before = len(self._cgroups)
        for place in places:
            try:
                self._open(place)
            except OSError as error:
                if error.errno in _SHORTAGES:
                    self._tell_shortage(f"{place.cgroup} is not sampled: {error.strerror}")
                    seconds = RETRY_SECONDS
                    break  # what one could not have the next cannot have either
        if closed or len(self._cgroups) > before:
            self._link()
        return seconds

    def _open(self, place: Place) -> None:
        cgroup = _Cgroup(place, self._root)
        self._cgroups[cgroup.path] = self._by_fd[cgroup.alarm_fd] = cgroup
        try:
            self._epoll.register(cgroup.alarm_fd, select.EPOLLPRI)
        except PermissionError:
            # A plain file, which has no alarm.
            cgroup.idle_seconds, cgroup.due = NEAR_SECONDS, -math.inf
            self._awake.add(cgroup)
        except OSError:
            self._close(cgroup)
            raise

    def _close(self, cgroup: _Cgroup) -> None:
        del self._cgroups[cgroup.path], self._by_fd[cgroup.alarm_fd]
        self._awake.discard(cgroup)
        cgroup.close()

    def _tell_shortage(self, what: str) -> None:
        if not self._was_short:
            _log.warning("too many cgroups: %s", what)
        self._was_short = True

    def _link(self) -> None:
        for cgroup in self._cgroups.values():
            cgroup.children, cgroup.parent = [], None
        for cgroup in self._cgroups.values():
            path = cgroup.path
            while path and cgroup.parent is None:
                path = path.rpartition("/")[0]
                cgroup.parent = self._cgroups.get(path)
            if cgroup.parent is not None:
                cgroup.parent.children.append(cgroup)
