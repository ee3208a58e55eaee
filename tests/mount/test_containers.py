# SPDX-License-Identifier: MIT
"""A mount that is bound into containers: other mount, pid, user and cgroup namespaces than the daemon's.

A container here is a process that has left its namespaces and bound what it is to see to a path of its own.
"""

import errno
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs.mountinfo import read_mountinfo
from tests.support.cgroupfs import make_cgroup, remove_cgroup
from tests.support.errnos import refusal
from tests.support.lanes import leave_out
from tests.support.mounted import CONTROL_FILES, DEADLINE_SECONDS, Mounted, mounted
from tests.support.puppet import Puppet

NOBODY = 65534
_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x2000000, 0x10000000, 0x20000000

# What unshare(1) does, in the puppet: it may be that only root can start its interpreter.
_LEAVING = f"""
import ctypes
def system(call, *arguments):
    if getattr(libc, call)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), call)
libc = ctypes.CDLL(None, use_errno=True)
def leave(user):
    uid, gid = os.getuid(), os.getgid()
    if user:
        system('prctl', 4, 1)  # PR_SET_DUMPABLE: its maps are its own to write
        system('unshare', {_CLONE_NEWUSER})
        open('/proc/self/setgroups', 'w').write('deny')
        open('/proc/self/uid_map', 'w').write(f'0 {{uid}} 1')
        open('/proc/self/gid_map', 'w').write(f'0 {{gid}} 1')
    system('unshare', {_CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWPID})
    system('mount', None, b'/', None, 0x44000, None)  # MS_REC | MS_PRIVATE
    child = os.fork()
    if child:  # only children are in the new pid namespace, and one goes on in its parent's place
        os.waitpid(child, 0)
        os._exit(0)
def bind(source, target):
    system('mount', source.encode(), target.encode(), None, 0x1000, None)  # MS_BIND
"""


@pytest.fixture(params=[0, NOBODY], ids=["of root", "rootless"])
def uid(request: pytest.FixtureRequest) -> int:
    """Whose container it is, as the host knows him."""
    return int(request.param)


@pytest.fixture
def container(mount: Mounted, place: Path, uid: int) -> Iterator[Puppet]:
    """The first process of a container, which sees the mount's /job at ``here``."""
    make_cgroup(make_cgroup(place / "cgroups" / "job") / "worker")
    (place / "inside").mkdir()
    with Puppet(uid=uid) as puppet:
        puppet.do(_LEAVING)
        if uid and refusal(puppet, "leave(True)"):
            leave_out("fuse", "an ordinary user may have no user namespace")
        if not uid:
            puppet.do("leave(False)")
        puppet.do(f"outside, here = {str(mount.path)!r}, {str(place / 'inside')!r}")
        puppet.do("bind(f'{outside}/job', here); event = os.eventfd(0, os.EFD_NONBLOCK)")
        yield puppet


def test_its_view(container: Puppet) -> None:
    """The process is the first and root there, and its cgroup is the top of what it sees."""
    assert container.do("[os.getpid(), os.getuid()]") == [1, 0]
    assert set(container.do("os.listdir(here)")) == CONTROL_FILES | {"worker"}
    assert container.do("os.path.ismount(here)")


@pytest.mark.parametrize(
    ("control", "named"),
    [
        ("cgroup.event_control", "memory.pressure_level"),
        ("vmpressure", "memory.pressure_level"),
        ("vmpressure", "vmpressure"),
    ],
)
def test_eventfd(mount: Mounted, container: Puppet, uid: int, control: str, named: str) -> None:
    """It registers by an eventfd, with a control_fd on a mount that the daemon does not have."""
    container.do(f"control_fd = os.open(f'{{here}}/{named}', os.O_RDONLY)")
    mount_id = container.do("open(f'/proc/self/fdinfo/{control_fd}').read().split('mnt_id:')[1].split()[0]")
    assert int(mount_id) not in {row.mount_id for row in read_mountinfo()}
    container.do(f"write(f'{{here}}/{control}', f'{{event}} {{control_fd}} low')")
    assert [row[:4] for row in mount.registrations()] == [["/job", "low", "default", str(uid)]]
    for event, heard in (("low /job", 1), ("low /job/worker", 1), ("low /a", 0), ("low", 0)):
        mount.inject(event)
        assert container.do("drain(event)") == heard


def test_another_control_file(container: Puppet) -> None:
    """The number of the file counts, and not only the mount: that of another cgroup is EINVAL."""
    container.do("other = os.open(f'{here}/worker/memory.pressure_level', os.O_RDONLY)")
    code = "write(f'{here}/cgroup.event_control', f'{event} {other} low')"
    assert refusal(container, code) == errno.EINVAL


