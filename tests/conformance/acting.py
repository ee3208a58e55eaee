# SPDX-License-Identifier: MIT
"""Performs the table's cases, by the system calls that they name, in the directory of a cgroup.

An actor is a process of its own, because a case decides which descriptors there are: 52 is a fresh eventfd,
51 the directory's memory.pressure_level, 60 and above are what the case says, 70 is closed.  It acts as root,
and by a child where a case names another user or another process.

The directory may be the kernel's own, whose answers the table holds: ``python -m tests.conformance``.
"""

import contextlib
import ctypes
import errno
import os
import re
import select
import stat
import time
from collections.abc import Callable
from functools import partial

from pressurefs.signaller.writer import EVENTFD_LINK

CONTROL_FD, EVENT_FD, OTHER_FD, REMOVED_FD, CHILDS_FD, USERS_FD = 51, 52, 60, 61, 80, 82
NUMBERS = (50, 100)
NOBODY = 65534
FILLED = 2**64 - 2  # the largest count that write(2) can make

_OPEN = re.compile(r"(?:uid (\d+) )?open\((\S+\.\S+), ([A-Z_|]+)\)(?: as root)?")
_OWN_FILE = re.compile(r"cfd = ([a-z_.]+)")


class Actor:
    """A process before a directory ``here``; ``own`` is where the cgroup itself has its files."""

    def __init__(self, here: str, own: str) -> None:
        self.here, self.own = here, own
        self.control, self.level = f"{here}/cgroup.event_control", f"{here}/memory.pressure_level"
        self.control_fd = os.open(self.control, os.O_WRONLY)

    def perform(self, case: str, written: bytes) -> str:
        """Set the stage, do what a case says, and return the answer in the table's notation."""
        os.closerange(*NUMBERS)
        with contextlib.suppress(FileNotFoundError):
            remove_cgroup(f"{self.own}/child")
        renumber(os.eventfd(0, os.EFD_NONBLOCK), EVENT_FD)
        renumber(os.open(self.level, os.O_RDONLY), CONTROL_FD)
        if case.startswith(("efd = ", "cfd = ")):
            renumber(self._open(case), OTHER_FD)
        elif match := _OPEN.fullmatch(case):
            uid, name, words = match.groups()
            flags = sum(getattr(os, word) for word in words.split("|"))
            return by_a_child(partial(open_and_close, f"{self.here}/{name}", flags), int(uid or 0))
        elif case in CALLS:
            return told(partial(CALLS[case], self, written))
        return told(partial(self.write, written))

    def write(self, written: bytes) -> int:
        """Write once."""
        return os.write(self.control_fd, written)

    def signals(self) -> int:
        """Return how often the eventfds that were registered have been signalled since."""
        counts = [os.eventfd_read(fd) for fd in (EVENT_FD, OTHER_FD) if is_signalled_eventfd(fd)]
        return sum(count - FILLED if count >= FILLED else count for count in counts)

    def _open(self, case: str) -> int:
        if case in DESCRIPTORS:
            return DESCRIPTORS[case](self)
        match = _OWN_FILE.match(case)
        assert match is not None, f"nobody says how: {case}"
        return os.open(f"{self.own}/{match[1]}", os.O_RDONLY)


def told(act: Callable[[], object]) -> str:
    """Return what came of an act, in the table's notation."""
    try:
        return str(act())
    except OSError as error:
        return f"-{errno.errorcode[error.errno or 0]}"


def by_a_child(act: Callable[[], object], uid: int = 0) -> str:
    """Return what came of an act in a child, which is of another user if so said."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        os.write(write_end, told(act).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end) as answer:
        result = answer.read()
    os.waitpid(child, 0)
    return result


def is_signalled_eventfd(fd: int) -> bool:
    """Tell whether a descriptor is an eventfd that can be read without waiting."""
    try:
        link = os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return False
    return link == EVENTFD_LINK and bool(select.select([fd], [], [], 0)[0])


def renumber(fd: int, number: int) -> None:
    """Give a descriptor a number of our choice."""
    os.dup2(fd, number)
    os.close(fd)


def make_cgroup(path: str) -> None:
    """Make a cgroup, which a plain directory becomes by a memory.stat that tells of reclaim."""
    os.mkdir(path)
    with contextlib.suppress(FileExistsError), open(f"{path}/memory.stat", "x") as file:
        file.write("anon 0\npgscan 0\npgsteal 0\n")


def remove_cgroup(path: str) -> None:
    """Remove a cgroup; the files of the kernel's go with it."""
    with contextlib.suppress(PermissionError):
        os.unlink(f"{path}/memory.stat")
    os.rmdir(path)


def open_and_close(path: str, flags: int) -> str:
    """Open a file, and tell that it went well."""
    os.close(os.open(path, flags, 0o600))
    return "ok"


def _pipe_end() -> int:
    read_end, write_end = os.pipe()
    os.close(write_end)
    return read_end


