# SPDX-License-Identifier: MIT
"""Which cgroups are held open, and when each is read: when its limit is reached, else hardly ever."""

import errno
import itertools
import math
import os
import resource
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from pressurefs.sources.cgroup_limits import LATE_SECONDS
from pressurefs.sources.cgroup_sampler import ASK_SECONDS, LISTING_CORE_SHARE, RETRY_SECONDS
from pressurefs.sources.memory_files import (
    BUSY_LINGER_SECONDS,
    BUSY_SECONDS,
    FAR_SECONDS,
    NEAR_SECONDS,
    HeldFile,
)
from tests.support.cgroupfs import Sampled


def place(fd: int) -> str:
    """Return the path of an open file, or its last path if it is removed; "" for a closed descriptor."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")
    except FileNotFoundError:
        return ""


class Alarm:
    """A replacement of an epoll set, to which plain files can be added and which a test can ring."""

    def __init__(self) -> None:
        self.rung: list[int] = []
        self.fds: set[int] = set()
        self._fd = os.eventfd(0)

    def register(self, fd: int, events: int) -> None:
        """Add any file."""
        assert events == select.EPOLLPRI
        self.fds.add(fd)

    def modify(self, fd: int, events: int) -> None:
        """Ring if the file is removed, as the kernel's poll does."""
        assert events == select.EPOLLPRI
        if os.fstat(fd).st_nlink == 0:
            self.rung.append(fd)

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return what was rung since the last call."""
        assert seconds == 0
        rung, self.rung = self.rung, []
        return [(fd, select.EPOLLPRI) for fd in rung]

    def ring(self, path: Path) -> None:
        """Ring for the file with a path, which it has or had, if that file was added."""
        self.rung += [fd for fd in self.fds if place(fd) == str(path)]

    def fileno(self) -> int:
        """Return a descriptor."""
        return self._fd

    def close(self) -> None:
        """Close that descriptor."""
        os.close(self._fd)


class Reads:
    """Records which files are read; reading a removed file fails, as with the kernel's files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        read = HeldFile.read

        def noting_read(file: HeldFile) -> bytes:
            self.paths.append(place(file.fd))
            if os.fstat(file.fd).st_nlink == 0:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            return read(file)

        monkeypatch.setattr(HeldFile, "read", noting_read)

    def take(self) -> set[str]:
        """Return which files were read since the last call."""
        paths, self.paths = self.paths, []
        return set(paths)


