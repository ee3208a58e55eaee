# SPDX-License-Identifier: MIT
"""The vmstat source: reclaim sampled from /proc/vmstat, and from memory.stat for cgroups (sampler.py).

Works anywhere, for any user.

Some facts about sampling:

- pgscan_* and pgsteal_* are counted where the kernel calls vmpressure(), by kswapd, by direct reclaim and by
  khugepaged.  Proactive reclaim has counters of its own and is no pressure.
  Reclaim at a cgroup's limit is in none of these up to Linux 7.0, and in them later; pgscan_anon and
  pgscan_file have all of it on all kernels.  kswapd never works for a limit, and a task that reclaims for the
  machine is counted in allocstall_* first.
- A late reading loses nothing but merges: what happened between two readings is one sample, and at most one
  window.  While pages are scanned, a reading every 2 ms gave a quarter of the kernel's own windows in a
  thrash, every 10 ms a ninth, every 100 ms an eightieth.  A reading costs some 20 us.
- Reclaim cannot begin before the free memory above the low watermarks is used up, and memory can only
  be filled at a bounded rate.  So an idle machine is not read for as long as filling would take.
- The scan priority is not shown.  Without swap an out-of-memory is all but invisible to the ratio: no
  anonymous page is scanned.  The second sign is that allocations stall, nothing is reclaimed and no
  memory is available.
"""

import contextlib
import errno
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.cgroup_limits import LIMIT_SECONDS
from pressurefs.sources.cgroup_sampler import CgroupSampler
from pressurefs.sources.memory_files import (
    BUSY_LINGER_SECONDS,
    BUSY_SECONDS,
    EXHAUSTED_PRIORITY,
    FAR_SECONDS,
    NEAR_SECONDS,
    HeldFile,
)

# No machine fills memory faster: earlyoom's bound, above what two memory channels can zero.
FILL_BYTES_PER_SECOND = 6 * 2**30

# Watermarks change with vm.min_free_kbytes and the like; /proc/zoneinfo costs too much for each reading.
WATERMARKS_SECONDS = 30.0

# MemAvailable below this share of MemTotal is none.  Measured on 512 MB with Linux 6.12: before the OOM
# killer came, stalls met at most 0.9 %; in a thrash beside 75 % of memory held, 8.3 % and more; in a
# streaming read, 79 %.  scripts/machine plays all three.
EXHAUSTED_AVAILABLE_SHARE = 0.02

# The sums by kind of page and by task are read while processors go on counting: less than this is no
# difference.
_DIFFERENCE_PAGES = 2**16

_FREE_PAGES = re.compile(rb"nr_free_pages")
_SCANNED_BY_KSWAPD = re.compile(rb"pgscan_kswapd")
_RECLAIMED_BY_KSWAPD = re.compile(rb"pgsteal_kswapd")
_SCANNED_BY_OTHERS = re.compile(rb"pgscan_(direct|khugepaged)")
_RECLAIMED_BY_OTHERS = re.compile(rb"pgsteal_(direct|khugepaged)")
_STALLS = re.compile(rb"allocstall(_\w+)?")

_SCANNED_BY_WHOM = re.compile(rb"^pgscan_(?:kswapd|direct|khugepaged|proactive) (\d+)$", re.MULTILINE)
_SCANNED_BY_KIND = re.compile(rb"^pgscan_(?:anon|file) (\d+)$", re.MULTILINE)


class Counters(NamedTuple):
    """One reading of /proc/vmstat: pages free, pages and stalled allocations since boot.

    The others are tasks that want memory themselves; on some kernels at the limit of a cgroup, too.
    """

    free_pages: int
    scanned_by_kswapd: int
    reclaimed_by_kswapd: int
    scanned_by_others: int
    reclaimed_by_others: int
    stalls: int


class VmstatFile:
    """/proc/vmstat, held open.  Its lines keep their places while a kernel runs, so their names are
    read once: a reading then parses 14 numbers, 7 us where a dictionary of all took 27.
    """  # noqa: D205

    def __init__(self, path: Path) -> None:
        """Raise SourceUnavailable where there is no such file or it shows no reclaim."""
        self._file = HeldFile.open(path)
        names = [line.partition(b" ")[0] for line in self._file.read().split(b"\n")]
        self._shows_limits_apart = False
        self._places = [
            [(number, len(name) + 1) for number, name in enumerate(names) if wanted.fullmatch(name)]
            for wanted in (
                _FREE_PAGES,
                *(_SCANNED_BY_KSWAPD, _RECLAIMED_BY_KSWAPD),
                *(_SCANNED_BY_OTHERS, _RECLAIMED_BY_OTHERS),
                _STALLS,
            )
        ]
        if not all(self._places):
            self.close()
            raise SourceUnavailable(errno.ENOTSUP, f"{path} shows no reclaim")

    def read(self) -> Counters:
        """Read the counters as of now."""
        lines = self._file.read().split(b"\n")
        return Counters(*(sum(int(lines[number][start:]) for number, start in one) for one in self._places))

    def shows_limits_apart(self) -> bool:
        """Tell whether pages scanned at limits are counted by kind of page and not by task.

        Where it was not, either this kernel shows it both ways or no limit was reached yet.
        """
        if not self._shows_limits_apart:
            text = self._file.read()
            by_kind, by_whom = (
                sum(map(int, names.findall(text))) for names in (_SCANNED_BY_KIND, _SCANNED_BY_WHOM)
            )
            self._shows_limits_apart = by_kind - by_whom > _DIFFERENCE_PAGES
        return self._shows_limits_apart

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def parse_low_watermark_pages(zoneinfo: bytes) -> int | None:
    """Return the sum of the zones' low watermarks; None on a machine with several memory nodes.

    There an allocation that is bound to one node can find that one full while the sum looks well.
    """
    nodes = set(re.findall(rb"^Node (\d+),", zoneinfo, re.MULTILINE))
    if len(nodes) != 1:
        return None
    return sum(int(pages) for pages in re.findall(rb"^ +low +(\d+)$", zoneinfo, re.MULTILINE))