def _epoll_set() -> int:
    with select.epoll() as epoll:
        return os.dup(epoll.fileno())


def _filled_eventfd() -> int:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    os.eventfd_write(fd, FILLED)
    return fd


def _child(actor: Actor) -> int:
    make_cgroup(f"{actor.own}/child")
    return os.open(f"{actor.here}/child/memory.pressure_level", os.O_RDONLY)


def _first_of(actor: Actor, *paths: str) -> int:
    """Open a file of the kernel's; where that is not there, one that is no better serves."""
    return os.open(next(filter(os.path.exists, (*paths, f"{actor.own}/tasks"))), os.O_RDONLY)


# What descriptor 60 is, where the case does not name a file of the cgroup.
DESCRIPTORS: dict[str, Callable[[Actor], int]] = {
    "efd = regular file": lambda _: os.open("/tmp", os.O_TMPFILE | os.O_RDWR),  # noqa: S108
    "efd = pipe": lambda _: _pipe_end(),
    "efd = /dev/null": lambda _: os.open("/dev/null", os.O_RDWR),
    "efd = epoll fd": lambda _: _epoll_set(),
    "efd = O_PATH fd": lambda _: os.open("/dev/null", os.O_PATH),
    "efd = directory": lambda _: os.open("/", os.O_RDONLY),
    "efd = pressure_level fd itself": lambda actor: os.open(actor.level, os.O_RDONLY),
    "efd = semaphore eventfd": lambda _: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE),
    "efd = counter at max-1": lambda _: _filled_eventfd(),
    "efd = timerfd": lambda _: ctypes.CDLL(None).timerfd_create(time.CLOCK_MONOTONIC, 0),
    "efd = memfd": lambda _: os.memfd_create("memfd"),
    "cfd = regular file (ext4/tmp)": lambda _: os.open("/tmp", os.O_TMPFILE | os.O_RDWR),  # noqa: S108
    "cfd = /dev/null": lambda _: os.open("/dev/null", os.O_RDWR),
    "cfd = pipe read": lambda _: _pipe_end(),
    "cfd = eventfd": lambda _: os.eventfd(0),
    "cfd = directory of the cgroup": lambda actor: os.open(actor.here, os.O_RDONLY),
    "cfd = cgroup.event_control itself (O_WRONLY)": lambda actor: os.open(actor.control, os.O_WRONLY),
    "cfd = pressure_level O_PATH": lambda actor: os.open(actor.level, os.O_PATH),
    "cfd = pressure_level O_RDWR": lambda actor: os.open(actor.level, os.O_RDWR),
    "cfd = pressure_level O_WRONLY": lambda actor: os.open(actor.level, os.O_WRONLY),
    "cfd = other cgroup fs file (cpu.shares)": lambda actor: _first_of(
        actor, "/sys/fs/cgroup/cpu/cpu.shares", "/sys/fs/cgroup/cpu,cpuacct/cpu.shares"
    ),
    "cfd = cgroup2 file": lambda actor: _first_of(
        actor, "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"
    ),
    "cfd = /proc/pressure/memory": lambda actor: _first_of(actor, "/proc/pressure/memory"),
    "cfd = child cgroup's pressure_level, this event_control": _child,
    "cfd = parent cgroup's pressure_level, this event_control": lambda actor: os.open(
        f"{actor.here}/../memory.pressure_level", os.O_RDONLY
    ),
}


def _split_over_two_writes(actor: Actor, written: bytes) -> str:
    return " then ".join(told(partial(actor.write, part)) for part in written.split(b"|"))


def _write_with_removed_level(actor: Actor, written: bytes) -> int:
    renumber(_child(actor), REMOVED_FD)
    remove_cgroup(f"{actor.own}/child")
    return actor.write(written)


def _read_of_removed(actor: Actor, _: bytes) -> bytes:
    renumber(_child(actor), REMOVED_FD)
    remove_cgroup(f"{actor.own}/child")
    return os.read(REMOVED_FD, 100)


def _numbers_of_another_process(actor: Actor, written: bytes) -> str:
    os.dup2(EVENT_FD, CHILDS_FD)
    os.dup2(CONTROL_FD, CHILDS_FD + 1)

    def write() -> int:
        os.close(CHILDS_FD)
        os.close(CHILDS_FD + 1)
        return actor.write(written)

    return by_a_child(write)


def _eventfd_of_the_child(actor: Actor, written: bytes) -> str:
    def write() -> int:
        renumber(os.eventfd(0), CHILDS_FD)
        return actor.write(written)

    return by_a_child(write)


def _unreadable_level(actor: Actor, written: bytes, uid: int = 0) -> str:
    os.dup2(EVENT_FD, USERS_FD)
    os.chmod(actor.level, 0)
    try:
        return by_a_child(partial(actor.write, written), uid)
    finally:
        os.chmod(actor.level, 0o444)