class Alarmed(Sampled):
    """A sampler whose files have an alarm."""

    @classmethod
    def make(cls, path: Path, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Put the alarm in the place of epoll."""
        alarm = Alarm()
        with monkeypatch.context() as patched:
            patched.setattr(select, "epoll", lambda: alarm)
            sampled = cls(path)
        sampled.alarm = alarm
        return sampled

    alarm: Alarm

    def ring(self, cgroup: str) -> None:
        """Reach a limit, and ring where the kernel would."""
        self.tree.reach(cgroup)
        while cgroup:
            self.alarm.ring(self.tree.path / cgroup.strip("/") / "memory.events")
            cgroup = cgroup.rpartition("/")[0]

    def waits(self) -> float:
        """Return how long the sampler wants to sleep."""
        return self.sampler.next_read() - self.now


@pytest.fixture
def alarmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alarmed]:
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)  # however slow the machine is
    alarmed = Alarmed.make(tmp_path, monkeypatch)
    yield alarmed
    alarmed.close()
    assert os.listdir("/proc/self/fd") == before


def files(alarmed: Sampled, *cgroups: str) -> set[str]:
    """Return the paths of the three files of each cgroup."""
    names = ("memory.events", "memory.events.local", "memory.stat")
    return {str(alarmed.tree.path / cgroup.strip("/") / name) for cgroup in cgroups for name in names}


def open_files(alarmed: Sampled) -> set[str]:
    """Return which files of the tree this process has open, by their paths."""
    held = map(place, map(int, os.listdir("/proc/self/fd")))
    return {path for path in held if path.startswith(f"{alarmed.tree.path}/")}


def test_asleep(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no limit is reached no read is scheduled, and a sample reads nothing."""
    alarmed.listen_to("/a", "/a/b", "/e")
    reads = Reads(monkeypatch)
    assert alarmed.waits() == math.inf
    alarmed.tree.scan("/a/b", 10_000, 0)
    assert not alarmed.look(10.0)
    assert not reads.take()


def test_pace(alarmed: Alarmed) -> None:
    """After the alarm, reads are frequent while pages are scanned, then rare, then none is scheduled."""
    alarmed.listen_to("/e")
    alarmed.ring("/e")
    alarmed.look()
    for _ in range(20):
        assert alarmed.waits() == pytest.approx(BUSY_SECONDS)
        alarmed.tree.scan("/e", 32, 32)
        assert alarmed.found(BUSY_LINGER_SECONDS / 2) == {"/e": (32, 32)}
    alarmed.look(BUSY_LINGER_SECONDS / 2)
    assert alarmed.waits() == pytest.approx(BUSY_SECONDS)
    alarmed.look(BUSY_LINGER_SECONDS)
    assert alarmed.waits() == pytest.approx(NEAR_SECONDS)
    alarmed.look(LATE_SECONDS)
    assert alarmed.waits() == math.inf


def test_only_who_is_due(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the alarm of a cgroup, that cgroup and its ancestors are read, and no other."""
    alarmed.listen_to("/a", "/a/b", "/a/b/c", "/a/d", "/e")
    reads = Reads(monkeypatch)
    alarmed.ring("/a/b")
    alarmed.look()
    # /a counts that a limit below it was reached, so its children are read to find out whose.
    asked = {str(alarmed.tree.path / "a/d/memory.events")}
    assert reads.take() == files(alarmed, "/a", "/a/b") | asked


def test_alarm_of_a_child_alone(alarmed: Alarmed) -> None:
    """If the parent's alarm is late, the child's alarm has both read, and nothing is counted twice."""
    alarmed.listen_to("/a", "/a/b")
    events = alarmed.tree.path / "a/b/memory.events"
    for pages in (None, 40, 41):
        alarmed.tree.reach("/a/b")
        alarmed.tree.scan("/a/b", pages or 0, 0)
        alarmed.alarm.ring(events)
        assert alarmed.found() == ({"/a/b": (pages, 0)} if pages else {})


def test_without_an_alarm(tmp_path: Path) -> None:
    """Files that cannot be polled, such as those of a plain directory, are read 40 times a second."""
    sampled = Sampled(tmp_path)
    sampled.listen_to("/a")
    for _ in range(5):
        assert sampled.sampler.next_read() == pytest.approx(sampled.now + NEAR_SECONDS)
        sampled.look()
    sampled.close()


def test_only_what_is_listened_to_is_open(alarmed: Alarmed) -> None:
    """A cgroup's files are open from its first listener to the end of its last one."""
    for listened in (("/a", "/e"), ("/a/b/c",), ()):
        alarmed.listen_to(*listened)
        assert open_files(alarmed) == files(alarmed, *listened)


def test_cgroup_that_is_not_there(alarmed: Alarmed) -> None:
    """A cgroup that is missing, or has no memory controller, does not affect the others."""
    (alarmed.tree.path / "bare").mkdir()
    alarmed.listen_to("/a", "/nowhere", "/bare")
    assert open_files(alarmed) == files(alarmed, "/a")


def test_listeners_at_the_top(alarmed: Alarmed) -> None:
    """The cgroups directly below the top are sampled while they exist; the top is listed once a second."""
    alarmed.listen_to("/")
    assert open_files(alarmed) == files(alarmed, "/a", "/e")
    assert alarmed.waits() == pytest.approx(FAR_SECONDS)
    alarmed.tree.make("/f")
    alarmed.tree.remove("/e")
    alarmed.look(FAR_SECONDS)
    assert open_files(alarmed) == files(alarmed, "/a", "/f")
    alarmed.listen_to("/a")
    assert open_files(alarmed) == files(alarmed, "/a")
    assert alarmed.waits() == math.inf


def test_listing_that_takes_long(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The more time it takes to list the cgroups below the top, the less often that is done."""
    clock = itertools.count(0.0, 3 * LISTING_CORE_SHARE)
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    alarmed.listen_to("/")
    assert alarmed.waits() == pytest.approx(3.0)


def test_removed(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed cgroup gives no more samples and is closed; the others continue."""
    alarmed.listen_to("/a/d", "/e", "/a")
    Reads(monkeypatch)
    alarmed.ring("/a/d")
    alarmed.tree.remove("/a/d")
    assert not alarmed.look()
    assert open_files(alarmed) == files(alarmed, "/a", "/e")
    alarmed.ring("/e")
    alarmed.look()
    alarmed.tree.scan("/e", 5, 5)
    assert alarmed.found() == {"/e": (5, 5)}


def test_switched_off_and_on(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup that loses its memory controller, which rings no alarm, is sampled again with a new one."""
    alarmed.listen_to("/e")
    Reads(monkeypatch)
    alarmed.look()
    alarmed.tree.switch_off("/e")
    alarmed.look(ASK_SECONDS)
    assert not open_files(alarmed)
    alarmed.look(RETRY_SECONDS)
    assert alarmed.waits() == pytest.approx(RETRY_SECONDS)
    alarmed.tree.switch_on("/e")
    alarmed.look(RETRY_SECONDS)
    assert open_files(alarmed) == files(alarmed, "/e")
    assert alarmed.waits() == math.inf
    alarmed.ring("/e")
    alarmed.look()
    alarmed.tree.scan("/e", 5, 5)
    assert alarmed.found() == {"/e": (5, 5)}


def test_made_again(alarmed: Alarmed) -> None:
    """A new cgroup with the name of a removed one has its own files read."""
    alarmed.listen_to("/e")
    # Moved, not removed: otherwise the file system could give its inode number to the next directory.
    (alarmed.tree.path / "e").rename(alarmed.tree.path / "gone")
    alarmed.tree.make("/e")
    alarmed.listen_to("/e")
    alarmed.ring("/e")
    alarmed.look()
    alarmed.tree.scan("/e", 5, 5)
    assert alarmed.found() == {"/e": (5, 5)}


def test_removed_while_its_parent_looks(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup that proves to be removed when its parent is read is dropped, and the parent continues."""
    alarmed.listen_to("/a", "/a/d")
    Reads(monkeypatch)
    alarmed.ring("/a/b")
    alarmed.look()
    alarmed.tree.remove("/a/d")
    alarmed.tree.reach("/a/b")
    alarmed.tree.scan("/a/b", 9, 9)
    assert alarmed.found() == {"/a/": (9, 9)}
    assert open_files(alarmed) == files(alarmed, "/a")


class Shortage:
    """Lets the files of a tree be opened a limited number of times."""

    def __init__(self, alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._refused = 0
        opened = alarmed.root.open

        def short_open(path: str, flags: int) -> int:
            if flags & os.O_DIRECTORY == 0:
                if not self.left:
                    self._refused += 1
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                self.left -= 1
            return opened(path, flags)

        monkeypatch.setattr(alarmed.root, "open", short_open)

    def take_refused(self) -> int:
        """Return how many times opening has failed since the last call."""
        refused, self._refused = self._refused, 0
        return refused


def test_shortage(
    alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without descriptors a cgroup is not sampled, which is logged once; the others are sampled."""
    Shortage(alarmed, monkeypatch, 3 * 2 + 1)
    alarmed.listen_to("/a", "/a/b", "/a/d", "/e")
    assert len(open_files(alarmed)) == 6
    assert caplog.text.count("is not sampled: Too many open files") == 1


def test_shortage_passes(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that could not be opened is tried again after a while, with one call, until it is open."""
    shortage = Shortage(alarmed, monkeypatch, 3)
    alarmed.listen_to("/a", "/a/b", "/e")
    assert open_files(alarmed) == files(alarmed, "/a")
    shortage.take_refused()
    for _ in range(3):
        assert alarmed.waits() == pytest.approx(RETRY_SECONDS)
        alarmed.look(RETRY_SECONDS / 2)
        assert shortage.take_refused() == 0
        alarmed.look(RETRY_SECONDS / 2)
        assert shortage.take_refused() == 1
    shortage.left = 6
    alarmed.look(RETRY_SECONDS)
    assert open_files(alarmed) == files(alarmed, "/a", "/a/b", "/e")
    assert alarmed.waits() == math.inf
    alarmed.ring("/a/b")
    alarmed.look()
    alarmed.tree.scan("/a/b", 5, 5)
    assert alarmed.found() == {"/a/b": (5, 5)}


def test_watches_run_out(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup whose alarm cannot be set (fs.epoll.max_user_watches) is closed and tried again."""

    def no_register(fd: int, events: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), (fd, events))

    with monkeypatch.context() as patched:
        patched.setattr(alarmed.alarm, "register", no_register)
        alarmed.listen_to("/a", "/e")
        assert not open_files(alarmed)
    alarmed.look(RETRY_SECONDS)
    assert open_files(alarmed) == files(alarmed, "/a", "/e")


def test_top_that_cannot_be_listed(alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no descriptor is free for listing the top, the cgroups below it stay as they were."""
    alarmed.listen_to("/")

    def no_children(path: str) -> list[tuple[str, int]]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(alarmed.root, "children", no_children)
    alarmed.look(FAR_SECONDS)
    assert open_files(alarmed) == files(alarmed, "/a", "/e")


def test_top_leaves_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners at the top use at most half of the descriptors: registrations need the others."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    sampled = Sampled(tmp_path)
    sampled.listen_to("/")
    assert open_files(sampled) == files(sampled, "/a")
    sampled.close()
