# SPDX-License-Identifier: MIT
"""Limits of cgroups from end to end: a tree of plain files, the daemon that samples it, and eventfds.

The files are like the kernel's; a test raises their counters.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs.registration.checks import DESCRIPTORS_PER_CGROUP
from tests.support.cgroupfs import Cgroupfs
from tests.support.mounted import Mounted, eventually, mounted, open_files, readable
from tests.support.procfs import Procfs
from tests.support.puppet import Puppet, drain, write

NOBODY, SOMEBODY = 65534, 65533
LIMIT = 256  # the limit of descriptors for a daemon with few
MODES = ("default", "hierarchy", "local")


class Limited:
    """A mount, the tree that it samples, and eventfds."""

    def __init__(self, mount: Mounted, tree: Cgroupfs) -> None:
        self.mount = mount
        self.tree = tree

    def listen(self, cgroup: str, mode: str) -> int:
        """Register an eventfd at a cgroup."""
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        write(f"{self.mount.path}{cgroup}/vmpressure", f"{fd} low,{mode}")
        return fd

    def thrash(self, limited: str, *until: int) -> None:
        """Let a cgroup reclaim at its limit until the first eventfd is signalled; wait for the others."""

        def signalled() -> bool:
            self.tree.reach(limited)
            self.tree.scan(limited, 600, 600)
            return readable(until[0], 0)

        eventually(signalled)
        assert all(readable(one) for one in until)


@pytest.fixture
def limited(fuse: None, tmp_path: Path) -> Iterator[Limited]:  # noqa: ARG001
    (tmp_path / "proc").mkdir()
    procfs = Procfs(tmp_path / "proc")
    (tmp_path / "cgroups").mkdir()
    tree = Cgroupfs(tmp_path / "cgroups")
    tree.make("/a", "/a/b", "/e")
    with mounted(tmp_path, "--proc", str(procfs.path)) as mount:
        yield Limited(mount, tree)


def test_limit_is_heard(limited: Limited) -> None:
    """An event at a limit signals every mode at its cgroup, by mode above it, and nothing elsewhere."""
    here = {mode: limited.listen("/a/b", mode) for mode in MODES}
    above = {mode: limited.listen("/a", mode) for mode in MODES}
    top = {mode: limited.listen("", mode) for mode in MODES}
    elsewhere = limited.listen("/e", "default")
    limited.thrash("/a/b", *here.values(), above["hierarchy"], top["hierarchy"])
    assert [mode for mode in MODES if drain(above[mode])] == ["hierarchy"]
    assert [mode for mode in MODES if drain(top[mode])] == ["hierarchy"]
    assert not drain(elsewhere)
    for fd in (*here.values(), *above.values(), *top.values(), elsewhere):
        os.close(fd)


@pytest.mark.parametrize(("at", "unnamed"), [("/a", "/a/"), ("", "/a/")])
def test_limit_that_nobody_listens_at(limited: Limited, at: str, unnamed: str) -> None:
    """An event at a limit below signals all but local listeners; history shows it for an unnamed cgroup."""
    fds = {mode: limited.listen(at, mode) for mode in MODES}
    limited.thrash("/a/b", fds["default"], fds["hierarchy"])
    assert not drain(fds["local"])
    cgroups = {line.split()[1] for line in limited.mount.debug("history").splitlines()[1:]}
    assert cgroups == {unnamed}
    for fd in fds.values():
        os.close(fd)


def held(mount: Mounted, tree: Cgroupfs) -> set[str]:
    """Return the paths of the files of the tree that the daemon has open."""
    places = open_files(mount.process.pid).values()
    return {place for place in places if place.startswith(f"{tree.path}/")}


def test_files_are_let_go(limited: Limited) -> None:
    """A cgroup's files are open while it has a listener, and closed when it has none."""
    fd = limited.listen("/a", "default")
    names = ("memory.events", "memory.events.local", "memory.stat")
    files = {f"{limited.tree.path}/a/{name}" for name in names}
    eventually(lambda: held(limited.mount, limited.tree) == files)
    os.close(fd)
    eventually(lambda: not held(limited.mount, limited.tree))


def test_quota_in_cgroups_of_their_own(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A user with the quota of listeners, each in its own cgroup, leaves descriptors for the next user."""
    (place / "proc").mkdir()
    (place / "cgroups").mkdir()
    tree = Cgroupfs(place / "cgroups")
    tree.make(*(f"/{number}" for number in range(LIMIT)), "/last")
    proc = str(Procfs(place / "proc").path)
    with contextlib.ExitStack() as stack:
        mount = stack.enter_context(mounted(place, "--proc", proc, through=["prlimit", f"--nofile={LIMIT}"]))
        greedy, modest = (stack.enter_context(Puppet(uid=uid)) for uid in (NOBODY, SOMEBODY))
        greedy.do("listening = []")
        greedy.do("def listen(path): write(path, f'{os.eventfd(0)} low'); listening.append(path)")
        with pytest.raises(OSError, match="quota"):
            greedy.do(f"for number in range({LIMIT}): listen(f'{mount.path}/{{number}}/vmpressure')")
        registered = greedy.do("len(listening)")
        assert registered > 1
        eventually(lambda: len(held(mount, tree)) == registered * DESCRIPTORS_PER_CGROUP)
        modest.do("event = os.eventfd(0, os.EFD_NONBLOCK)")
        modest.do(f"write('{mount.path}/last/vmpressure', f'{{event}} low')")

        def hears() -> bool:
            tree.reach("/last")
            tree.scan("/last", 600, 600)
            return bool(modest.do("drain(event)"))

        eventually(hears)