def test_poll(mount: Mounted, container: Puppet) -> None:
    """It may poll the open file, which nobody need look into it for."""
    container.do("fd = os.open(f'{here}/vmpressure', os.O_WRONLY); os.write(fd, b'poll low')")
    container.do("poll = select.poll(); poll.register(fd, select.POLLPRI)")
    assert container.do("poll.poll(0)") == []
    container.send("poll.poll(10000)")
    mount.inject("low /job")
    assert container.receive() == {"value": [[container.do("fd"), select.POLLPRI]]}


def test_removal(container: Puppet, place: Path) -> None:
    """When its cgroup is removed it hears, and the file is gone; writing to what is open is ENODEV."""
    container.do("control_fd = os.open(f'{here}/memory.pressure_level', os.O_RDONLY)")
    container.do("control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY)")
    container.do("line = f'{event} {control_fd} low'.encode(); _ = os.write(control, line)")
    container.send(
        "(select.select([event], [], [], 10)[0], drain(event), os.access(f'{here}/cgroup.event_control', 0))"
    )
    remove_cgroup(place / "cgroups" / "job")
    assert container.receive() == {"value": [[container.do("event")], 1, False]}
    assert refusal(container, "os.stat(f'{here}/cgroup.event_control')") == errno.ENOENT
    assert refusal(container, "os.write(control, line)") == errno.ENODEV


def test_end_of_the_daemon(mount: Mounted, container: Puppet, listener: Path) -> None:
    """When the daemon ends, a program hears, and does not find the file although its mount is still there."""
    container.do(f"command = [{str(listener)!r}, here, 'low']")
    container.do(
        "program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)"
    )
    assert container.do("program.stdout.readline()") == "listening\n"
    mount.inject("low /job")
    assert container.do("program.stdout.readline()") == "low +1\n"
    mount.process.terminate()
    # The latter two if the daemon has gone before it answers.
    gone = [os.strerror(number) for number in (errno.ENOTCONN, errno.ECONNABORTED)]
    said = container.do("program.stdout.readline()")
    assert said == "removed\n" or said.removesuffix("\n").endswith(tuple(gone))
    assert container.do("program.wait(10)") == (0 if said == "removed\n" else 1)
    assert mount.process.wait(10) == 0


@pytest.mark.parametrize(
    ("inside", "events"),
    [("", ["low", "low /job", "medium"]), ("/job", ["oom", "oom /a", "low /job", "medium /job"])],
    ids=["the machine", "a cgroup"],
)
def test_hard_coded_path(
    mount: Mounted, container: Puppet, listener: Path, inside: str, events: list[str]
) -> None:
    """A program that knows nothing but /sys/fs/cgroup/memory is served by a mount there."""
    container.do("system('mount', b'tmpfs', b'/sys/fs/cgroup', b'tmpfs', 0, None)")
    container.do("os.mkdir('/sys/fs/cgroup/memory'); bind(outside, '/sys/fs/cgroup/memory')")
    container.do(f"command = [{str(listener)!r}, '/sys/fs/cgroup/memory{inside}', 'medium']")
    container.do("program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)")
    assert container.do("program.stdout.readline()") == "listening\n"
    for event in events:
        mount.inject(event)
    assert container.do("program.stdout.readline()") == "medium +1\n"
    assert mount.registrations()[0][-1] == "1"  # the last event, and none of the others
    container.do("program.kill(); program.wait()")


def test_daemon_in_a_pid_namespace(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A daemon in a pid namespace cannot name a writer outside of it: ESRCH; but that one may poll."""
    with mounted(place, through=["unshare", "--pid", "--fork"]) as mount, Puppet() as puppet:
        puppet.do(f"path, event = {mount.vmpressure!r}, os.eventfd(0)")
        puppet.do(f"control_path = {str(mount.path / 'cgroup.event_control')!r}")
        puppet.do(f"level = os.open({str(mount.path / 'memory.pressure_level')!r}, os.O_RDONLY)")
        assert refusal(puppet, "write(path, f'{event} low')") == errno.ESRCH
        assert refusal(puppet, "write(control_path, f'{event} {level} low')") == errno.ESRCH
        puppet.do("fd = os.open(path, os.O_WRONLY); os.write(fd, b'poll low')")
        puppet.do("poll = select.poll(); poll.register(fd, select.POLLPRI)")
        mount.inject("low")
        assert puppet.do("poll.poll(10000)") == [[puppet.do("fd"), select.POLLPRI]]
        # unshare(1) stays the parent, so the daemon is ended by unmounting, which it takes for a clean end.
        subprocess.run(["umount", "-l", mount.path], check=True)
        puppet.do("os.close(fd); os.close(level)")
        assert mount.process.wait(DEADLINE_SECONDS) == 0
