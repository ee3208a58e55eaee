# SPDX-License-Identifier: MIT
"""Programs written for cgroup v1's file, each with the system calls that it makes there, run unchanged.

What they do is known from their sources: what is opened and how, what is written, what is closed when, and
what is asked after each event.  Those that ask nothing look at the directory here.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cgroupfs import make_cgroup, remove_cgroup
from tests.support.mounted import Mounted
from tests.support.puppet import Puppet


class Client(NamedTuple):
    """What a program does in a cgroup's directory; ``event`` is its eventfd."""

    registers: str
    finds_it_removed: str


# Go puts whatever it opens into its epoll set first, and makes it non-blocking if that works.
_GO = """
go_epoll = select.epoll()
def go_open(path, flags):
    fd = os.open(path, flags | os.O_CLOEXEC, 0o700)
    go_epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
    os.set_blocking(fd, False)
    return fd
"""

CLIENTS = {
    "cgroup_event_listener": Client(
        """
level = os.open(f'{here}/memory.pressure_level', os.O_RDONLY)
control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY)
event = os.eventfd(0, 0)
line = f'{event} {level} low\\0'.encode()
assert os.write(control, line) == len(line)
""",
        "os.access(f'{here}/cgroup.event_control', os.W_OK) is False",
    ),
    "runc": Client(
        _GO
        + """
level = go_open(f'{here}/memory.pressure_level', os.O_RDONLY)
event = os.eventfd(0, os.EFD_CLOEXEC)
control = go_open(f'{here}/cgroup.event_control', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
line = f'{event} {level} low'.encode()
assert os.write(control, line) == len(line)
os.close(control)
""",
        "error_of(os.lstat, f'{here}/cgroup.event_control') == 'ENOENT'",
    ),
    "containerd": Client(
        _GO
        + """
event = os.eventfd(0, os.EFD_CLOEXEC)
level = go_open(f'{here}/memory.pressure_level', os.O_RDONLY)
control = go_open(f'{here}/cgroup.event_control', os.O_WRONLY)
line = f'{event} {level} low,hierarchy'.encode()
assert os.write(control, line) == len(line)
os.close(control)
os.close(level)
""",
        "error_of(os.lstat, f'{here}/cgroup.event_control') == 'ENOENT'",
    ),
    "kubelet": Client(
        """
level = os.open(f'{here}/memory.pressure_level', os.O_RDONLY | os.O_CLOEXEC)
control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY | os.O_CLOEXEC)
event = os.eventfd(0, os.EFD_CLOEXEC)
epoll = select.epoll()
epoll.register(event, select.EPOLLIN)
line = f'{event} {level} medium'.encode()
assert os.write(control, line) == len(line)
os.close(level)
os.close(control)
""",
        "error_of(os.stat, here) == 'ENOENT'",
    ),
    "Mesos": Client(
        """
event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
level = os.open(f'{here}/memory.pressure_level', os.O_RDWR | os.O_CLOEXEC)
control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
line = f'{event} {level} critical'.encode()
assert os.writev(control, [line]) == len(line)
os.close(control)
os.close(level)
""",
        "os.access(here, os.F_OK) is False",
    ),
    "WebKit": Client(
        """
event = os.eventfd(0, os.EFD_CLOEXEC)
level = os.open(f'{here}/memory.pressure_level', os.O_CLOEXEC | os.O_RDONLY)
control = os.open(f'{here}/cgroup.event_control', os.O_CLOEXEC | os.O_WRONLY)
line = f'{event} {level} low\\0'.encode()
assert os.write(control, line) == len(line)
os.close(control)
""",
        "error_of(os.stat, here) == 'ENOENT'",
    ),
    "a Python script": Client(
        """
event = os.eventfd(0)
level = open(f'{here}/memory.pressure_level')
with open(f'{here}/cgroup.event_control', 'w') as control:
    print(event, level.fileno(), 'low', file=control)
""",
        "os.path.exists(f'{here}/cgroup.event_control') is False",
    ),
    "a Rust program": Client(
        """
level = os.open(f'{here}/memory.pressure_level', os.O_RDONLY | os.O_CLOEXEC)
event = os.eventfd(0, os.EFD_CLOEXEC)
control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
line = f'{event} {level} low,local'.encode()
assert os.write(control, line) == len(line)
os.close(control)
""",
        "error_of(statx, f'{here}/cgroup.event_control') == 'ENOENT'",
    ),
}

_TOOLS = """
import ctypes, errno
def error_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return ''
def wait(event):
    return select.select([event], [], [], 10)[0] and os.eventfd_read(event)
def statx(path):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statx(-100, path.encode(), 0, 0xfff, ctypes.create_string_buffer(256)) < 0:
        raise OSError(ctypes.get_errno(), path)
"""


