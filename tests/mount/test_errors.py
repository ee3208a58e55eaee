# SPDX-License-Identifier: MIT
"""What write(2) answers, row by row of the contract's table of errors."""

import ctypes
import errno
import os
import struct
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs.errors import refusal_of
from pressurefs.filesystem.fuse.selection import open_binding
from pressurefs.filesystem.nodes import Access, Directory, File
from pressurefs.filesystem.operations import Operations
from pressurefs.signaller.writer import Caller
from tests.support.mounted import DEADLINE_SECONDS, Mounted, mounted
from tests.support.puppet import Puppet

NOBODY = 65534
SOMEBODY = 65533
SYS_PIDFD_GETFD = 438  # the same number on every architecture

# The puppet's descriptors: 52 an eventfd, 51 the control file, 60 what the case says.
TEXT_CASES = [
    ("52 low", 0),
    ("52 medium", 0),
    ("52 oom", 0),
    ("52 critical", 0),
    ("52 low,local", 0),
    ("52 low,hierarchy", 0),
    ("52 low,default,anything", 0),
    ("52 51 low", 0),
    ("52 51 oom,hierarchy", 0),
    ("  52 low \t\n", 0),
    ("52 low\0garbage", 0),
    ("4294967348 low", 0),
    ("52 4294967347 low", 0),
    # Numbers that are no int were a fault, EIO.
    ("2147483648 low", errno.EBADF),
    ("2147483648 51 low", errno.EBADF),
    ("4294967295 low", errno.EBADF),
    ("52 2147483648 low", errno.EBADF),
    ("52 4294967295 low", errno.EBADF),
    ("52 low" + " " * 4090, 0),
    ("52 low" + " " * 4091, errno.E2BIG),
    ("52 low" + "\0" * 200_000, errno.E2BIG),
    ("", None),
    ("\n", errno.EINVAL),
    ("52", errno.EINVAL),
    ("52 ", errno.EINVAL),
    ("52 51", errno.EINVAL),
    ("52 51 53", errno.EINVAL),
    ("52  low", errno.EINVAL),
    ("52\tlow", errno.EINVAL),
    ("-1 low", errno.EINVAL),
    ("0x34 low", errno.EINVAL),
    ("52 LOW", errno.EINVAL),
    ("52 high", errno.EINVAL),
    ("52 low,", errno.EINVAL),
    ("52 low,LOCAL", errno.EINVAL),
    ("52 low extra", errno.EINVAL),
    ("low", errno.EINVAL),
    ("low 52", errno.EINVAL),
    ("70 low", errno.EBADF),
    ("064 low", errno.EBADF),
    ("999999 low", errno.EBADF),
    ("70 bogus", errno.EBADF),
    ("52 70 low", errno.EBADF),
    ("52 70 bogus", errno.EBADF),
    ("52 52 low", errno.EINVAL),
    ("51 51 low", errno.EINVAL),
]

OTHER_DESCRIPTORS = {
    "a file": "os.open('/etc/passwd', os.O_RDONLY)",
    "a directory": "os.open('/', os.O_RDONLY)",
    "a pipe": "os.pipe()[0]",
    "a socket": "socket.socket().detach()",
    "/dev/null": "os.open('/dev/null', os.O_RDWR)",
    "a memfd": "os.memfd_create('anon_inode:[eventfd]')",
    "an epoll set": "os.dup((epoll := select.epoll()).fileno())",
    "a pidfd": "os.pidfd_open(os.getpid())",
}


@pytest.fixture
def mount(shared: Mounted) -> Mounted:
    """One mount for all cases: that a refusal leaves nothing behind is tried at once."""
    return shared


@pytest.fixture(scope="module")
def writer(shared: Mounted) -> Iterator[Puppet]:
    with Puppet() as puppet:
        puppet.do(f"path = {shared.vmpressure!r}")
        puppet.do("fd = os.open(path, os.O_RDWR); os.dup2(fd, 51); os.close(fd)")
        yield puppet


@pytest.fixture
def caller(writer: Puppet) -> Puppet:
    """The writer, with a fresh eventfd 52."""
    writer.do("fd = os.eventfd(0, os.EFD_NONBLOCK); os.dup2(fd, 52); os.close(fd)")
    return writer


