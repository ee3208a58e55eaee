# SPDX-License-Identifier: MIT
"""The vmstat source's numbers: what in /proc/vmstat is pressure, and when memory has run out."""

import errno
import os
import time
from pathlib import Path

import pytest

from pressurefs.pressure.levels import Level
from pressurefs.pressure.window import Sample
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.cgroup_limits import LIMIT_SECONDS
from pressurefs.sources.memory_files import BUSY_SECONDS, EXHAUSTED_PRIORITY
from pressurefs.sources.origin import Origin, Roots
from pressurefs.sources.selection import Selection
from pressurefs.sources.vmstat import (
    EXHAUSTED_AVAILABLE_SHARE,
    Counters,
    VmstatFile,
    VmstatSource,
    parse_available_share,
    parse_low_watermark_pages,
)
from tests.support.procfs import LOW_WATERMARK_PAGES, ONE_NODE, TWO_NODES, Procfs
from tests.support.verdicts import judge


@pytest.fixture
def procfs(tmp_path: Path) -> Procfs:
    return Procfs(tmp_path)


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


def test_counters(procfs: Procfs) -> None:
    """Free pages, kswapd's reclaim, the sum of direct reclaim and khugepaged's, and all stalls are read."""
    file = VmstatFile(procfs.path / "vmstat")
    procfs.add(scan_direct=2, steal_khugepaged=1, stalls=3)
    assert file.read() == Counters(1_000_000, 1000, 1000, 2002, 2001, stalls=3 + 10 + 11)
    file.close()


@pytest.mark.parametrize("who", ["kswapd", "direct", "khugepaged"])
def test_pressure_of_each_origin(procfs: Procfs, who: str) -> None:
    """What was scanned and reclaimed since the last read is one sample of the machine."""
    source = VmstatSource(procfs.path)
    source.start(5.0)
    procfs.add(**{f"scan_{who}": 640, f"steal_{who}": 41})
    assert source.read(5.5) == [Sample(5.5, "/", 640, 41)]
    assert not source.read(5.6)
    source.close()


@pytest.mark.parametrize(
    "counter",
    [*(f"{what}_{who}" for what in ("scan", "steal") for who in ("proactive", "anon", "file")), "throttle"],
)
def test_what_is_no_pressure(procfs: Procfs, counter: str) -> None:
    """Proactive reclaim, counters by kind of page, and throttled tasks do not count."""
    source = VmstatSource(procfs.path)
    procfs.add(**{counter: 100_000})
    assert not source.read(1.0)
    source.close()


def test_kernel_that_counts_limits_too(procfs: Procfs) -> None:
    """If counters may include reclaim at limits, reclaim by others than kswapd counts only with a stall."""
    procfs.counters["scan_file"] = 3000
    procfs.add()
    source = VmstatSource(procfs.path)
    at_limit = {"scan_direct": 640, "steal_direct": 640, "scan_file": 640, "steal_file": 640}
    procfs.add(**at_limit)
    assert not source.read(1.0)
    assert source.next_read() > 1.0 + BUSY_SECONDS
    procfs.add(**at_limit, scan_kswapd=50, steal_kswapd=40)
    assert source.read(2.0) == [Sample(2.0, "/", 50, 40)]
    procfs.add(**at_limit, stalls=1)
    assert source.read(3.0) == [Sample(3.0, "/", 640, 640)]
    procfs.add(**at_limit)
    assert source.read(3.0 + LIMIT_SECONDS) == [Sample(3.0 + LIMIT_SECONDS, "/", 640, 640)]
    procfs.add(**at_limit)
    assert not source.read(3.1 + LIMIT_SECONDS)
    source.close()


def test_kernel_that_shows_limits_apart(procfs: Procfs) -> None:
    """Once a limit is seen to count only by kind of page, all direct reclaim counts for the machine."""
    procfs.counters["scan_file"] = 3000
    procfs.add()
    source = VmstatSource(procfs.path)
    procfs.add(scan_file=60_000)
    procfs.add(scan_direct=1, scan_file=1)
    assert not source.read(1.0)
    procfs.add(scan_anon=10_000)
    procfs.add(scan_direct=1, scan_file=1)
    assert source.read(2.0) == [Sample(2.0, "/", 1, 0)]
    source.close()


def test_what_was_before_the_start_counts_for_nothing(procfs: Procfs) -> None:
    """Counting begins at the start, whatever happened since the file was opened."""
    source = VmstatSource(procfs.path)
    procfs.add(scan_kswapd=5000)
    source.start(1.0)
    assert not source.read(1.1)
    source.close()


@pytest.mark.parametrize("left_out", ["khugepaged", "proactive", "nr_free_pages_blocks", "allocstall_dma3"])
def test_counters_that_not_every_kernel_has(tmp_path: Path, left_out: str) -> None:
    """A kernel without counters of khugepaged or proactive reclaim, or with fewer zones, is read, too."""
    procfs = Procfs(tmp_path, leave_out=left_out)
    source = VmstatSource(procfs.path)
    procfs.add(scan_direct=700, steal_kswapd=300, stalls=1)
    assert source.read(1.0) == [Sample(1.0, "/", 700, 300)]
    source.close()


