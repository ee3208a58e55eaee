# SPDX-License-Identifier: MIT
"""Removals: what is gone ends, what cannot be seen does not, and no watch is left behind."""

import os
import resource
import select
from pathlib import Path

import pytest

from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.cgroup_removals import Removals
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import EventPath
from pressurefs.pressure.levels import RFC
from pressurefs.signaller.poll import Poller
from tests.support.listeners import TOP, Graveyard, listener


class Watched:
    """Removals on a tree of plain directories."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = CgroupRoot(str(path))
        self.dispatcher = Dispatcher(RFC, EventPath(TOP), Graveyard())
        self.removals = Removals(self.root, self.dispatcher)
        self.tokens = 0

    def register(self, path: str) -> Poller:
        """Register by poll with the cgroup of this name."""
        self.tokens += 1
        poller = Poller(-1)
        birth = os.stat(self.path / path[1:]).st_ino
        self.dispatcher.add(listener(self.tokens, path, handle=poller, birth=birth))
        return poller

    def watches(self) -> int:
        """Return how many directories the kernel watches for us."""
        shown = Path(f"/proc/self/fdinfo/{self.removals.fileno()}").read_text()
        return shown.count("inotify wd:")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    (tmp_path / "a" / "b").mkdir(parents=True)
    return Watched(tmp_path)


def test_gone_is_ended(watched: Watched) -> None:
    """A registration ends, signalled, when its cgroup is gone, and not before."""
    poller = watched.register("/a/b")
    watched.removals.end_if_gone("/a/b")
    assert not poller.poll(None)
    (watched.path / "a" / "b").rmdir()
    watched.removals.end_if_gone("/a/b")
    assert poller.poll(None) == select.POLLPRI | select.POLLERR
    assert not watched.dispatcher.listened()


def test_shortage_ends_nobody(watched: Watched) -> None:
    """To be out of descriptors is no removal."""
    poller = watched.register("/a/b")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            watched.removals.end_if_gone("/a/b")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not poller.poll(None)


def test_newer_than_the_look(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that comes between the look and the end, with a new cgroup of that name, lives."""
    old = watched.register("/a/b")
    new: list[Poller] = []

    def look(path: str) -> int | None:
        keep = os.open(watched.path / "a" / "b", os.O_PATH)
        (watched.path / "a" / "b").rmdir()
        inode = CgroupRoot.inode_of(watched.root, path)
        (watched.path / "a" / "b").mkdir()
        new.append(watched.register("/a/b"))
        os.close(keep)
        return inode

    monkeypatch.setattr(watched.root, "inode_of", look)
    watched.removals.end_if_gone("/a/b")
    assert old.poll(None) == select.POLLPRI | select.POLLERR
    assert not new[0].poll(None)


def test_no_watch_is_left_behind(watched: Watched) -> None:
    """A parent that is made again and again under its name is watched once."""
    for _ in range(50):
        keep = os.open(watched.path / "a", os.O_PATH)
        watched.removals.follow(watched.root.look_up("/a/b"))
        (watched.path / "a").rename(watched.path / "old")
        (watched.path / "a" / "b").mkdir(parents=True)
        (watched.path / "old" / "b").rmdir()
        (watched.path / "old").rmdir()
        os.close(keep)
    watched.removals.follow(watched.root.look_up("/a/b"))
    assert watched.watches() == 1