def times_signalled(mount: Mounted, caller: Puppet) -> int:
    """Return how often eventfd 52 is registered: one event of the highest level tells."""
    mount.inject("oom")
    return int(caller.do("drain(52)"))


def answer(puppet: Puppet, code: str) -> int:
    """Return the errno that code in the puppet met, 0 for none."""
    try:
        puppet.do(code)
    except OSError as error:
        assert error.errno is not None
        return error.errno
    return 0


@pytest.mark.parametrize(("line", "expected"), TEXT_CASES, ids=[repr(line[:40]) for line, _ in TEXT_CASES])
def test_line(mount: Mounted, caller: Puppet, line: str, expected: int | None) -> None:
    """A line is answered with its whole length, or with the one right errno and nothing left behind."""
    written = line.encode()
    if expected in (0, None):
        assert caller.do(f"write(path, {written!r})") == len(written)
    else:
        assert answer(caller, f"write(path, {written!r})") == expected
    assert times_signalled(mount, caller) == (1 if expected == 0 else 0)


@pytest.mark.parametrize("opening", OTHER_DESCRIPTORS.values(), ids=OTHER_DESCRIPTORS)
def test_other_descriptor(mount: Mounted, caller: Puppet, opening: str) -> None:
    """What is open but no eventfd, or not this control file, is EINVAL."""
    caller.do(f"fd = {opening}; os.dup2(fd, 60)")
    assert answer(caller, "write(path, '60 low')") == errno.EINVAL
    assert answer(caller, "write(path, '52 60 low')") == errno.EINVAL
    assert times_signalled(mount, caller) == 0


MAGIC = 0x564D5001
STRUCT_CASES = [
    ((MAGIC, 0, 52, -1), 0),
    ((MAGIC, 2, 52, 51), 0),
    ((MAGIC, 3, 52, -1), errno.EINVAL),
    ((MAGIC, 0, -1, -1), errno.EBADF),
    ((MAGIC, 0, 70, -1), errno.EBADF),
    ((MAGIC, 3, 70, -1), errno.EBADF),
    ((MAGIC, 0, 51, -1), errno.EINVAL),
    ((MAGIC, 0, 52, 70), errno.EBADF),
    ((MAGIC, 0, 52, 52), errno.EINVAL),
    ((MAGIC, 0, 52, -2), errno.EBADF),
    ((MAGIC + 1, 0, 52, -1), errno.EPROTONOSUPPORT),
]


@pytest.mark.parametrize(
    ("fields", "expected"), STRUCT_CASES, ids=[str(fields) for fields, _ in STRUCT_CASES]
)
def test_struct(mount: Mounted, caller: Puppet, fields: tuple[int, int, int, int], expected: int) -> None:
    """A binary registration is answered as a line is."""
    written = struct.pack("<IIii", *fields)
    assert answer(caller, f"write(path, {written!r})") == expected
    assert times_signalled(mount, caller) == (1 if expected == 0 else 0)


def test_path_descriptor(caller: Puppet) -> None:
    """A descriptor opened with O_PATH counts as closed."""
    caller.do("fd = os.open(path, os.O_PATH); os.dup2(fd, 60)")
    assert answer(caller, "write(path, '60 low')") == errno.EBADF
    assert answer(caller, "write(path, '52 60 low')") == errno.EBADF


@pytest.mark.parametrize("line", ["60 low", "60 51 low", "60 70 low", "60 bogus"])
def test_eventfd_as_a_path(mount: Mounted, caller: Puppet, line: str) -> None:
    """An eventfd opened with O_PATH counts as closed, before what else is wrong; its user is served on."""
    caller.do("fd = os.open('/proc/self/fd/52', os.O_PATH); os.dup2(fd, 60)")
    assert answer(caller, f"write(path, {line!r})") == errno.EBADF
    assert times_signalled(mount, caller) == 0
    assert answer(caller, "write(path, '52 low')") == 0