def look(procfs: Procfs, available: int, **rises: int) -> list[Sample]:
    """Return what one read gives if so many of 1,000,000 kB are available and counters rose."""
    source = VmstatSource(procfs.path)
    procfs.set_available(total=1_000_000, available=available)
    procfs.add(**rises)
    samples = list(source.read(1.0))
    source.close()
    return samples


@pytest.mark.parametrize("scanned", [0, 300])
@pytest.mark.parametrize("available", [0, 19_999])
def test_second_sign_of_oom(procfs: Procfs, scanned: int, available: int) -> None:
    """Stalls rose, nothing was reclaimed and less than 2 percent is available: a sample of priority 0."""
    assert EXHAUSTED_AVAILABLE_SHARE == 0.02
    ratio = [Sample(1.0, "/", scanned, 0)] if scanned else []
    exhausted = Sample(1.0, "/", 0, 0, EXHAUSTED_PRIORITY)
    assert look(procfs, available, stalls=1, scan_direct=scanned) == [*ratio, exhausted]


@pytest.mark.parametrize(
    ("stalls", "reclaimed", "available"),
    [(0, 0, 0), (1, 1, 0), (1, 0, 20_000), (1, 1, 20_000), (0, 1, 0), (0, 0, 20_000), (0, 1, 20_000)],
)
def test_two_of_three_are_no_sign(procfs: Procfs, stalls: int, reclaimed: int, available: int) -> None:
    """If one of the three conditions is missing, there is the ratio, and no priority."""
    samples = look(procfs, available, stalls=stalls, steal_direct=reclaimed, scan_direct=300)
    assert samples == [Sample(1.0, "/", 300, reclaimed)]


def test_second_sign_is_oom(procfs: Procfs) -> None:
    """A machine that scans nothing, stalls and has no memory left is judged oom."""
    source = VmstatSource(procfs.path)
    procfs.set_available(total=1_000_000, available=100)
    procfs.add(stalls=1)
    assert [verdict.level for verdict in judge(source.read(1.0))] == [Level.OOM]
    source.close()


def test_low_watermark_pages() -> None:
    """The zones' low watermarks are summed, without the lines of the same name in pagesets."""
    assert parse_low_watermark_pages(ONE_NODE.encode()) == LOW_WATERMARK_PAGES


@pytest.mark.parametrize("text", [TWO_NODES, ""], ids=["two nodes", "empty"])
def test_no_sum_of_watermarks(text: str) -> None:
    """Several memory nodes, or none, have no sum of watermarks that guarantees anything."""
    assert parse_low_watermark_pages(text.encode()) is None


def test_available_share() -> None:
    """MemAvailable is returned as a share of MemTotal."""
    text = "MemTotal:  8000 kB\nMemFree:  7 kB\nMemAvailable:    2000 kB\nHugePages_Total: 0\n"
    assert parse_available_share(text.encode()) == 0.25


@pytest.mark.parametrize("name", ["vmstat", "zoneinfo", "meminfo"])
def test_missing_file(procfs: Procfs, name: str) -> None:
    """If one of its three files is missing, the source is unavailable, names it, and leaves none open."""
    (procfs.path / name).unlink()
    before = descriptors()
    with pytest.raises(SourceUnavailable, match=name):
        VmstatSource(procfs.path)
    assert descriptors() == before


@pytest.mark.parametrize("left_out", ["pgscan_", "pgsteal_", "allocstall", "nr_free_pages"])
def test_vmstat_without_reclaim(tmp_path: Path, left_out: str) -> None:
    """A vmstat without the counters of every kernel with reclaim makes the source unavailable: ENOTSUP."""
    procfs = Procfs(tmp_path, leave_out=left_out)
    before = descriptors()
    with pytest.raises(SourceUnavailable, match="shows no reclaim") as refused:
        VmstatSource(procfs.path)
    assert refused.value.errno == errno.ENOTSUP
    assert descriptors() == before


@pytest.mark.parametrize("row", ["MemTotal", "MemAvailable"])
def test_meminfo_without_a_row(procfs: Procfs, row: str) -> None:
    """A meminfo without MemTotal or MemAvailable makes the source unavailable, and leaves no file open."""
    path = procfs.path / "meminfo"
    path.write_text(path.read_text().replace(row, "Mem"))
    before = descriptors()
    with pytest.raises(SourceUnavailable, match=row):
        VmstatSource(procfs.path)
    assert descriptors() == before


def test_this_machine() -> None:
    """This machine's own /proc gives samples without negative pages, and a time for the next read."""
    before = descriptors()
    source = Selection("auto", Origin(Roots(Path("/proc")))).source
    began = time.monotonic()
    source.start(began)
    now = time.monotonic()
    for sample in source.read(now):
        assert (sample.time, sample.cgroup) == (now, "/")
        assert min(sample.scanned, sample.reclaimed) >= 0
    look = source.next_read()
    assert look is not None
    assert now < look <= now + 1.0
    source.close()
    assert descriptors() == before