def parse_available_share(meminfo: bytes) -> float:
    """Return MemAvailable as a share of MemTotal."""
    kibibytes = dict(re.findall(rb"^(MemTotal|MemAvailable): +(\d+) kB$", meminfo, re.MULTILINE))
    return int(kibibytes[b"MemAvailable"]) / int(kibibytes[b"MemTotal"])


def idle_seconds(headroom_pages: int, page_size: int) -> float:
    """Return how long no reading is needed while nothing is scanned and this much memory is free."""
    return min(max(headroom_pages * page_size / FILL_BYTES_PER_SECOND, NEAR_SECONDS), FAR_SECONDS)


class VmstatSource:
    """Samples of the whole machine, and of the cgroups that have listeners.  Lives until closed."""

    name = "vmstat"
    limits = "merges windows between two looks, knows no scan priority"
    hears_cgroup_v1 = False

    def __init__(self, proc: Path, cgroups: CgroupRoot | None = None) -> None:
        """Raise SourceUnavailable where ``proc`` has no usable vmstat, zoneinfo or meminfo."""
        self._page_size = os.sysconf("SC_PAGE_SIZE")
        with contextlib.ExitStack() as opened:
            self._vmstat = opened.enter_context(contextlib.closing(VmstatFile(proc / "vmstat")))
            self._zoneinfo = opened.enter_context(contextlib.closing(HeldFile.open(proc / "zoneinfo")))
            self._meminfo = opened.enter_context(contextlib.closing(HeldFile.open(proc / "meminfo")))
            try:
                self.start(0.0)
            except KeyError as error:
                raise SourceUnavailable(errno.ENOTSUP, f"{proc}/meminfo shows no {error}") from None
            opened.pop_all()
        self._cgroups = None if cgroups is None else CgroupSampler(cgroups)
        self.alarm_fd = None if self._cgroups is None else self._cgroups.alarm_fd

    def start(self, now: float) -> None:
        """Begin: the counters of this moment are zero.  All that a reading can need is touched once."""
        self._last = self._vmstat.read()
        self._looked = self._busy_until = now
        self._stalled_at = -math.inf
        self._watermarks_read = now
        self._low_pages = parse_low_watermark_pages(self._zoneinfo.read())
        self._is_exhausted()

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Sample these cgroups beside the machine."""
        if self._cgroups is not None:
            self._cgroups.sample_only(cgroups)

    def read(self, now: float) -> Sequence[Sample]:
        """Return what was scanned since the last reading and, where it shows, the second sign of oom."""
        samples = self._read_machine(now)
        if self._cgroups is None:
            return samples
        return [*samples, *self._cgroups.read(now, is_stalled=self._is_stalled(now))]

    def _read_machine(self, now: float) -> list[Sample]:
        counters, last = self._vmstat.read(), self._last
        self._last, self._looked = counters, now
        # The counters are sums over processors, and one that is just being unplugged may be missing.
        scanned, reclaimed, more_scanned, more_reclaimed, stalls = (
            max(0, one - before) for one, before in zip(counters[1:], last[1:], strict=True)
        )
        if stalls:
            self._stalled_at = now
        if (more_scanned or more_reclaimed) and (self._is_stalled(now) or self._vmstat.shows_limits_apart()):
            scanned += more_scanned
            reclaimed += more_reclaimed
        if not (scanned or reclaimed or stalls):
            return []
        self._busy_until = now + BUSY_LINGER_SECONDS
        samples = []
        if scanned or reclaimed:
            samples.append(Sample(now, MACHINE, scanned, reclaimed))
        if stalls and not reclaimed and self._is_exhausted():
            samples.append(Sample(now, MACHINE, 0, 0, EXHAUSTED_PRIORITY))
        return samples

    def _is_stalled(self, now: float) -> bool:
        return now - self._stalled_at <= LIMIT_SECONDS

    def next_read(self) -> float:
        """Return when to read again: soon while pages are scanned, else as the free memory allows."""
        machine = self._next_reading_of_machine()
        return machine if self._cgroups is None else min(machine, self._cgroups.next_read())

    def _next_reading_of_machine(self) -> float:
        if self._looked < self._busy_until:
            return self._looked + BUSY_SECONDS
        if self._looked - self._watermarks_read >= WATERMARKS_SECONDS:
            self._watermarks_read = self._looked
            self._low_pages = parse_low_watermark_pages(self._zoneinfo.read())
        if self._low_pages is None:
            return self._looked + NEAR_SECONDS
        return self._looked + idle_seconds(self._last.free_pages - self._low_pages, self._page_size)

    def close(self) -> None:
        """Close the files."""
        self._vmstat.close()
        self._zoneinfo.close()
        self._meminfo.close()
        if self._cgroups is not None:
            self._cgroups.close()

    def _is_exhausted(self) -> bool:
        return parse_available_share(self._meminfo.read()) < EXHAUSTED_AVAILABLE_SHARE
