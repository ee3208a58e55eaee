# SPDX-License-Identifier: MIT
"""The files of the mount behave as cgroupfs's files do."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.errnos import errno_of
from tests.support.mounted import Mounted
from tests.support.puppet import Puppet


def test_listing(mount: Mounted) -> None:
    """The top directory contains the documented files with their modes, and inode numbers that agree."""
    listed = {
        entry.name: (stat.S_IMODE(entry.stat().st_mode), entry.inode()) for entry in os.scandir(mount.path)
    }
    modes = {name: mode for name, (mode, _) in listed.items()}
    control = {"vmpressure": 0o666, "cgroup.event_control": 0o222, "memory.pressure_level": 0o444}
    assert modes == {**control, "vmpressure_sensitivity": 0o644, "vmpressure.debug": 0o700, "a": 0o755}
    for name, (_, inode) in listed.items():
        assert os.stat(mount.path / name).st_ino == inode
    assert len({inode for _, inode in listed.values()}) == len(listed)


def test_content(mount: Mounted) -> None:
    """vmpressure reads as the levels that can be registered, in one read or in several."""
    assert Path(mount.vmpressure).read_text() == "low medium oom\n"
    fd = os.open(mount.vmpressure, os.O_RDONLY)
    assert (os.pread(fd, 3, 0), os.pread(fd, 6, 4), os.pread(fd, 9, 100)) == (b"low", b"medium", b"")
    os.close(fd)


REFUSED: dict[str, tuple[Callable[[Path], object], int]] = {
    "create": (lambda top: os.open(top / "new", os.O_WRONLY | os.O_CREAT), errno.EACCES),
    "create there": (
        lambda top: os.open(top / "vmpressure", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        errno.EEXIST,
    ),
    "mkdir": (lambda top: os.mkdir(top / "new"), errno.EPERM),
    "rmdir": (lambda top: os.rmdir(top / "vmpressure.debug"), errno.EPERM),
    "mkfifo": (lambda top: os.mkfifo(top / "new"), errno.EPERM),
    "unlink": (lambda top: os.unlink(top / "vmpressure"), errno.EPERM),
    "link": (lambda top: os.link(top / "vmpressure", top / "new"), errno.EPERM),
    "symlink": (lambda top: os.symlink("vmpressure", top / "new"), errno.EPERM),
    "rename": (lambda top: os.rename(top / "vmpressure", top / "new"), errno.ENOTDIR),
    "look up": (lambda top: os.stat(top / "new"), errno.ENOENT),
    "look up bytes": (lambda top: os.stat(os.fsencode(top) + b"/\xff\xfe"), errno.ENOENT),
    "below a file": (lambda top: os.stat(top / "vmpressure" / "new"), errno.ENOTDIR),
    "O_DIRECT": (lambda top: os.open(top / "vmpressure", os.O_WRONLY | os.O_DIRECT), errno.EINVAL),
}
ALLOWED: dict[str, Callable[[Path], object]] = {
    "truncate": lambda top: os.truncate(top / "vmpressure", 0),
    "truncate to 100": lambda top: os.truncate(top / "vmpressure", 100),
    "utime": lambda top: os.utime(top / "vmpressure"),
    "chown": lambda top: os.chown(top / "vmpressure", 0, 0),
    "access": lambda top: os.open(top / "vmpressure", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND),
}


@pytest.mark.parametrize(("action", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(shared: Mounted, action: Callable[[Path], object], expected: int) -> None:
    """Nothing can be made, renamed or removed, and each attempt fails with cgroupfs's errno."""
    assert errno_of(lambda: action(shared.path)) == expected


def test_open_file_is_not_hidden(shared: Mounted) -> None:
    """An open file is refused, too: libfuse tries no rename in place of the removal."""
    with open(shared.vmpressure):
        assert errno_of(lambda: os.unlink(shared.vmpressure)) == errno.EPERM


@pytest.mark.parametrize("action", ALLOWED.values(), ids=ALLOWED)
def test_allowed(shared: Mounted, action: Callable[[Path], object]) -> None:
    """What cgroupfs accepts without effect succeeds, and leaves the file unchanged."""
    fd = action(shared.path)
    if isinstance(fd, int):
        os.close(fd)
    assert Path(shared.vmpressure).read_text() == "low medium oom\n"


def test_attributes_change(shared: Mounted) -> None:
    """chmod and chown take effect, and the kernel enforces them."""
    path = shared.vmpressure
    os.chown(path, 65534, 65533)
    os.chmod(path, 0o600)
    told = os.stat(path)
    assert (stat.S_IMODE(told.st_mode), told.st_uid, told.st_gid) == (0o600, 65534, 65533)
    with Puppet(uid=65533) as other, Puppet(uid=65534) as owner:
        assert errno_of(lambda: other.do(f"os.open({path!r}, os.O_WRONLY)")) == errno.EACCES
        assert errno_of(lambda: other.do(f"os.chmod({path!r}, 0o666)")) == errno.EPERM
        owner.do(f"os.chmod({path!r}, 0o666)")
        assert errno_of(lambda: other.do(f"os.open({path!r}, os.O_WRONLY)")) == 0
    os.chown(path, 0, 0)


def test_ordinary_user(shared: Mounted) -> None:
    """An ordinary user can read the public files, can tune nothing, and cannot see the debug directory."""
    with Puppet(uid=65534) as user:
        assert user.do(f"open({shared.vmpressure!r}).read()") == "low medium oom\n"
        knob = str(shared.path / "vmpressure_sensitivity")
        assert user.do(f"open({knob!r}).read()") == "50\n"
        assert errno_of(lambda: user.do(f"open({knob!r}, 'w')")) == errno.EACCES
        assert (
            errno_of(lambda: user.do(f"os.listdir({str(shared.path / 'vmpressure.debug')!r})"))
            == errno.EACCES
        )


WRITES: dict[str, str] = {
    "pwrite at an offset": "os.pwrite(fd, line, 100)",
    "the tenth write": "[os.write(fd, line) for _ in range(10)][-1]",
    "writev of two parts": "os.writev(fd, [line[:3], line[3:]])",
    "after a seek": "os.lseek(fd, 4000, os.SEEK_SET) and os.write(fd, line)",
    "appending": "fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND) or os.write(fd, line)",
    "not blocking": "fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK) or os.write(fd, line)",
    "spliced from a pipe": "os.write(pipe[1], line) and os.splice(pipe[0], fd, len(line))",
}


@pytest.mark.parametrize("code", WRITES.values(), ids=WRITES)
def test_one_write_is_one_record(shared: Mounted, puppet: Puppet, code: str) -> None:
    """Whatever the offset and the system call, one write is one record and returns its length."""
    puppet.do(f"fd = os.open({shared.vmpressure!r}, os.O_WRONLY); pipe = os.pipe()")
    puppet.do("event = os.eventfd(0); line = f'{event} low'.encode()")
    assert puppet.do(code) == puppet.do("len(line)")
    shared.inject("low")
    assert puppet.do("os.eventfd_read(event)") == (10 if "tenth" in code or "range(10)" in code else 1)


def test_not_a_terminal(shared: Mounted) -> None:
    """isatty() of the control file fails with ENOTTY; lseek returns 0."""
    with open(shared.vmpressure, "wb", buffering=0) as file:
        assert not os.isatty(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_SET) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_END) == 0