def _read_back(path: str, flags: int) -> bytes:
    fd = os.open(path, flags)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def _write_level(actor: Actor) -> int:
    fd = os.open(actor.level, os.O_RDWR)
    try:
        return os.write(fd, b"x")
    finally:
        os.close(fd)


def _poll(actor: Actor) -> str:
    poll = select.poll()
    poll.register(actor.control_fd)
    return hex(poll.poll(0)[0][1])


def _epoll_add(fd: int) -> str:
    with select.epoll() as epoll:
        epoll.register(fd)
    return "ok"


def _change_mode(actor: Actor) -> str:
    before = stat.S_IMODE(os.stat(actor.control).st_mode)
    os.chmod(actor.control, 0o200)
    os.chmod(actor.control, 0o222)  # noqa: S103
    mode = os.stat(actor.control).st_mode
    os.chmod(actor.control, before)
    return f"None mode now 0o{mode:o}"


def _stat(path: str) -> str:
    seen = os.stat(path)
    whose = f"mode=0o{seen.st_mode:o} uid={seen.st_uid} gid={seen.st_gid}"
    size = f"size={seen.st_size} blksize={seen.st_blksize} blocks={seen.st_blocks}"
    return f"{whose} {size} nlink={seen.st_nlink}"


def _access(path: str) -> str:
    return "".join("y" if os.access(path, mode) else "n" for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK))


# The cases that are more, or other, than one write to cgroup.event_control.
CALLS: dict[str, Callable[[Actor, bytes], object]] = {
    "record split over two writes": _split_over_two_writes,
    "pwrite at offset 100": lambda actor, written: os.pwrite(actor.control_fd, written, 100),
    "writev of two parts": lambda actor, written: os.writev(actor.control_fd, written.split(b"|")),
    "pressure_level fd of a removed cgroup, live event_control": _write_with_removed_level,
    "read() of pressure_level fd of a removed cgroup": _read_of_removed,
    "fd numbers valid only in another process": _numbers_of_another_process,
    "event_control fd inherited, eventfd exists only in the writing child": _eventfd_of_the_child,
    "same, pressure_level chmod 0000 (file_permission MAY_READ)": partial(_unreadable_level, uid=NOBODY),
    "root, pressure_level chmod 0000": _unreadable_level,
    "lseek(SEEK_SET 0) / lseek(SEEK_END)": lambda actor, _: " / ".join(
        str(os.lseek(actor.control_fd, 0, whence)) for whence in (os.SEEK_SET, os.SEEK_END)
    ),
    "open(new file in dir, O_CREAT)": lambda actor, _: open_and_close(
        f"{actor.here}/new", os.O_WRONLY | os.O_CREAT
    ),
    "read(pressure_level O_RDONLY)": lambda *_: os.read(CONTROL_FD, 100),
    "pread": lambda *_: os.pread(CONTROL_FD, 100, 0),
    "read(0 bytes)": lambda *_: os.read(CONTROL_FD, 0),
    "write('x') to pressure_level O_RDWR": lambda actor, _: _write_level(actor),
    "read(event_control O_RDWR)": lambda actor, _: _read_back(actor.control, os.O_RDWR),
    "poll(event_control O_WRONLY) revents": lambda actor, _: _poll(actor),
    "epoll_ctl ADD pressure_level": lambda *_: _epoll_add(CONTROL_FD),
    "epoll_ctl ADD event_control": lambda actor, _: _epoll_add(actor.control_fd),
    "fsync(event_control)": lambda actor, _: os.fsync(actor.control_fd),
    "ftruncate(event_control,0)": lambda actor, _: os.ftruncate(actor.control_fd, 0),
    "ftruncate(event_control,100)": lambda actor, _: os.ftruncate(actor.control_fd, 100),
    "unlink(event_control)": lambda actor, _: os.unlink(actor.control),
    "rename(event_control)": lambda actor, _: os.rename(actor.control, f"{actor.here}/new"),
    "link": lambda actor, _: os.link(actor.control, f"{actor.here}/new"),
    "symlink in dir": lambda actor, _: os.symlink("new", f"{actor.here}/new"),
    "chmod 0222 then back": lambda actor, _: _change_mode(actor),
    "utimensat(event_control)": lambda actor, _: os.utime(actor.control, (1, 1)),
    "stat cgroup.event_control": lambda actor, _: _stat(actor.control),
    "stat memory.pressure_level": lambda actor, _: _stat(actor.level),
    "stat <dir>": lambda actor, _: _stat(actor.here),
    "access(cgroup.event_control) F_OK/R_OK/W_OK/X_OK as root": lambda actor, _: _access(actor.control),
    "access(memory.pressure_level) F_OK/R_OK/W_OK/X_OK as root": lambda actor, _: _access(actor.level),
    "uid 65534 access(event_control, W_OK)": lambda actor, _: by_a_child(
        partial(os.access, actor.control, os.W_OK), NOBODY
    ),
}
