# SPDX-License-Identifier: MIT
"""Without io_uring: what still holds, and what is less exact, as the mount itself reports."""

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs.cli.machine import examine_machine
from tests.support.cgroupfs import Cgroupfs
from tests.support.forbidding import forbidding
from tests.support.mounted import Mounted, eventually, mounted, readable
from tests.support.puppet import Puppet

FULL = 2**64 - 2


@pytest.fixture(params=["io_uring", "aio"])
def either(request: pytest.FixtureRequest, fuse: None, place: Path) -> Iterator[Mounted]:  # noqa: ARG001
    """A mount with either way of signalling."""
    with mounted(place, through=["env", f"PRESSUREFS_SIGNALLER={request.param}"]) as mount:
        assert f"signaller {request.param}\n" in mount.debug("source")
        yield mount


@pytest.fixture
def aio(fuse: None, place: Path) -> Iterator[Mounted]:  # noqa: ARG001
    """A mount without io_uring."""
    with mounted(place, through=["env", "PRESSUREFS_SIGNALLER=aio"]) as mount:
        yield mount


def test_signals(either: Mounted, puppet: Puppet) -> None:
    """An event adds exactly one to each eventfd, however many there are."""
    puppet.do("events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(200)]")
    puppet.do(f"for event in events: write({either.vmpressure!r}, f'{{event}} low')")
    for _ in range(3):
        either.inject("low")
    assert puppet.do("set(map(drain, events)) == {3}")


def test_full_counter(either: Mounted) -> None:
    """A process that fills its eventfd's counter blocks nobody; the counter saturates as in the kernel."""
    full = os.eventfd(0)
    other = os.eventfd(0)
    for event in (full, other):
        with open(either.vmpressure, "w") as file:
            file.write(f"{event} low")
    os.eventfd_write(full, FULL)
    for _ in range(10):
        either.inject("low")
    assert os.eventfd_read(other) == 10
    poll = select.poll()
    poll.register(full, select.POLLIN)
    assert poll.poll(0) == [(full, select.POLLIN | select.POLLERR)]
    os.close(full)
    os.close(other)


def test_writer_gone(either: Mounted) -> None:
    """/bin/echo can register its shell's eventfd."""
    event = os.eventfd(0)
    command = ["/bin/sh", "-c", f"/bin/echo '{event} low' > {either.vmpressure}"]
    subprocess.run(command, pass_fds=[event], check=True)
    either.inject("low")
    assert readable(event)
    os.close(event)


def test_refusals(either: Mounted, puppet: Puppet) -> None:
    """A descriptor that is no eventfd is refused in the same way."""
    puppet.do(f"path = {either.vmpressure!r}; fd = os.open('/dev/null', os.O_RDONLY)")
    for line, error in (("f'{fd} low'", "Invalid"), ("'99 low'", "Bad file")):
        with pytest.raises(OSError, match=error):
            puppet.do(f"write(path, {line})")


def test_says_so(aio: Mounted) -> None:
    """The log and the debug directory say what this way of signalling cannot guarantee."""
    limits = "no io_uring here: a registration outlives its eventfd by up to 30 s"
    aio.await_said(f"signaller aio: {limits}")
    assert f"signaller_limits {limits}\n" in aio.debug("source")


@pytest.mark.parametrize(
    ("way", "told"), [("io_uring", "with their eventfds"), ("aio", "late: .* by up to 30 s")]
)
def test_doctor_says_so(native: None, way: str, told: str) -> None:  # noqa: ARG001
    """The doctor reports what this machine allows, without a mount."""
    command = [sys.executable, "-m", "pressurefs", "doctor"]
    environment = {**os.environ, "PRESSUREFS_SIGNALLER": way}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^registrations end +{told}$", said, re.MULTILINE)