def test_other_control_file(mount: Mounted, caller: Puppet, place: Path) -> None:
    """Another file of the same mount is not the control file, nor is the same inode number elsewhere."""
    caller.do(f"fd = os.open({str(mount.path / 'vmpressure_sensitivity')!r}, os.O_RDONLY); os.dup2(fd, 60)")
    assert answer(caller, "write(path, '52 60 low')") == errno.EINVAL
    (elsewhere := place / "elsewhere").mkdir()
    with mounted(elsewhere) as other:
        assert os.stat(other.vmpressure).st_ino == os.stat(mount.vmpressure).st_ino
        caller.do(f"fd = os.open({other.vmpressure!r}, os.O_RDONLY); os.dup2(fd, 60)")
        assert answer(caller, "write(path, '52 60 low')") == errno.EINVAL
        caller.do("os.close(fd); os.close(60)")


def test_control_file_not_readable(mount: Mounted) -> None:
    """A control file that the writer may not read is EACCES, as in the kernel; root may always."""
    with Puppet(uid=NOBODY) as nobody, Puppet() as root:
        for mode, puppet, expected in (
            (0o222, nobody, errno.EACCES),
            (0o222, root, 0),
            (0o662, nobody, errno.EACCES),
            (0o666, nobody, 0),
        ):
            os.chmod(mount.vmpressure, mode)
            puppet.do(f"event = os.eventfd(0); control = os.open({mount.vmpressure!r}, os.O_WRONLY)")
            line = "os.write(control, f'{event} {control} low'.encode())"
            assert answer(puppet, line) == expected


