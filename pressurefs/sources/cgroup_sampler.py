# SPDX-License-Identifier: MIT
"""The cgroups that are sampled: which are open, and when each is read.

cgroup_limits has what a reading finds, and the facts about the files.
"""

import itertools
import logging
import math
import resource
import select
import time

from pressurefs.cgroups.paths import MACHINE, upwards
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.errors import SHORTAGES
from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample
from pressurefs.sources.cgroup_limits import FILES, CgroupLook, SampledCgroup
from pressurefs.sources.memory_files import FAR_SECONDS, NEAR_SECONDS

_log = logging.getLogger("pressurefs.sampler")

# Deeper nesting only occurs as an attack on the walk upwards; cgroup v2 allows any number.
LEVELS_MAX = 128

# A cgroup that could not be opened, for want of descriptors, watches or memory or because it has no files at
# the moment, is tried again after this time.
RETRY_SECONDS = 1.0

# When the memory controller is switched off the files go, and their alarm with them, while the cgroup stays.
# This is how often each is checked: one epoll_ctl(2).
ASK_SECONDS = 10.0

# To list the cgroups right below the top takes 1.4 ms where there are 2,000.  The longer it takes the less
# often they are listed, to stay at this share of one core.
LISTING_CORE_SHARE = 0.0005

# Cgroups right below the top may take this share of our descriptors, for listeners at the top.
_DESCRIPTORS_SHARE = 0.5


class CgroupSampler:
    """Samples of the cgroups that have listeners.  Lives until closed.

    For the listeners at the top that want to hear of limits below, the cgroups right below the top are
    sampled, each under its own name.
    """

    def __init__(self, root: CgroupRoot) -> None:
        self._root = root
        self._epoll = select.epoll()
        self._listened: dict[str, int] = {}
        self._below_top: dict[str, int] = {}
        self._cgroups: dict[str, SampledCgroup] = {}
        self._by_fd: dict[int, SampledCgroup] = {}
        self._awake: set[SampledCgroup] = set()
        self._open_at = math.inf  # when to check again which cgroups are to be open
        self._ask_at = -math.inf
        self._list_seconds = FAR_SECONDS  # between two listings of those right below the top
        self._was_short = False
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._below_top_max = int(soft * _DESCRIPTORS_SHARE) // len(FILES)

    @property
    def alarm_fd(self) -> int:
        """A descriptor that is readable when a limit was reached."""
        return self._epoll.fileno()

    def sample_only(self, listened: frozenset[Place]) -> None:
        """Sample these cgroups and no others; "/" stands for limits anywhere below the top."""
        # Of two by the same name the one that was made later lives.
        self._listened = dict(sorted(listened))
        # The first reading, which knows the time, sets when the next is due.
        self._open_at = math.inf if self._hold_open() == math.inf else -math.inf

    def read(self, now: float, *, is_stalled: bool) -> list[Sample]:
        """Read the cgroups that are due; return what was scanned at their limits.

        ``is_stalled``: the machine's own reclaim, too, has made allocations wait within LIMIT_SECONDS.
        """
        if now >= self._open_at:
            self._open_at = now + self._hold_open()
        if now >= self._ask_at:
            self._ask_at = now + ASK_SECONDS
            self._ask()
        due = {self._by_fd[fd] for fd, _ in self._epoll.poll(0)}
        due.update(cgroup for cgroup in self._awake if cgroup.due <= now)
        if not due:
            return []
        look = CgroupLook(now, due, is_stalled=is_stalled)
        look.run()
        for cgroup in look.looked:
            (self._awake.discard if cgroup.due == math.inf else self._awake.add)(cgroup)
        for cgroup in look.gone:
            self._close(cgroup)
        if look.gone:
            self._link()
            self._open_at = min(self._open_at, now + RETRY_SECONDS)
        return look.samples

    def next_read(self) -> float:
        """Return when a reading is due, infinity where the alarm is to be waited for."""
        return min(self._open_at, min((cgroup.due for cgroup in self._awake), default=math.inf))

    def close(self) -> None:
        """Close all files."""
        for cgroup in list(self._cgroups.values()):
            self._close(cgroup)
        self._epoll.close()

    def _list_below_top(self) -> dict[str, int]:
        if MACHINE not in self._listened:
            return {}
        began = time.thread_time()
        try:
            children = sorted(self._root.children(MACHINE))
        except OSError as error:
            self._tell_shortage(f"those below the top cannot be listed: {error.strerror}")
            return self._below_top
        self._list_seconds = max(FAR_SECONDS, (time.thread_time() - began) / LISTING_CORE_SHARE)
        if len(children) > self._below_top_max:
            self._tell_shortage(f"listeners at the top hear only {self._below_top_max} of {len(children)}")
        self._below_top = {MACHINE + name: inode for name, inode in children[: self._below_top_max]}
        return self._below_top

    def _hold_open(self) -> float:
        """Open the cgroups that are to be sampled, close the others; return after how long to check again."""
        wanted = self._list_below_top() | self._listened
        closed = [one for one in self._cgroups.values() if wanted.get(one.path) != one.birth]
        for cgroup in closed:
            self._close(cgroup)
        places = [Place(*one) for one in wanted.items() if one[0] not in self._cgroups and one[0] != MACHINE]
        deep = [place for place in places if place.cgroup.count("/") > LEVELS_MAX]
        if deep:
            self._tell_shortage(f"nothing is sampled below {LEVELS_MAX} levels")
            places = [place for place in places if place not in deep]
        seconds = self._list_seconds if MACHINE in self._listened else math.inf
        before = len(self._cgroups)
        for place in places:
            try:
                self._open(place)
            except OSError as error:
                if error.errno in SHORTAGES:
                    self._tell_shortage(f"{place.cgroup} is not sampled: {error.strerror}")
                    seconds = RETRY_SECONDS
                    break  # the next would meet the same shortage
                if place.cgroup in self._listened:
                    seconds = RETRY_SECONDS
        if closed or len(self._cgroups) > before:
            self._link()
        return seconds

    def _open(self, place: Place) -> None:
        cgroup = SampledCgroup(place, self._root)
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

    def _ask(self) -> None:
        """Make the alarm of each cgroup ring whose files are gone."""
        for cgroup in self._cgroups.values():
            if cgroup.idle_seconds == math.inf:
                self._epoll.modify(cgroup.alarm_fd, select.EPOLLPRI)

    def _close(self, cgroup: SampledCgroup) -> None:
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
            above = (self._cgroups.get(path) for path in itertools.islice(upwards(cgroup.path), 1, None))
            cgroup.parent = next(filter(None, above), None)
            if cgroup.parent is not None:
                cgroup.parent.children.append(cgroup)
