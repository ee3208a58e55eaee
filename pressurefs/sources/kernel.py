# SPDX-License-Identifier: MIT
"""The kernel's own numbers: the arguments of its vmpressure(), read by a BPF program.

The events do not come through here: the program's full windows enter the event path in C.  This source
attaches the program, and watches whether all of the machine's reclaim comes by.

Where the kernel has no vmpressure() its tracepoints serve, which do not say for which cgroup pages were
scanned.  Then limits of cgroups are sampled, as by the source vmstat.
"""

from __future__ import annotations

import errno
import math
import re
import select
from typing import TYPE_CHECKING, Self

from pressurefs.sources import SourceUnavailable
from pressurefs.sources.bpf_program import OWN, TRACEPOINTS, WORKER, VmpressureProgram
from pressurefs.sources.cgroup_sampler import CgroupSampler
from pressurefs.sources.vmstat import VmstatFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pressurefs.cgroups.tree import CgroupRoot
    from pressurefs.events.event_path import EventPath
    from pressurefs.events.listeners import Place
    from pressurefs.pressure.window import Sample
    from pressurefs.sources.origin import Origin

# After windows were judged Python reads again this much later, for all that came meanwhile: history and dead
# listeners can wait that long, and under pressure its turns are better left to others.
BATCH_SECONDS = 0.02

# How often it is checked whether all of the machine's reclaim comes by.  If kswapd, which works for the
# machine alone, has scanned this much and nothing was counted, this kernel reclaims in an unknown way.
WATCH_SECONDS = 5.0
WATCH_PAGES = 2**14
_WATCHES = 2  # in a row: one pass of kswapd, which is counted at its end, can last longer than one watch

_LIMITS = {
    OWN: "none",
    WORKER: "merges windows as the kernel's worker does; the window and the priority are the kernel's own",
    TRACEPOINTS: "by tracepoints the machine's reclaim alone is heard; limits of cgroups are sampled",
}
_NO_PRIORITY = "this kernel tells no scan priority: without swap, running out of memory may not show"
_CGROUP_FILESYSTEMS = ("cgroup2", "cgroup")


class KernelSource:
    """Windows as the kernel fills them.  Lives until closed."""

    name = "kernel"

    @classmethod
    def from_arguments(cls, origin: Origin, arguments: str) -> Self:
        """Open ``windows=own|worker|tracepoints``, own where nothing is said; SourceUnavailable."""
        key, _, windows = (arguments or f"windows={OWN}").partition("=")
        if key != "windows":
            raise SourceUnavailable(errno.EINVAL, f"kernel:{arguments}: only windows= is known")
        if origin.event_path is None:
            raise SourceUnavailable(errno.ENOTSUP, "the compiled module is missing")
        return cls(origin.event_path, origin.roots.proc, origin.cgroups, windows)

    def __init__(
        self, event_path: EventPath, proc: Path, cgroups: CgroupRoot | None = None, windows: str = OWN
    ) -> None:
        """Raise SourceUnavailable where this kernel, or whoever set it up, does not allow it."""
        if windows not in _LIMITS:
            raise SourceUnavailable(errno.EINVAL, f"windows are {', '.join(_LIMITS)}, not {windows!r}")
        if windows == WORKER and not _is_cgroup_v1(proc):
            why = "the kernel's worker runs only where cgroup v1 has the memory controller"
            raise SourceUnavailable(errno.ENOTSUP, why)
        if cgroups is not None and cgroups.filesystem not in _CGROUP_FILESYSTEMS:
            raise SourceUnavailable(errno.ENOTSUP, "the cgroup tree is a plain directory, not the kernel's")
        self._vmstat = VmstatFile(proc / "vmstat")
        try:
            self._program = VmpressureProgram(event_path, windows)
        except OSError:
            self._vmstat.close()
            raise
        windows = self._program.windows
        self.hears_cgroup_v1 = windows != TRACEPOINTS
        self.limits = _LIMITS[windows] if self._program.knows_priority else _NO_PRIORITY
        if self._program.why_not_all is not None:
            self.limits += f"; not all could be attached: {self._program.why_not_all}"
        self._judged_at = -math.inf
        self._is_watched = windows != WORKER  # what the kernel's worker leaves out is left out
        self._sampler = CgroupSampler(cgroups) if windows == TRACEPOINTS and cgroups is not None else None
        self._alarm = select.epoll()
        self._alarm.register(self._program.reader.told_fd, select.EPOLLIN)
        if self._sampler is not None:
            self._alarm.register(self._sampler.alarm_fd, select.EPOLLIN)
        self.start(0.0)

    @property
    def alarm_fd(self) -> int | None:
        """Readable when windows were judged or a cgroup is to be sampled; None while that can wait."""
        return None if self._judged_at > -math.inf else self._alarm.fileno()

    def start(self, now: float) -> None:
        """Begin: what the kernel has scanned before counts for nothing."""
        self._watched = now
        self._missed = 0
        self._counted, self._scanned = self._program.machine_pages(), self._vmstat.read().scanned_by_kswapd

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Sample these where the program does not say whose limit was reached."""
        if self._sampler is not None:
            self._sampler.sample_only(cgroups)

    def read(self, now: float) -> Sequence[Sample]:
        """Return what had to be sampled since the last reading; OSError where not all reclaim comes by."""
        self._judged_at = now if self._program.reader.was_told() else -math.inf
        if self._is_watched and now - self._watched >= WATCH_SECONDS:
            self._watch(now)
        return [] if self._sampler is None else self._sampler.read(now, is_stalled=False)

    def next_read(self) -> float:
        """Return when to read without an alarm."""
        watch = self._watched + WATCH_SECONDS if self._is_watched else math.inf
        batch = math.inf if self._judged_at == -math.inf else self._judged_at + BATCH_SECONDS
        sampling = math.inf if self._sampler is None else self._sampler.next_read()
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


def _is_cgroup_v1(proc: Path) -> bool:
    """Tell whether the memory controller is in a hierarchy of cgroup v1; those of v2 have number 0."""
    try:
        rows = (proc / "cgroups").read_text()
    except OSError:
        return False
    return re.search(r"^memory\t[1-9]", rows, re.MULTILINE) is not None
