# SPDX-License-Identifier: MIT
"""``poll LEVEL``: the open file itself becomes ready, without an eventfd to be taken from the process."""

import errno
import os
import select
import subprocess

import pytest

from tests.support.mounted import Mounted, mounted
from tests.support.puppet import Puppet

NOBODY = 65534


def polled(mount: Mounted, wish: str = "low") -> int:
    """Open the control file and register it for polling."""
    fd = os.open(mount.vmpressure, os.O_RDWR)
    os.write(fd, f"poll {wish}\n".encode())
    return fd


def ready(fd: int, seconds: float = 0) -> int:
    """Return what poll(2) reports for a file that is polled for POLLPRI."""
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    return dict(poll.poll(seconds * 1000)).get(fd, 0)


def test_poll(mount: Mounted) -> None:
    """Events merge until a poll reports them; that poll clears them."""
    fd = polled(mount)
    assert ready(fd) == 0
    for _ in range(3):
        mount.inject("low")
    assert ready(fd) == select.POLLPRI
    assert ready(fd) == 0
    os.close(fd)


def test_levels(mount: Mounted) -> None:
    """A polled file is signalled at its level and above."""
    fds = [polled(mount, level) for level in ("low", "medium", "oom")]
    mount.inject("medium")
    assert [ready(fd) for fd in fds] == [select.POLLPRI, select.POLLPRI, 0]
    for fd in fds:
        os.close(fd)


WAITS = {
    "poll": "p = select.poll(); p.register(fd, select.POLLPRI); told = p.poll(10000)",
    "select": "told = select.select([], [], [fd], 10)[2]",
    "epoll": "p = select.epoll(); p.register(fd, select.EPOLLPRI); told = p.poll(10)",
    "edge-triggered epoll": (
        "p = select.epoll(); p.register(fd, select.EPOLLPRI | select.EPOLLET); told = p.poll(10)"
    ),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_wakes_who_waits(mount: Mounted, puppet: Puppet, wait: str) -> None:
    """A process that is already waiting wakes up, each time, with every system call for waiting."""
    puppet.do(f"fd = os.open({mount.vmpressure!r}, os.O_WRONLY); os.write(fd, b'poll low')")
    for _ in range(3):
        puppet.send(wait)
        # Wait until the daemon has answered the first poll request and the puppet sleeps.
        asleep = f"/proc/{puppet.pid}/wchan"
        while "poll" not in open(asleep).read() and "select" not in open(asleep).read():  # noqa: SIM115
            pass
        mount.inject("low")
        assert puppet.receive() == {"value": None}
        assert len(puppet.do("told")) == 1


def test_edge_triggered_again(mount: Mounted) -> None:
    """An edge-triggered epoll set reports each event once."""
    fd = polled(mount)
    with select.epoll() as epoll:
        epoll.register(fd, select.EPOLLPRI | select.EPOLLET)
        for _ in range(3):
            mount.inject("low")
            assert epoll.poll(10) == [(fd, select.EPOLLPRI)]
            assert epoll.poll(0) == []
    os.close(fd)


def test_one_an_open_file(mount: Mounted) -> None:
    """A second registration of the same open file is EBUSY; another open file can have its own."""
    fd, other = polled(mount), polled(mount)
    duplicate = os.dup(fd)
    with pytest.raises(OSError, match="busy") as refused:
        os.write(duplicate, b"poll medium")
    assert refused.value.errno == errno.EBUSY
    assert len(mount.registrations()) == 2
    for one in (fd, other, duplicate):
        os.close(one)


def test_shared_by_dup_and_fork(mount: Mounted) -> None:
    """dup and fork share the registration, and the last close ends it."""
    fd = polled(mount)
    duplicate = os.dup(fd)
    # The child runs until its pipe is closed.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[fd]) as child:
        mount.inject("low")
        assert ready(duplicate) == select.POLLPRI
        assert ready(fd) == 0
        os.close(fd)
        os.close(duplicate)
        mount.inject("low")
        assert [signals for *_, signals in mount.registrations()] == ["2"]
        child.communicate()
    mount.await_registrations(0)


@pytest.mark.parametrize("wish", ["", "high", "low,", "low x", "5 low", "5"])
def test_wrong_wish(mount: Mounted, wish: str) -> None:
    """A wrong level or mode is EINVAL, and the file can be registered correctly afterwards."""
    fd = os.open(mount.vmpressure, os.O_WRONLY)
    with pytest.raises(OSError, match="Invalid"):
        os.write(fd, f"poll {wish}".encode())
    assert os.write(fd, b"poll low") == 8
    os.close(fd)


def test_without_rights(place: object, fuse: None) -> None:  # noqa: ARG001
    """It needs no rights over the process: it works where an eventfd cannot be taken."""
    from pathlib import Path  # noqa: PLC0415

    with mounted(Path(str(place)), through=["setpriv", "--bounding-set", "-sys_ptrace"]) as mount:
        with Puppet(uid=NOBODY) as user:
            user.do(f"fd = os.open({mount.vmpressure!r}, os.O_WRONLY); os.write(fd, b'poll low')")
            mount.inject("low")
            user.do("p = select.poll(); p.register(fd, select.POLLPRI)")
            assert user.do("p.poll(10000)") == [[user.do("fd"), select.POLLPRI]]
        mount.await_registrations(0)


def test_a_file_that_is_not_registered(mount: Mounted) -> None:
    """A control file that is not registered is always ready, as any file."""
    fd = os.open(mount.vmpressure, os.O_RDWR)
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
    assert poll.poll(0) == [(fd, select.POLLIN | select.POLLOUT)]
    os.close(fd)


def test_end_of_the_mount(mount: Mounted, puppet: Puppet) -> None:
    """The end of the mount wakes polling processes, with POLLERR."""
    puppet.do(f"fd = os.open({mount.vmpressure!r}, os.O_WRONLY); os.write(fd, b'poll oom')")
    puppet.do("p = select.poll(); p.register(fd, select.POLLPRI)")
    puppet.send("p.poll(10000)[0][1] & select.POLLERR")
    mount.process.terminate()
    assert puppet.receive()["value"] == select.POLLERR
    assert mount.process.wait(10) == 0


def test_forced_unmount(mount: Mounted) -> None:
    """umount -f with a polled file open does no harm, whatever is signalled at that moment."""
    fd = polled(mount)
    os.system(f"umount -f {mount.path} 2>/dev/null; umount -l {mount.path} 2>/dev/null")  # noqa: S605
    assert mount.process.wait(10) == 0
    assert ready(fd) & select.POLLERR
    os.close(fd)
