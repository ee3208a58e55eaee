# SPDX-License-Identifier: MIT
"""A fake cgroup tree of plain files with the kernel's counters, and a sampler that reads it."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.listeners import Place
from pressurefs.pressure.window import Sample
from pressurefs.sources.cgroup_sampler import CgroupSampler

MEMORY_STAT = "anon 0\npgscan 0\npgscan_kswapd 0\npgscan_direct 0\npgsteal_kswapd 0\npgsteal_direct 0\n"

# Excerpts of the files: the counters that a test sets, between others.
_STAT = """\
anon 4096
file 1703936
pgfault 88
pgscan {scan_all}
pgsteal {steal_all}
pgscan_kswapd {scan_kswapd}
pgscan_direct {scan_direct}
pgscan_khugepaged {scan_khugepaged}
pgscan_proactive {scan_proactive}
pgsteal_kswapd {steal_kswapd}
pgsteal_direct {steal_direct}
pgsteal_khugepaged {steal_khugepaged}
pgsteal_proactive {steal_proactive}
thp_fault_alloc 0
"""
_EVENTS = "low 3\nhigh {high}\nmax {max}\noom {oom}\noom_kill 5\noom_group_kill 0\n"


def make_cgroup(path: Path, stat_text: str = MEMORY_STAT) -> Path:
    """Make a directory that looks like a cgroup with the memory controller."""
    path.mkdir(parents=True)
    (path / "memory.stat").write_text(stat_text)
    return path


def remove_cgroup(path: Path) -> None:
    """Remove a directory with its files in one step, as rmdir(2) removes a cgroup."""
    os.rename(path, path.parent.parent / "removed")
    shutil.rmtree(path.parent.parent / "removed")


class Cgroupfs:
    """Cgroups below a directory.

    ``told_apart``: memory.stat counts direct reclaim, kswapd and the others separately, not only in sum.
    """

    def __init__(self, path: Path, *, told_apart: bool = True) -> None:
        self.path = path
        self._stat = "".join(
            line
            for line in _STAT.splitlines(keepends=True)
            if told_apart or not line.startswith(("pgscan_", "pgsteal_"))
        )
        self._counters: dict[tuple[str, str], defaultdict[str, int]] = {}

    def make(self, *cgroups: str) -> None:
        """Make cgroups, parents first."""
        for cgroup in cgroups:
            (self.path / cgroup.strip("/")).mkdir()
            self.switch_on(cgroup)

    def switch_on(self, cgroup: str) -> None:
        """Give a cgroup its memory controller."""
        for name in ("memory.stat", "memory.events", "memory.events.local"):
            self._counters[cgroup, name] = defaultdict(int)
            self._write(cgroup, name)

    def switch_off(self, cgroup: str) -> None:
        """Remove the files of the memory controller; who has them open can still read them."""
        for file in (self.path / cgroup.strip("/")).iterdir():
            file.unlink()

    def remove(self, cgroup: str) -> None:
        """Remove a cgroup; who has its files open can still read them."""
        self.switch_off(cgroup)
        (self.path / cgroup.strip("/")).rmdir()

    def scan(self, owner: str, scanned: int, reclaimed: int, who: str = "direct") -> None:
        """Count ``owner``'s pages as scanned and reclaimed by ``who``: there and in all ancestors."""
        for cgroup in _upwards(owner):
            counters = self._counters[cgroup, "memory.stat"]
            for what, pages in (("scan", scanned), ("steal", reclaimed)):
                counters[f"{what}_{who}"] += pages
                counters[f"{what}_all"] += pages
            self._write(cgroup, "memory.stat")

    def reach(self, cgroup: str, limit: str = "max", times: int = 1) -> None:
        """Count that a limit of the cgroup was reached: in its own events and in those of all ancestors."""
        self._counters[cgroup, "memory.events.local"][limit] += times
        self._write(cgroup, "memory.events.local")
        for one in _upwards(cgroup):
            self._counters[one, "memory.events"][limit] += times
            self._write(one, "memory.events")

    def _write(self, cgroup: str, name: str) -> None:
        counters = self._counters[cgroup, name]
        template = self._stat if name == "memory.stat" else _EVENTS
        # In place, so that a process that has the file open reads the new content.
        text = template.format_map(counters)
        (self.path / cgroup.strip("/") / name).write_text(text)


def _upwards(cgroup: str) -> Iterator[str]:
    while cgroup:
        yield cgroup
        cgroup = cgroup.rpartition("/")[0]


LOOK_SECONDS = 0.03
TREE = ("/a", "/a/b", "/a/b/c", "/a/d", "/e")


class Sampled:
    """A fake tree, a sampler of some of its cgroups, and a clock."""

    def __init__(self, path: Path, tree: Cgroupfs | None = None) -> None:
        self.tree = tree or Cgroupfs(path)
        if tree is None:
            self.tree.make(*TREE)
        self.root = CgroupRoot(str(path))
        self.sampler = CgroupSampler(self.root)
        self.now = 0.0
        self.is_stalled = False

    def listen_to(self, *cgroups: str) -> None:
        """Sample these cgroups from now on, and read each for the first time."""
        places = (Place(cgroup, self.root.inode_of(cgroup) or 0) for cgroup in cgroups)
        self.sampler.sample_only(frozenset(places))
        assert not self.look()

    def look(self, seconds: float = LOOK_SECONDS) -> list[Sample]:
        """Let time pass, and sample."""
        self.now += seconds
        return self.sampler.read(self.now, is_stalled=self.is_stalled)

    def found(self, seconds: float = LOOK_SECONDS) -> dict[str, tuple[int, int]]:
        """Let time pass, sample, and return the pages scanned and reclaimed by cgroup."""
        samples = self.look(seconds)
        assert all(one.time == self.now for one in samples)
        assert all(one.priority is None for one in samples)
        pages = {one.cgroup: (one.scanned, one.reclaimed) for one in samples}
        assert len(pages) == len(samples)
        return pages

    def close(self) -> None:
        """Close all files."""
        self.sampler.close()
        self.root.close()