@pytest.mark.parametrize("way", ["io_uring", "aio"])
def test_doctor_leaves_nothing_open(native: None, way: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Each descriptor that the doctor opens is opened once, and closed."""
    from pressurefs.signaller import uring  # noqa: PLC0415, a test may go without
    from pressurefs.signaller.signaller import SIGNALLER_VARIABLE  # noqa: PLC0415

    examine_machine()  # modules that it loads stay loaded
    before = os.listdir("/proc/self/fd")
    opened: list[object] = []
    open_ring = uring._open_uring  # noqa: SLF001

    def noting_open_uring() -> object:
        opened.append(open_ring())
        return opened[-1]

    monkeypatch.setattr(uring, "_open_uring", noting_open_uring)
    uring.UringSignaller().close()
    by_one = len(opened)
    opened.clear()
    monkeypatch.setenv(SIGNALLER_VARIABLE, way)
    examine_machine()
    assert len(opened) == by_one
    assert os.listdir("/proc/self/fd") == before


def test_ends_late(aio: Mounted, puppet: Puppet) -> None:
    """A registration ends after two scans that found no holder; a holder in another process keeps it."""
    puppet.do("closed, kept = os.eventfd(0), os.eventfd(0, os.EFD_NONBLOCK)")
    puppet.do(f"for event in (closed, kept): write({aio.vmpressure!r}, f'{{event}} low')")
    with Puppet() as heir:
        heir.do(f"kept = os.pidfd_open({puppet.pid})")
        puppet.do("os.close(closed)")
        aio.await_registrations(1)
        aio.inject("low")
        assert puppet.do("drain(kept)") == 1


def test_nothing_is_held_of_the_last_one(aio: Mounted, place: Path, puppet: Puppet) -> None:
    """An eventfd whose cgroup is removed during a scan is closed, even if no later scan follows."""
    tree = Cgroupfs(place / "cgroups")
    tree.make("/one")
    puppet.do("event = os.eventfd(0)")
    puppet.do(f"write('{aio.path}/one/vmpressure', f'{{event}} low')")
    aio.inject("low /one")  # an event of a cgroup starts a scan
    assert aio.descriptors() > aio.descriptors_at_start
    tree.remove("/one")
    aio.await_registrations(0)
    eventually(lambda: aio.descriptors() == aio.descriptors_at_start)


def test_forbidden_io_uring(fuse: None, place: Path) -> None:  # noqa: ARG001
    """If the kernel refuses io_uring, the daemon falls back by itself."""
    with mounted(place, through=forbidding("io_uring_setup=EPERM")) as mount:
        assert "signaller aio\n" in mount.debug("source")


@pytest.mark.parametrize("number", ["ENOSYS", "EPERM"])
def test_forbidden_kcmp(fuse: None, place: Path, puppet: Puppet, number: str) -> None:  # noqa: ARG001
    """Without kcmp there are no scans: a registration lasts until the unmount, which signals it."""
    with mounted(place, through=forbidding("io_uring_setup=EPERM", f"kcmp={number}")) as mount:
        mount.await_said("no io_uring and no kcmp here: a registration lasts until the unmount")
        puppet.do(f"event = os.eventfd(0, os.EFD_NONBLOCK); write({mount.vmpressure!r}, f'{{event}} low')")
        mount.inject("low")
        assert puppet.do("drain(event)") == 1
        mount.descriptors_at_start += 1
    assert puppet.do("drain(event)") == 1


def test_out_of_descriptors(fuse: None, place: Path, puppet: Puppet) -> None:  # noqa: ARG001
    """Scans need descriptors of their own: when all others are used up, dead registrations still end."""
    through = ["prlimit", "--nofile=48:48", "env", "PRESSUREFS_SIGNALLER=aio"]
    with mounted(place, through=through) as mount:
        puppet.do("events, done = [os.eventfd(0) for _ in range(48)], []")
        code = f"done.append(write({mount.vmpressure!r}, f'{{events[len(done)]}} low'))"
        with pytest.raises(OSError, match="Too many open files in system"):
            puppet.do(f"while True: {code}")
        assert puppet.do("len(done)") > 8
        puppet.do("for event in events[:len(done)]: os.close(event)")
        mount.await_registrations(0)
        puppet.do(code)
        puppet.do("os.close(events[len(done) - 1])")
