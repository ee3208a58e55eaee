# SPDX-License-Identifier: MIT
"""When the vmstat source asks to be read: early enough for what can happen, and rarely while nothing can."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.sources.memory_files import BUSY_LINGER_SECONDS, BUSY_SECONDS, FAR_SECONDS, NEAR_SECONDS
from pressurefs.sources.vmstat import (
    FILL_BYTES_PER_SECOND,
    WATERMARKS_SECONDS,
    VmstatSource,
    idle_seconds,
)
from tests.support.procfs import ONE_NODE, TWO_NODES, Procfs, zone

# As many pages as can be filled in half a second, on a machine of this size.
HALF_SECOND_PAGES = FILL_BYTES_PER_SECOND // 2 // os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def procfs(tmp_path: Path) -> Procfs:
    procfs = Procfs(tmp_path)
    procfs.set_headroom(HALF_SECOND_PAGES)
    return procfs


def waits(source: VmstatSource, now: float) -> float:
    """Read, and return how long the source then wants to sleep."""
    source.read(now)
    return source.next_read() - now


@pytest.mark.parametrize(
    ("headroom_pages", "page_size", "seconds"),
    [
        (-100_000, 4096, 0.025),
        (0, 4096, 0.025),
        (39_321, 4096, 0.025),
        (786_432, 4096, 0.5),
        (49_152, 65536, 0.5),
        (1_572_863, 4096, 0.9999993642),
        (1_572_864, 4096, 1.0),
        (10**9, 4096, 1.0),
    ],
)
def test_idle_seconds(headroom_pages: int, page_size: int, seconds: float) -> None:
    """An idle machine is left alone for as long as filling its headroom takes, within two bounds."""
    assert idle_seconds(headroom_pages, page_size) == pytest.approx(seconds)


@given(headroom=st.integers(-(2**40), 2**40), more=st.integers(0, 2**40))
def test_more_headroom_is_no_shorter_sleep(headroom: int, more: int) -> None:
    """The sleep stays within its bounds and does not shrink when memory becomes free."""
    shorter, longer = idle_seconds(headroom, 4096), idle_seconds(headroom + more, 4096)
    assert NEAR_SECONDS <= shorter <= longer <= FAR_SECONDS


def test_idle(procfs: Procfs) -> None:
    """If nothing is scanned, the next read is as late as the headroom allows, from the start on."""
    source = VmstatSource(procfs.path)
    source.start(100.0)
    assert source.next_read() == pytest.approx(100.5)
    assert waits(source, 100.4) == pytest.approx(0.5)
    procfs.set_headroom(0)
    assert waits(source, 100.9) == pytest.approx(NEAR_SECONDS)
    source.close()


@pytest.mark.parametrize("counter", ["scan_kswapd", "steal_direct", "stalls"])
def test_busy_and_linger(procfs: Procfs, counter: str) -> None:
    """After scanning, reclaim or a stall the reads are frequent, until a while after the last of these."""
    source = VmstatSource(procfs.path)
    source.start(100.0)
    procfs.add(**{counter: 1})
    assert waits(source, 101.0) == pytest.approx(BUSY_SECONDS)
    assert waits(source, 101.0 + 0.9 * BUSY_LINGER_SECONDS) == pytest.approx(BUSY_SECONDS)
    assert waits(source, 101.0 + 1.1 * BUSY_LINGER_SECONDS) == pytest.approx(0.5)
    source.close()


def test_scanning_that_goes_on_keeps_it_busy(procfs: Procfs) -> None:
    """Each read that finds something starts that while again."""
    source = VmstatSource(procfs.path)
    source.start(0.0)
    for number in range(10):
        procfs.add(scan_direct=32)
        assert waits(source, 1.0 + number * BUSY_LINGER_SECONDS) == pytest.approx(BUSY_SECONDS)
    source.close()


def test_proactive_reclaim_wakes_nobody(procfs: Procfs) -> None:
    """Proactive reclaim does not make the source busy."""
    source = VmstatSource(procfs.path)
    procfs.add(scan_proactive=10_000, steal_proactive=10_000)
    assert waits(source, 1.0) == pytest.approx(0.5)
    source.close()


def test_several_nodes_are_always_near(procfs: Procfs) -> None:
    """On several memory nodes a sum of free pages guarantees nothing: the reads stay frequent."""
    procfs.set_zoneinfo(TWO_NODES)
    source = VmstatSource(procfs.path)
    assert waits(source, 1.0) == pytest.approx(NEAR_SECONDS)
    source.close()


def test_watermarks_are_read_again(procfs: Procfs) -> None:
    """Changed watermarks take effect when their interval has passed, and not before."""
    source = VmstatSource(procfs.path)
    source.start(0.0)
    procfs.set_zoneinfo(ONE_NODE + zone("Normal", HALF_SECOND_PAGES))
    assert waits(source, WATERMARKS_SECONDS - 0.1) == pytest.approx(0.5)
    assert waits(source, WATERMARKS_SECONDS) == pytest.approx(NEAR_SECONDS)
    procfs.set_zoneinfo(ONE_NODE)
    assert waits(source, 2 * WATERMARKS_SECONDS - 0.1) == pytest.approx(NEAR_SECONDS)
    assert waits(source, 2 * WATERMARKS_SECONDS) == pytest.approx(0.5)
    source.close()
