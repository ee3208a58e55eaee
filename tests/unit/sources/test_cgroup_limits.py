# SPDX-License-Identifier: MIT
"""Which reclaim belongs to which limit, by memory.stat and memory.events of a tree of cgroups."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs.pressure.levels import Level
from pressurefs.pressure.window import Sample
from pressurefs.sources.cgroup_limits import LATE_SECONDS, LIMIT_SECONDS
from pressurefs.sources.memory_files import EXHAUSTED_PRIORITY
from tests.support.cgroupfs import LOOK_SECONDS, Cgroupfs, Sampled
from tests.support.verdicts import judge


@pytest.fixture
def sampled(tmp_path: Path) -> Iterator[Sampled]:
    before = os.listdir("/proc/self/fd")
    sampled = Sampled(tmp_path)
    yield sampled
    sampled.close()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("listened", "limited", "owner", "found"),
    [
        # one listener: the limit is its own, one below, one above, or of another branch
        ("/a", "/a", "/a", "/a"),
        ("/a", "/a", "/a/b", "/a"),
        ("/a", "/a/b", "/a/b", "/a/"),
        ("/a", "/a/b/c", "/a/b/c", "/a/"),
        ("/a/b", "/a", "/a/b", ""),
        ("/a/b", "/a", "/a/d", ""),
        ("/a/b", "/a/d", "/a/d", ""),
        ("/a", "/e", "/e", ""),
        # listeners at child and parent: counted once, where the limit is
        ("/a /a/b", "/a/b", "/a/b", "/a/b"),
        ("/a /a/b", "/a", "/a/b", "/a"),
        ("/a /a/b", "/a", "/a", "/a"),
        ("/a /a/b", "/a/d", "/a/d", "/a/"),
        ("/a /a/b", "/a/b/c", "/a/b/c", "/a/b/"),
        ("/a /a/b/c", "/a/b", "/a/b/c", "/a/"),
        ("/a /a/b/c", "/a/b/c", "/a/b/c", "/a/b/c"),
        ("/a /a/b /a/b/c", "/a/b", "/a/b/c", "/a/b"),
        ("/a/b /a/d", "/a/d", "/a/d", "/a/d"),
        # a listener at the top: the cgroups directly below it, by name
        ("/", "/a", "/a", "/a"),
        ("/", "/a/b", "/a/b", "/a/"),
        ("/", "/e", "/e", "/e"),
        ("/ /a/b", "/a/b", "/a/b", "/a/b"),
        ("/ /a/b", "/a/d", "/a/d", "/a/"),
        # global reclaim
        ("/ /a /a/b", "", "/a/b", ""),
    ],
)
def test_whose_it_is(sampled: Sampled, listened: str, limited: str, owner: str, found: str) -> None:
    """Pages count once: for the cgroup whose limit was reached, or unnamed below the nearest listener."""
    sampled.listen_to(*listened.split())
    for limit in ("max", "high", "max"):
        if limited:
            sampled.tree.reach(limited, limit)
        sampled.tree.scan(owner, 64, 41)
        assert sampled.found() == ({found: (64, 41)} if found else {})
    assert not sampled.found()


@pytest.mark.parametrize("who", ["kswapd", "proactive"])
def test_what_is_no_limits(sampled: Sampled, who: str) -> None:
    """What kswapd and proactive reclaim scan belongs to no limit, even if a limit is reached."""
    sampled.listen_to("/a")
    sampled.tree.reach("/a")
    sampled.tree.scan("/a", 5000, 4000, who)
    sampled.tree.scan("/a", 10, 9, "khugepaged")
    assert sampled.found() == {"/a": (10, 9)}


def test_kernel_that_does_not_tell_who(tmp_path: Path) -> None:
    """If memory.stat has a single number for all reclaim, that number is taken."""
    tree = Cgroupfs(tmp_path, told_apart=False)
    tree.make("/a")
    sampled = Sampled(tmp_path, tree)
    sampled.listen_to("/a")
    tree.reach("/a")
    tree.scan("/a", 70, 60)
    assert sampled.found() == {"/a": (70, 60)}
    sampled.close()


def test_both_at_their_limits(sampled: Sampled) -> None:
    """A parent's sample contains what its child's sample does not."""
    sampled.listen_to("/a", "/a/b")
    for limited, pages in (("/a/b", 100), ("/a", 7)):
        sampled.tree.reach(limited)
        sampled.tree.scan(limited, pages, pages)
    assert sampled.found() == {"/a/b": (100, 100), "/a": (7, 7)}


def test_files_are_read_one_after_another(sampled: Sampled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages in a child's file that are not yet in its parent's, which was read before, count once."""
    sampled.listen_to("/a", "/a/b")
    child = sampled.sampler._cgroups["/a/b"]  # noqa: SLF001
    read = child.read

    def late_read() -> object:
        sampled.tree.reach("/a/b")
        sampled.tree.scan("/a/b", 300, 200)
        return read()

    sampled.tree.reach("/a/b")
    sampled.tree.scan("/a/b", 64, 32)
    with monkeypatch.context() as patched:
        patched.setattr(child, "read", late_read)
        assert sampled.found() == {"/a/b": (364, 232)}
    assert not sampled.found()
    sampled.tree.reach("/a")
    sampled.tree.scan("/a", 5, 5)
    assert sampled.found() == {"/a": (5, 5)}