@pytest.fixture
def job(mount: Mounted) -> Path:
    """A cgroup, as the mount's tree has it."""
    return make_cgroup(mount.path.parent / "cgroups" / "job")


@pytest.fixture
def client(mount: Mounted) -> Iterator[Puppet]:
    """A process that takes on a client's part in the mirrored cgroup, ``here``."""
    with Puppet() as puppet:
        puppet.do(f"here = {str(mount.path / 'job')!r}")
        puppet.do(_TOOLS)
        yield puppet


@pytest.mark.parametrize("played", CLIENTS.values(), ids=CLIENTS)
def test_client(mount: Mounted, job: Path, client: Puppet, played: Client) -> None:
    """A client registers in its way, hears each event once, and finds the path gone when it is removed."""
    client.do(played.registers)
    waits = f"(wait(event), {played.finds_it_removed})"
    for _ in range(3):
        mount.inject("oom /job")
        assert client.do(waits) == [1, False]
    client.send(waits)
    remove_cgroup(job)
    assert client.receive() == {"value": [1, True]}


@pytest.mark.usefixtures("job")
def test_same_bytes_new_eventfd(mount: Mounted, client: Puppet) -> None:
    """tapdisk closes its eventfd at each event, and writes the same bytes when it has a new one."""
    client.do("""
level = os.open(f'{here}/memory.pressure_level', os.O_RDONLY)
control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY)
lines = set()
def reset():
    event = os.eventfd(0, 0)
    line = f'{event} {level} critical'.encode()
    assert os.write(control, line) == len(line)
    lines.add(line)
    return event
event = reset()
""")
    for _ in range(20):
        mount.inject("oom /job")
        # The old one heard this event and no other; nobody hears while it is in low memory mode.
        assert client.do("wait(event)") == 1
        client.do("os.close(event)")
        mount.inject("oom /job")
        client.do("event = reset()")
        assert client.do("select.select([event], [], [], 0)[0]") == []
    assert client.do("len(lines)") == 1


def test_removal_after_the_path(mount: Mounted, client: Puppet) -> None:
    """However often a cgroup is removed: when the signal can be read, access, stat and statx say ENOENT."""
    client.do("""
def listen():
    level = os.open(f'{here}/memory.pressure_level', os.O_RDONLY)
    control = os.open(f'{here}/cgroup.event_control', os.O_WRONLY)
    event = os.eventfd(0, 0)
    os.write(control, f'{event} {level} low'.encode())
    os.close(level)
    os.close(control)
    return event
def gone(event):
    path = f'{here}/cgroup.event_control'
    count = wait(event)
    exists = os.access(path, os.F_OK)
    return count, exists, error_of(os.stat, path), error_of(statx, path)
""")
    for _ in range(50):
        job = make_cgroup(mount.path.parent / "cgroups" / "job")
        client.do("event = listen()")
        client.send("gone(event)")
        remove_cgroup(job)
        assert client.receive() == {"value": [1, False, "ENOENT", "ENOENT"]}
        client.do("os.close(event)")


def remove_slowly(path: Path) -> None:
    """Remove a plain directory as it must be: first it is no cgroup any more, then it is gone."""
    (path / "memory.stat").unlink()
    path.rmdir()


@pytest.mark.parametrize("remove", [remove_cgroup, remove_slowly])
def test_c_program(mount: Mounted, job: Path, listener: Path, remove: Callable[[Path], None]) -> None:
    """A C program for the kernel's file hears its cgroup's events, and ends when it is removed."""
    command = ["timeout", "30", str(listener), str(mount.path / "job"), "medium"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "listening\n"
        for event in ("low /job", "medium /job", "oom /a", "oom", "oom /job"):
            mount.inject(event)
            if event in ("medium /job", "oom /job"):
                assert running.stdout.readline() == "medium +1\n"
        remove(job)
        assert running.stdout.read() == "removed\n"
        assert running.wait(10) == 0


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("cgroup", "level", "reason"),
    [
        ("job", "oom", "cgroup.event_control: Invalid argument"),
        ("job", "low,everywhere", "cgroup.event_control: Invalid argument"),
        ("jobs", "low", "memory.pressure_level: No such file or directory"),
        ("a", "low", "memory.pressure_level: No such file or directory"),
    ],
)
def test_c_program_refused(mount: Mounted, listener: Path, cgroup: str, level: str, reason: str) -> None:
    """What is wrong the program learns from the call that it made, as it would of the kernel."""
    directory = mount.path / cgroup
    done = subprocess.run(
        [str(listener), str(directory), level], check=False, timeout=10, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"listener: {directory}/{reason}\n")
