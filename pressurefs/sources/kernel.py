"""The kernel's own numbers: what its vmpressure() is told, heard by a BPF program.

The events do not come through here: fanout.c judges a full window and tells the eventfds.  What this source
reads are verdicts that were told already, for history and for those whom only Python can tell.

Where the kernel has no vmpressure() its tracepoints serve, which do not say for which cgroup pages were
scanned.  Then limits of cgroups are sampled, as by the source vmstat.
"""

import errno
import math
import re
import select
from collections.abc import Sequence
from pathlib import Path

from pressurefs.cgroups.paths import BELOW, MACHINE
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.fanout import Fanout, Told
from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.bpf_program import OWN, TRACEPOINTS, WORKER, VmpressureProgram
from pressurefs.sources.cgroup_sampler import CgroupSampler
from pressurefs.sources.vmstat import VmstatFile

# After something was told Python looks again so much later, for all that came meanwhile: those whom it has
# to tell can wait so long, and under pressure its turns are better left to others.
BATCH_SECONDS = 0.02

# So often it is looked whether all of the machine's reclaim comes by.  If kswapd, which works for nobody
# else, has scanned this much and nothing was counted, this kernel reclaims in a way that we do not know.
WATCH_SECONDS = 5.0
WATCH_PAGES = 2**14
_WATCHES = 2  # in a row: one pass of kswapd, which tells at its end, may last longer than one watch

_LIMITS = {
    OWN: "none",
    WORKER: "merges windows as the kernel's worker does; the window and the priority are the kernel's own",
    TRACEPOINTS: "by tracepoints the machine's reclaim alone is heard; limits of cgroups are sampled",
}
_NO_PRIORITY = "this kernel tells no scan priority: without swap, running out of memory may not show"
_CGROUP_FILESYSTEMS = ("cgroup2", "cgroup")
_REMEMBERED_PATHS_MAX = 4096


class KernelSource:
    """Windows as the kernel fills them, told already.  Lives until closed."""

    name = "kernel"

    def __init__(
        self, fanout: Fanout, proc: Path, cgroups: CgroupRoot | None = None, windows: str = OWN
    ) -> None:
        """Raise SourceUnavailable where this kernel, or whoever set it up, does not allow it."""
        if windows not in _LIMITS:
            raise SourceUnavailable(errno.EINVAL, f"windows are {', '.join(_LIMITS)}, not {windows!r}")
        if windows == WORKER and not _is_cgroup_v1(proc):
            why = "the kernel's worker runs only where cgroup v1 has the memory controller"
            raise SourceUnavailable(errno.ENOTSUP, why)
        if cgroups is not None and cgroups.filesystem not in _CGROUP_FILESYSTEMS:
            raise SourceUnavailable(errno.ENOTSUP, "the cgroup tree is a plain directory, not the kernel's")
        self._cgroups = cgroups
        self._fanout = fanout
        self._paths: dict[int, str | None] = {}
        self._vmstat = VmstatFile(proc / "vmstat")
        try:
            self._program = VmpressureProgram(fanout, windows)
        except OSError:
            self._vmstat.close()
            raise
        windows = self._program.windows
        self.limits = _LIMITS[windows] if self._program.knows_priority else _NO_PRIORITY
        if self._program.why_not_all is not None:
            self.limits += f"; not all could be attached: {self._program.why_not_all}"
        self._told_at = -math.inf
        self._is_watched = windows != WORKER  # what the kernel's worker leaves out is left out
        self._sampler = CgroupSampler(cgroups) if windows == TRACEPOINTS and cgroups is not None else None
        self._alarm = select.epoll()
        self._alarm.register(self._program.reader.told_fd, select.EPOLLIN)
        if self._sampler is not None:
            self._alarm.register(self._sampler.alarm_fd, select.EPOLLIN)
        self.start(0.0)

    @property
    def alarm_fd(self) -> int | None:
        """Readable when something was told or is to be sampled; None while that can wait."""
        return None if self._told_at > -math.inf else self._alarm.fileno()

    def start(self, now: float) -> None:
        """Begin: what the kernel has scanned before counts for nothing."""
        self._watched = now
        self._missed = 0
        self._counted, self._scanned = self._program.machine_pages(), self._vmstat.read().scanned_by_kswapd

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Sample these, where they must be; the fan-out has told the program who listens."""
        if self._sampler is not None:
            self._sampler.sample_only(cgroups)

    def read(self, now: float) -> Sequence[Sample | Verdict]:
        """Return what was told since the last look, oldest first; OSError where not all is told."""
        told = [self._seen(one) for one in self._program.reader.take()]
        self._told_at = now if told else -math.inf
        if self._is_watched and now - self._watched >= WATCH_SECONDS:
            self._watch(now)
        return told if self._sampler is None else [*told, *self._sampler.read(now, is_stalled=False)]

    def next_look(self) -> float:
        """Return when to look without an alarm."""
        watch = self._watched + WATCH_SECONDS if self._is_watched else math.inf
        batch = math.inf if self._told_at == -math.inf else self._told_at + BATCH_SECONDS
        sampling = math.inf if self._sampler is None else self._sampler.next_look()
        return min(watch, batch, sampling)

    def close(self) -> None:
        """Detach the program."""
        self._alarm.close()
        if self._sampler is not None:
            self._sampler.close()
        self._program.close()
        self._vmstat.close()

    def _watch(self, now: float) -> None:
        counted, scanned, missed = self._counted, self._scanned, self._missed
        self.start(now)
        if self._counted == counted and self._scanned - scanned > WATCH_PAGES:
            self._missed = missed + 1
        if self._missed == _WATCHES:
            raise SourceUnavailable(errno.ENODATA, "kswapd scans, and vmpressure() is not told")

    def _seen(self, told: Told) -> Sample | Verdict:
        """Return what was told as a verdict; as a sample, for Python to judge and to tell, what was not."""
        path = self._path(told)
        if not told.is_told:
            return Sample(told.time, path, told.scanned - told.injected, told.reclaimed, told.priority)
        pages = told.scanned, told.reclaimed, told.priority
        return Verdict(told.time, path, *pages, told.index_percent, told.level, told.injected)

    def _path(self, told: Told) -> str:
        """Return the target's path; that of who listens, marked, where it has gone meanwhile."""
        if not told.cgroup:
            return MACHINE
        path = self._fanout.path_of(told.cgroup)
        if path is None and self._cgroups is not None:
            if len(self._paths) >= _REMEMBERED_PATHS_MAX:
                self._paths.clear()
            if told.cgroup not in self._paths:
                self._paths[told.cgroup] = self._cgroups.path_of(told.cgroup)
            path = self._paths[told.cgroup]
        return path or (self._fanout.path_of(told.listening) or MACHINE) + BELOW


def _is_cgroup_v1(proc: Path) -> bool:
    """Tell whether the memory controller is in a hierarchy of cgroup v1; those of v2 have number 0."""
    try:
        rows = (proc / "cgroups").read_text()
    except OSError:
        return False
    return re.search(r"^memory\t[1-9]", rows, re.MULTILINE) is not None