def test_pages_come_after_the_event(sampled: Sampled) -> None:
    """For LIMIT_SECONDS, with or without stalls, reclaim without another event belongs to the limit."""
    sampled.is_stalled = True
    sampled.listen_to("/a")
    sampled.tree.reach("/a")
    assert not sampled.found()
    reached = sampled.now
    while sampled.now + LOOK_SECONDS <= reached + LIMIT_SECONDS:
        sampled.tree.scan("/a", 64, 64)
        assert sampled.found() == {"/a": (64, 64)}
    sampled.tree.scan("/a", 64, 64)
    assert not sampled.found()


def test_late_statistics(sampled: Sampled) -> None:
    """If the machine does not stall, pages belong to the limit until LATE_SECONDS after the event."""
    sampled.listen_to("/a")
    sampled.tree.reach("/a")
    sampled.look()
    for _ in range(int(LATE_SECONDS / 0.25)):
        assert not sampled.found(0.25)
    sampled.tree.scan("/a", 64, 64)
    assert not sampled.found(0.25)


@pytest.mark.parametrize("disturbance", ["machine", "parent", "nobody"])
def test_late_statistics_of_a_cgroup_that_others_work_in(sampled: Sampled, disturbance: str) -> None:
    """If the machine stalls or the parent is at its limit, pages long after the event are theirs."""
    sampled.listen_to("/a", "/a/b")
    sampled.tree.reach("/a/b")
    for _ in range(8):
        sampled.look(0.25)
    if disturbance == "machine":
        sampled.is_stalled = True
    elif disturbance == "parent":
        sampled.tree.reach("/a")
    sampled.tree.scan("/a/b", 64, 64)
    whose = {"machine": {}, "parent": {"/a": (64, 64)}, "nobody": {"/a/b": (64, 64)}}
    assert sampled.found(0.25) == whose[disturbance]


def test_first_look_after_a_while(sampled: Sampled) -> None:
    """Pages scanned between two distant reads belong to no limit: an hour of global reclaim is among them."""
    sampled.listen_to("/a")
    sampled.tree.scan("/a", 10**6, 10**6)
    sampled.tree.reach("/a")
    assert not sampled.found(3600)
    sampled.tree.scan("/a", 64, 32)
    assert sampled.found() == {"/a": (64, 32)}


@pytest.mark.parametrize("listened", ["/a/b", "/a", "/a /a/b", "/"])
def test_second_sign_of_oom(sampled: Sampled, listened: str) -> None:
    """A limit at which nothing can be reclaimed gives two samples of priority 0, once."""
    sampled.listen_to(*listened.split())
    where = "/a/b" if "/a/b" in listened else "/a/"
    sampled.tree.reach("/a/b", times=20)
    assert not sampled.look()
    sampled.tree.reach("/a/b", "oom")
    sampled.tree.scan("/a/b", 30, 0)
    ratio, *exhausted = sampled.look()
    assert ratio == Sample(sampled.now, where, 30, 0)
    assert exhausted == [Sample(sampled.now, where, 0, 0, EXHAUSTED_PRIORITY)] * 2
    assert not sampled.look()


def test_second_sign_is_oom(sampled: Sampled) -> None:
    """A cgroup with nothing to reclaim at its limit is judged oom, however much was reclaimed before."""
    sampled.listen_to("/a")
    sampled.tree.reach("/a", "oom")
    sampled.tree.scan("/a", 500, 500)
    assert [(one.cgroup, one.level) for one in judge(sampled.look())] == [
        ("/a", Level.LOW),
        ("/a", Level.OOM),
    ]


def test_counters_that_go_backwards(sampled: Sampled) -> None:
    """A number below the previous one counts for nothing, and the next is counted from it."""
    sampled.listen_to("/a")
    sampled.tree.reach("/a")
    sampled.tree.scan("/a", 64, 64)
    sampled.look()
    sampled.tree.scan("/a", -50, -50)
    sampled.tree.reach("/a", times=-1)
    assert not sampled.found()
    sampled.tree.scan("/a", 10, 10)
    sampled.tree.reach("/a")
    assert sampled.found() == {"/a": (10, 10)}


def test_worked_example(sampled: Sampled) -> None:
    """The example in the module's docstring is what comes out: own, below, rest, and what is ahead."""
    sampled.listen_to("/a", "/a/b")
    sampled.tree.reach("/a")
    sampled.tree.scan("/a", 100, 0)
    sampled.tree.scan("/a/b", 200, 0)
    assert sampled.found() == {"/a": (300, 0)}
    sampled.tree.reach("/a")
    sampled.tree.reach("/a/b")
    sampled.tree.scan("/a", 100, 0)
    sampled.tree.scan("/a/b", 200, 0)
    assert sampled.found() == {"/a/b": (200, 0), "/a": (100, 0)}
    sampled.tree.reach("/a")
    sampled.tree.reach("/a/b")
    sampled.tree.scan("/a/b", 200, 0)
    sampled.tree.scan("/a", -50, 0)
    assert sampled.found() == {"/a/b": (200, 0)}
    sampled.tree.scan("/a", 150, 0)
    assert sampled.found() == {"/a": (100, 0)}