def test_handed_descriptor(mount: Mounted) -> None:
    """Who did not open the file may not write through it, unless root opened it."""
    with Puppet(uid=NOBODY) as opener:
        control = os.open(mount.vmpressure, os.O_WRONLY)
        try:
            # Root opened it and hands it on: the writer registers its own eventfd.
            os.set_inheritable(control, True)
            child = os.fork()
            if child == 0:
                os.setgid(SOMEBODY)
                os.setuid(SOMEBODY)
                line = f"{os.eventfd(0)} low".encode()
                os._exit(0 if os.write(control, line) == len(line) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        finally:
            os.close(control)
        # nobody opened it, and root writes: what a set-uid program would be made to do.
        opener.do(f"fd = os.open({mount.vmpressure!r}, os.O_WRONLY)")
        control = take(opener, "fd")
        event = os.eventfd(0)
        try:
            with pytest.raises(PermissionError) as refused:
                os.write(control, f"{event} low".encode())
            assert refused.value.errno == errno.EPERM
        finally:
            os.close(control)
            os.close(event)


def test_invisible_writer(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A writer whom the daemon's pid namespace does not show is ESRCH."""
    # unshare(1) stays the parent, so the daemon is ended by unmounting, which it takes for a clean end.
    with mounted(place, through=["unshare", "--pid", "--fork"]) as mount, Puppet() as puppet:
        assert answer(puppet, f"write({mount.vmpressure!r}, f'{{os.eventfd(0)}} low')") == errno.ESRCH
        subprocess.run(["umount", mount.path], check=True)
        assert mount.process.wait(DEADLINE_SECONDS) == 0


def test_writer_of_another_user(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A writer whom the daemon may not look into is EPERM; its own user is served."""
    without_ptrace = ["setpriv", "--bounding-set", "-sys_ptrace"]
    with mounted(place, through=without_ptrace) as mount:
        register = f"write({mount.vmpressure!r}, f'{{os.eventfd(0)}} low')"
        with Puppet(uid=NOBODY) as other, Puppet() as own:
            assert answer(other, register) == errno.EPERM
            # A puppet with rights that the daemon lacks is not its to look into either.
            assert answer(own, register) == errno.EPERM
            own.do("import ctypes; ctypes.CDLL(None).prctl(24, 19)")  # PR_CAPBSET_DROP, CAP_SYS_PTRACE
            program = f"import os; os.write(os.open({mount.vmpressure!r}, 1), b'%d low' % os.eventfd(0))"
            own.do(f"code = subprocess.run([sys.executable, '-c', {program!r}])")
            assert own.do("code.returncode") == 0


def test_quota(mount: Mounted) -> None:
    """An ordinary user holds 1,024 registrations and no more; dead ones and other users' do not count."""
    with Puppet(uid=NOBODY) as puppet:
        puppet.do(f"path = {mount.vmpressure!r}; event = os.eventfd(0); line = f'{{event}} low'.encode()")
        puppet.do("control = os.open(path, os.O_WRONLY)")
        puppet.do("for _ in range(1024): os.write(control, line)")
        assert answer(puppet, "os.write(control, line)") == errno.EDQUOT
        # What is wrong with the line is told first, and event_fd's state belongs to that.
        assert answer(puppet, "os.write(control, b'999999 low')") == errno.EBADF
        assert answer(puppet, "os.write(control, f'{control} low'.encode())") == errno.EINVAL
        puppet.do("path_fd = os.open(f'/proc/self/fd/{event}', os.O_PATH)")
        assert answer(puppet, "os.write(control, f'{path_fd} low'.encode())") == errno.EBADF
        with Puppet(uid=SOMEBODY) as other:
            other.do(f"event = os.eventfd(0); write({mount.vmpressure!r}, f'{{event}} low')")
        puppet.do("os.close(event); event = os.eventfd(0); line = f'{event} low'.encode()")
        puppet.do("os.write(control, line)")
    mount.await_said("EDQUOT")


def test_out_of_descriptors(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A daemon that has no descriptor left says ENFILE, harms nobody, and serves again when some are free."""
    with mounted(place, through=["prlimit", "--nofile=48:48"]) as mount, Puppet() as puppet:
        puppet.do(f"path = {mount.vmpressure!r}; events = [os.eventfd(0) for _ in range(64)]")
        puppet.do("done = []")
        code = "done.append(write(path, f'{events[len(done)]} low'))"
        while (number := answer(puppet, code)) == 0:
            pass
        assert number == errno.ENFILE
        registered = puppet.do("len(done)")
        assert registered > 16
        mount.inject("low")
        assert puppet.do("[os.eventfd_read(event) for event in events[:len(done)]]") == [1] * registered
        puppet.do("for _ in range(4): os.close(events.pop(0)); done.pop()")
        puppet.do(code)


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        (errno.EMFILE, errno.ENFILE),
        (errno.ENFILE, errno.ENFILE),
        (errno.ENOMEM, errno.ENOMEM),
        (errno.ENOSPC, errno.ENOMEM),
        (errno.EAGAIN, errno.EIO),
        (errno.EPERM, errno.EIO),
    ],
)
def test_own_shortage(fuse: None, ours: int, told: int) -> None:  # noqa: ARG001
    """What io_uring or epoll lack is the daemon's shortage, or its fault: never an errno of theirs."""

    class Failing(File):
        def write(self, access: Access, record: bytes) -> None:  # noqa: ARG002
            raise refusal_of(OSError(ours, ""))

    top = Directory(1, 0o755, {"file": Failing(2, 0o666)})
    operations = Operations(top, lambda: None, lambda: Caller(os.getpid(), 0, 0))
    info = types.SimpleNamespace(flags=os.O_WRONLY, fh=0, direct_io=0)
    operations.open("/file", info)
    answer = open_binding()._wrapper(operations.write, "/file", b"x", 0, info)  # noqa: SLF001
    assert answer == -told


def test_own_fault(fuse: None) -> None:  # noqa: ARG001
    """A fault of our own is EIO and a line in the log, never a success and never a guess."""

    def broken(fault: BaseException) -> int:
        raise fault

    answer = open_binding()._wrapper  # noqa: SLF001
    for fault in (ValueError("a bug"), OSError("no errno"), SystemExit(0), KeyboardInterrupt()):
        assert answer(broken, fault) == -errno.EIO
    assert answer(broken, OSError(errno.EDQUOT, "")) == -errno.EDQUOT


def take(puppet: Puppet, name: str) -> int:
    """Duplicate the puppet's descriptor into this process: the same open file, as if it had been sent."""
    fd = puppet.do(name)
    pidfd = os.pidfd_open(puppet.pid)
    try:
        taken = ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
    finally:
        os.close(pidfd)
    assert taken >= 0
    return int(taken)
