# SPDX-License-Identifier: MIT
"""The ways in which programs for cgroup v1 use the two files: each of them works here.

One write is one record.  It does not matter what ends a line, how the files were opened, whether they stay
open, which thread writes, and whether it exits at once.  Each event adds one.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cgroupfs import make_cgroup
from tests.support.errnos import refusal
from tests.support.mounted import Mounted, readable
from tests.support.puppet import Puppet

HAS_THREAD_PIDFDS = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 9)


@pytest.fixture(scope="module")
def here(shared: Mounted) -> Path:
    """A cgroup of the mount."""
    make_cgroup(shared.path.parent / "cgroups" / "job")
    return shared.path / "job"


@pytest.fixture
def client(here: Path) -> Iterator[Puppet]:
    """A process with a new eventfd, both files open, and the line that registers."""
    with Puppet() as puppet:
        puppet.do(f"control_path = {str(here / 'cgroup.event_control')!r}")
        puppet.do(f"level_path = {str(here / 'memory.pressure_level')!r}")
        puppet.do("event = os.eventfd(0, os.EFD_NONBLOCK); level = os.open(level_path, os.O_RDONLY)")
        puppet.do("control = os.open(control_path, os.O_WRONLY); line = f'{event} {level} low'.encode()")
        yield puppet


def heard(mount: Mounted, client: Puppet) -> int:
    """Return how many times one event signals the client."""
    mount.inject("low /job")
    return int(client.do("drain(event)"))


RECORDS: dict[str, str] = {
    "at the offset where the last ended": "[os.write(control, line) for _ in range(10)][-1]",
    "pwrite at an offset": "os.pwrite(control, line, 100)",
    "after a seek": "os.lseek(control, 5000, os.SEEK_SET) and os.write(control, line)",
    "appending": "os.write(os.open(control_path, os.O_WRONLY | os.O_APPEND), line)",
    "after a truncation": "os.write(os.open(control_path, os.O_WRONLY | os.O_TRUNC), line)",
    "writev of three parts": "os.writev(control, [line[:3], b'', line[3:]])",
    "spliced from a pipe": "os.write(pipe[1], line) and os.splice(pipe[0], control, len(line))",
    "sent from a file": "os.write(memory, line) and os.sendfile(control, memory, 0, len(line))",
}


@pytest.mark.parametrize("code", RECORDS.values(), ids=RECORDS)
def test_one_write_is_one_record(shared: Mounted, client: Puppet, code: str) -> None:
    """1: Whatever the offset, the flags and the system call, a write is one record and returns its length."""
    client.do("pipe = os.pipe(); memory = os.memfd_create('line')")
    assert client.do(code) == client.do("len(line)")
    assert heard(shared, client) == (10 if "range(10)" in code else 1)


@pytest.mark.parametrize("end", [b"", b"\0", b"\n", b"\n\0", b"   ", b"\r\n", b" \t\n", b"\0\0\0\0"])
def test_ends_of_lines(shared: Mounted, client: Puppet, end: bytes) -> None:
    """2: NUL, newline, blanks or nothing may end a line, and count among the bytes written."""
    assert client.do(f"os.write(control, line + {end!r})") == client.do("len(line)") + len(end)
    assert heard(shared, client) == 1


CONTROL_FLAGS = ["O_WRONLY", "O_WRONLY | os.O_CREAT | os.O_TRUNC", "O_RDWR"]
LEVEL_FLAGS = ["O_RDONLY", "O_RDWR", "O_WRONLY"]


@pytest.mark.parametrize("control_flags", CONTROL_FLAGS)
@pytest.mark.parametrize("level_flags", LEVEL_FLAGS)
def test_ways_to_open(shared: Mounted, client: Puppet, control_flags: str, level_flags: str) -> None:
    """3: The two files may be opened in any way, polled and made non-blocking; no write fails with EAGAIN."""
    client.do(f"control = os.open(control_path, os.{control_flags}, 0o700)")
    client.do(f"level = os.open(level_path, os.{level_flags}); line = f'{{event}} {{level}} low'.encode()")
    client.do("""
epoll = select.epoll()
for fd in (control, level):
    epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    os.set_blocking(fd, False)
