# SPDX-License-Identifier: MIT
"""The event path in C: the same levels and the same listeners as Python's, window by window."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressurefs.events.listeners import Registration
from pressurefs.pressure.levels import MAINLINE, PROFILES, RFC, Level, Mode, Thresholds
from pressurefs.pressure.window import Sample, Window
from pressurefs.signaller.poll import Poller
from tests.support.lanes import leave_out
from tests.support.listeners import CGROUPS, LEVELS, MODES, listener
from tests.unit.events.test_engine import who_hears

try:
    from pressurefs._native import ffi, lib
    from pressurefs.events.fanout import Fanout
except ImportError as missing:
    leave_out("native", str(missing))

W = RFC.window_pages
TOP = 1
# The inode numbers of a tree: the top one is the machine's place, whose number is 0.
BIRTHS = {"/": 0, "/a": 11, "/a/b": 12, "/a/b/c": 13, "/ab": 14, "/d": 15}


class Ring:
    """A ring with an eventfd of its own."""

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.ring = lib.pfs_uring_open()
        assert lib.pfs_uring_tie(self.ring, self.event_fd) == 0

    def count(self) -> int:
        """Return how often it was signalled since the last call."""
        try:
            return os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close both."""
        lib.pfs_uring_close(self.ring)
        os.close(self.event_fd)


@pytest.fixture(scope="module")
def rings() -> Iterator[list[Ring]]:
    """As many rings as the largest test has listeners."""
    opened = [Ring() for _ in range(12)]
    yield opened
    for ring in opened:
        ring.close()


def fanout_of(registrations: list[Registration], thresholds: Thresholds = RFC) -> Fanout:
    fanout = Fanout(TOP, signals_rings=True)
    fanout.tune(thresholds)
    for one in registrations:
        fanout.add(one)
    return fanout


def tell(fanout: Fanout, cgroup: int, listening: int, scanned: int, reclaimed: int) -> tuple[int, Level]:
    """Let a window through as the BPF program would; return its index and level."""
    window = {"cgroup": cgroup, "listening": listening, "scanned": scanned, "reclaimed": reclaimed}
    told = ffi.new("struct pfs_told *")
    lib.pfs_fanout_tell(fanout._fanout, ffi.new("struct pfs_window *", window), told)  # noqa: SLF001
    return told.index_percent, Level(told.level)


def nearest_listening(registrations: list[Registration], cgroup: str) -> int | None:
    """Walk up as the BPF program does: the top directory has a number there, and the machine none."""
    listened = {one.cgroup for one in registrations}
    if cgroup == "/":
        return 0 if "/" in listened else None
    while cgroup != "/":
        if cgroup in listened:
            return BIRTHS[cgroup]
        cgroup = cgroup.rpartition("/")[0] or "/"
    return TOP if "/" in listened else None


@given(
    profile=st.sampled_from(sorted(PROFILES)),
    window=st.integers(1, 2 * W),
    scanned=st.integers(0, 2**31 - 1) | st.integers(0, 4 * W),
    share=st.floats(0, 1.5),
    levels=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
)
def test_levels_are_pythons(profile: str, window: int, scanned: int, share: float, levels: list[int]) -> None:
    """Any full window has the index and the level that Python gives it, in either arithmetic."""
    medium, oom = levels
    thresholds = PROFILES[profile]._replace(window_pages=window, medium=medium, oom=oom)
    scanned = max(scanned, window)
    reclaimed = min(int(scanned * share), 2**31 - 1)
    verdict = Window().add(Sample(0.0, "/", scanned, reclaimed), thresholds)
    assert verdict is not None
    told = tell(fanout_of([], thresholds), 0, 0, scanned, reclaimed)
    assert told == (verdict.index_percent, verdict.level)


@pytest.mark.parametrize("thresholds", [RFC, MAINLINE])
def test_nothing_scanned(thresholds: Thresholds) -> None:
    """A window without a page, which a worker that came twice could tell of, is low."""
    assert tell(fanout_of([], thresholds), 0, 0, 0, 0) == (0, Level.LOW)


@settings(max_examples=300)
@given(
    wishes=st.lists(st.tuples(CGROUPS, LEVELS, MODES), max_size=12),
    ended=st.sets(st.integers(0, 11)),
    cgroup=CGROUPS,
    level=LEVELS,
)
def test_walk_is_the_kernels(
    rings: list[Ring], wishes: list[tuple[str, Level, Mode]], ended: set[int], cgroup: str, level: Level
) -> None:
    """Whoever came, in whatever order, and whoever ended: those hear whom the kernel signals, no other."""
    registrations = [
        listener(token, *wish)._replace(handle=rings[token].ring, birth=BIRTHS[wish[0]])
        for token, wish in enumerate(wishes)
    ]
    fanout = fanout_of(registrations)
    for one in registrations:
        if one.token in ended:
            fanout.drop(one)
    living = [one for one in registrations if one.token not in ended]
    listening = nearest_listening(living, cgroup)
    if listening is not None:
        reclaimed = {Level.LOW: W, Level.MEDIUM: W // 5, Level.OOM: 0}[level]
        assert tell(fanout, BIRTHS[cgroup], listening, W, reclaimed)[1] == level
    counts = [ring.count() for ring in rings]
    assert {token for token, count in enumerate(counts) if count} == who_hears(living, cgroup, level)
    assert max(counts, default=0) <= 1


def test_who_is_told_by_python(rings: list[Ring]) -> None:
    """An open file that is polled is left to Python, and counts as one that heard."""
    polled = listener(1, "/a")._replace(handle=Poller(lambda _: None), birth=11)
    above = listener(2, "/")._replace(handle=rings[0].ring)
    fanout = fanout_of([polled, above])
    assert not fanout.tells(polled)
    assert fanout.tells(above)
    tell(fanout, 11, 11, W, 0)
    assert rings[0].count() == 0
    fanout.drop(polled)
    tell(fanout, 11, TOP, W, 0)
    assert rings[0].count() == 1


def test_cgroup_made_again(rings: list[Ring]) -> None:
    """Of two cgroups that had one name each hears its own windows; what is below follows the younger."""
    old = listener(1, "/a", mode=Mode.LOCAL)._replace(handle=rings[0].ring, birth=11)
    new = listener(2, "/a", mode=Mode.HIERARCHY)._replace(handle=rings[1].ring, birth=21)
    below = listener(3, "/a/b")._replace(handle=rings[2].ring, birth=12)
    fanout = fanout_of([old, below, new])
    for cgroup in (11, 21, 12):
        tell(fanout, cgroup, cgroup, W, W)
    assert [ring.count() for ring in rings[:3]] == [1, 2, 1]
    fanout.drop(new)
    tell(fanout, 12, 12, W, W)
    assert [ring.count() for ring in rings[:3]] == [0, 0, 1]
