"""Limits of cgroups, all the way: a tree of plain files, the daemon that samples it, and eventfds.

Files like the kernel's stand in a plain directory tree, and a test lets them count.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted import Mounted, eventually, mounted
from tests.puppet import drain, write
from tests.unit.cgroupfs import Cgroupfs
from tests.unit.procfs import Procfs

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

    def thrash(self, limited: str, until: int) -> None:
        """Let a cgroup reclaim at its limit until an eventfd is signalled."""

        def signalled() -> bool:
            self.tree.reach(limited)
            self.tree.scan(limited, 600, 600)
            return drain(until) > 0

        eventually(signalled)


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
    """A limit is heard in its cgroup in every mode, above it by mode, and nowhere else."""
    here = {mode: limited.listen("/a/b", mode) for mode in MODES}
    above = {mode: limited.listen("/a", mode) for mode in MODES}
    top = {mode: limited.listen("", mode) for mode in MODES}
    elsewhere = limited.listen("/e", "default")
    limited.thrash("/a/b", until=here["local"])
    assert drain(here["default"])
    assert drain(here["hierarchy"])
    assert [mode for mode in MODES if drain(above[mode])] == ["hierarchy"]
    assert [mode for mode in MODES if drain(top[mode])] == ["hierarchy"]
    assert not drain(elsewhere)
    for fd in (*here.values(), *above.values(), *top.values(), elsewhere):
        os.close(fd)


@pytest.mark.parametrize(("at", "unnamed"), [("/a", "/a/"), ("", "/a/")])
def test_limit_that_nobody_listens_at(limited: Limited, at: str, unnamed: str) -> None:
    """A limit below is heard by all but the local listeners, and history shows it as of one unnamed."""
    fds = {mode: limited.listen(at, mode) for mode in MODES}
    limited.thrash("/a/b", until=fds["default"])
    assert drain(fds["hierarchy"])
    assert not drain(fds["local"])
    cgroups = {line.split()[1] for line in limited.mount.debug("history").splitlines()[1:]}
    assert cgroups == {unnamed}
    for fd in fds.values():
        os.close(fd)


def test_files_are_let_go(limited: Limited) -> None:
    """A cgroup's files are open while somebody listens there, and closed when nobody does any more."""

    def held() -> set[str]:
        fds = f"/proc/{limited.mount.process.pid}/fd"
        places = set()
        for fd in os.listdir(fds):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                places.add(os.readlink(f"{fds}/{fd}"))
        return {place for place in places if place.startswith(f"{limited.tree.path}/")}

    fd = limited.listen("/a", "default")
    names = ("memory.events", "memory.events.local", "memory.stat")
    eventually(lambda: held() == {f"{limited.tree.path}/a/{name}" for name in names})
    os.close(fd)
    eventually(lambda: not held())