""")
    for _ in range(100):
        assert client.do("os.write(control, line)") == client.do("len(line)")
    assert heard(shared, client) == 100


def test_opened_for_reading(client: Puppet) -> None:
    """3: Root may open event_control for reading, in vain: read(2) is EINVAL, write(2) EBADF."""
    client.do("control = os.open(control_path, os.O_RDONLY)")
    assert refusal(client, "os.read(control, 10)") == errno.EINVAL
    assert refusal(client, "os.write(control, line)") == errno.EBADF


@pytest.mark.parametrize("name", ["control", "level"])
def test_what_buffered_writers_ask(client: Puppet, name: str) -> None:
    """3: fstat shows a regular file of size 0, TCGETS is ENOTTY, and every lseek returns 0."""
    assert client.do(f"oct(os.fstat({name}).st_mode)[:5], os.fstat({name}).st_size") == ["0o100", 0]
    client.do("import termios")
    assert refusal(client, f"fcntl.ioctl({name}, termios.TCGETS, bytes(64))") == errno.ENOTTY
    for whence in ("SEEK_SET", "SEEK_CUR", "SEEK_END"):
        assert client.do(f"os.lseek({name}, 0, os.{whence})") == 0


def test_closed_at_once(shared: Mounted, client: Puppet) -> None:
    """4: Both files may be closed directly after the write."""
    client.do("os.write(control, line); os.close(control); os.close(level)")
    assert heard(shared, client) == 1


WRITERS = {
    "echo": "/bin/echo '{event} {level} low' > {control}",
    "the shell itself": "echo '{event} {level} low' > {control}",
    "cat": "printf '{event} {level} low\\n' > {scratch} && cat {scratch} > {control}",
    "dd": "printf '{event} {level} low' | dd of={control} bs=4096 2> /dev/null",
    "dd that opens in its own way": (
        "printf '{event} {level} low' | dd of={control} conv=notrunc oflag=append bs=512 2> /dev/null"
    ),
    "tee": "echo '{event} {level} low' | tee {control} > /dev/null",
    "cp": "echo '{event} {level} low' > {scratch} && cp {scratch} {control}",
}


@pytest.mark.parametrize("script", WRITERS.values(), ids=WRITERS)
def test_writer_is_gone(shared: Mounted, here: Path, tmp_path: Path, script: str) -> None:
    """4: A child or a tool that has inherited the descriptors may write, and exit directly afterwards."""
    event, level = os.eventfd(0), os.open(here / "memory.pressure_level", os.O_RDONLY)
    try:
        control, scratch = here / "cgroup.event_control", tmp_path / "line"
        command = script.format(event=event, level=level, control=control, scratch=scratch)
        subprocess.run(["/bin/sh", "-ec", command], pass_fds=[event, level], check=True)
        shared.inject("low /job")
        assert readable(event, 10)
        assert os.eventfd_read(event) == 1
    finally:
        os.close(event)
        os.close(level)


def test_thread_that_does_not_lead(shared: Mounted, client: Puppet) -> None:
    """4: Any thread may write, and exit."""
    client.do("thread = threading.Thread(target=lambda: os.write(control, line))")
    client.do("thread.start(); thread.join(10)")
    assert heard(shared, client) == 1


def test_thread_with_its_own_descriptors(shared: Mounted, client: Puppet) -> None:
    """4: In a thread with its own descriptor table the numbers are of that table; nothing else is signalled.

    Before Linux 6.9 an eventfd cannot be taken from there, which is EPERM.
    """
    client.do("""
import ctypes
CLONE_FILES = 0x400
def work():
    global outcome
    assert ctypes.CDLL(None).unshare(CLONE_FILES) == 0
    os.dup2(os.eventfd(0, os.EFD_NONBLOCK), event)
    os.dup2(os.open(level_path, os.O_RDONLY), level)
    try:
        outcome = os.write(control, line)
    except OSError as error:
        outcome = -error.errno
    written.set()
    go_on.wait(10)
    outcome = outcome, drain(event)
written, go_on, thread = threading.Event(), threading.Event(), threading.Thread(target=work)
os.dup2(os.open('/dev/null', os.O_RDONLY), level)
thread.start()
written.wait(10)
""")
    assert heard(shared, client) == 0
    client.do("go_on.set(); thread.join(10)")
    registered = [client.do("len(line)"), 1]
    assert client.do("outcome") == (registered if HAS_THREAD_PIDFDS else [-errno.EPERM, 0])


_LEADERLESS = """
import ctypes, os, platform, sys, threading
control, line = sys.argv[1], sys.argv[2].encode()
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]
def leader_is_gone():
    return open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] == "Z"
def work():
    while not leader_is_gone():
        pass
    fd = os.open(control, os.O_WRONLY)
    try:
        os._exit(0 if os.write(fd, line) == len(line) else 1)
    except OSError as error:
        os._exit(error.errno)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(SYS_EXIT, 0)
"""


def test_leader_is_gone(shared: Mounted, here: Path) -> None:
    """4: A thread may write after the first thread of its process has ended.

    Before Linux 6.9 there is then no process to take the eventfd from, which is EPERM.
    """
    event, level = os.eventfd(0), os.open(here / "memory.pressure_level", os.O_RDONLY)
    try:
        command = [sys.executable, "-c", _LEADERLESS, str(here / "cgroup.event_control")]
        line = f"{event} {level} low"
        done = subprocess.run([*command, line], pass_fds=[event, level], check=False, timeout=20)
        assert done.returncode == (0 if HAS_THREAD_PIDFDS else errno.EPERM)
        shared.inject("low /job")
        assert readable(event, 10 if HAS_THREAD_PIDFDS else 0) == HAS_THREAD_PIDFDS
    finally:
        os.close(event)
        os.close(level)


def test_same_bytes_again(shared: Mounted, client: Puppet) -> None:
    """5: The same bytes written again register the eventfd that has the number at that time, and no other."""
    client.do("os.write(control, line); first = os.dup(event)")
    client.do("os.dup2(os.eventfd(0, os.EFD_NONBLOCK), event); os.write(control, line)")
    assert heard(shared, client) == 1
    assert client.do("drain(first)") == 1


@pytest.mark.parametrize("times", [1, 2, 5])
def test_every_event_adds_one(shared: Mounted, client: Puppet, times: int) -> None:
    """6: No events are merged: the count is the number of events, for each registration of the eventfd."""
    for _ in range(times):
        client.do("os.write(control, line)")
    for _ in range(100):
        shared.inject("low /job")
    assert heard(shared, client) == 101 * times
