# SPDX-License-Identifier: MIT
"""A daemon of an ordinary user: mounted by fusermount, and for programs of the same user."""

import contextlib
import errno
import os
import select
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs import exitcodes
from tests.support.forbidding import forbidding
from tests.support.lanes import leave_out
from tests.support.mounted import Mounted, is_mounted, mounted, readable
from tests.support.ordinary import NOBODY, OrdinaryUser, ordinary_user
from tests.support.puppet import Puppet

SOMEBODY = 65533
PR_SET_DUMPABLE = 4
FUSE_CONF = Path("/etc/fuse.conf")


@pytest.fixture
def user(fuse: None, place: Path) -> Iterator[OrdinaryUser]:  # noqa: ARG001
    """An ordinary user who may mount."""
    if shutil.which("fusermount") is None:
        leave_out("fuse", "there is no fusermount")
    if stat.S_IMODE(os.stat("/dev/fuse").st_mode) & 0o666 != 0o666:
        leave_out("fuse", "/dev/fuse is not for ordinary users")
    with ordinary_user(place) as one:
        yield one


@contextlib.contextmanager
def mounted_by(user: OrdinaryUser, *arguments: str, through: tuple[str, ...] = ()) -> Iterator[Mounted]:
    """Mount as the user."""
    path = user.directory("mount")
    program = [str(user.program)]
    with mounted(user.home, *arguments, at=path, through=[*through, *user.through], program=program) as mount:
        yield mount


def same_user() -> Puppet:
    """Return a process of the user that may be looked into, as one that he started may."""
    puppet = Puppet(uid=NOBODY)
    puppet.do(f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 1)")
    return puppet


def answer(puppet: Puppet, code: str) -> str:
    """Return the name of the errno that code met, an empty string for none."""
    try:
        puppet.do(code)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


REGISTER = "write({path!r}, f'{{event}} low')"


def test_own_shell(user: OrdinaryUser) -> None:
    """The user's own shell registers its eventfd, and hears."""
    with mounted_by(user) as mount:
        event = os.eventfd(0)
        user.shell(f"echo '{event} low' > {mount.path}/vmpressure", pass_fds=[event])
        user.shell(f"pressurefs inject {mount.path} low")
        assert readable(event)
        assert os.eventfd_read(event) == 1
        os.close(event)


def test_own_everything(user: OrdinaryUser) -> None:
    """The tunable, the debug directory and exec are the mounting user's, as they are root's."""
    with mounted_by(user) as mount:
        said = user.shell(f"""
            export PRESSUREFS_MOUNT={mount.path}
            cat $PRESSUREFS_MOUNT/vmpressure
            pressurefs exec --fd 5=low -- pressurefs inject {mount.path} medium
            echo 60 > $PRESSUREFS_MOUNT/vmpressure_sensitivity
            cat $PRESSUREFS_MOUNT/vmpressure_sensitivity
            tail -n 1 $PRESSUREFS_MOUNT/vmpressure.debug/history
        """)
        assert said.split()[:4] == ["low", "medium", "oom", "60"]
        assert said.split()[-1] == "medium"


def test_other_users(user: OrdinaryUser) -> None:
    """Nobody else sees the mount, not even root: FUSE's EACCES."""
    with mounted_by(user) as mount, Puppet(uid=SOMEBODY) as other, Puppet() as root:
        for puppet in (other, root):
            puppet.do("event = os.eventfd(0)")
            assert answer(puppet, REGISTER.format(path=mount.vmpressure)) == "EACCES"
            assert answer(puppet, f"os.stat({str(mount.path)!r})") == "EACCES"


def test_not_dumpable(user: OrdinaryUser) -> None:
    """A program of the user that lets nobody look into it gets EPERM; it may poll."""
    with mounted_by(user) as mount, same_user() as puppet:
        puppet.do(f"event = os.eventfd(0); ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 0)")
        assert answer(puppet, REGISTER.format(path=mount.vmpressure)) == "EPERM"
        mount.await_said(f"refused uid {NOBODY}: EPERM: the daemon may not look into the writer")
        assert hears_by_poll(user, mount, puppet)


def hears_by_poll(user: OrdinaryUser, mount: Mounted, puppet: Puppet) -> bool:
    """Register by ``poll low``, and tell whether an event is heard."""
    puppet.do(f"polled = os.open({mount.vmpressure!r}, os.O_RDWR); os.write(polled, b'poll low')")
    puppet.do("poll = select.poll(); poll.register(polled, select.POLLPRI)")
    assert puppet.do("poll.poll(0)") == []
    user.shell(f"pressurefs inject {mount.path} low")
    heard = puppet.do("[ready for _, ready in poll.poll(30000)]")
    puppet.do("os.close(polled)")
    return bool(heard == [select.POLLPRI])


def test_no_right_to_take(user: OrdinaryUser) -> None:
    """Where it may look but not take, as under Yama, the answer is EPERM, and the log says what helps."""
    with mounted_by(user, through=tuple(forbidding("pidfd_getfd=EPERM"))) as mount, same_user() as puppet:
        puppet.do("event = os.eventfd(0)")
        assert answer(puppet, REGISTER.format(path=mount.vmpressure)) == "EPERM"
        why = "the daemon may look at the eventfd but not take it (kernel.yama.ptrace_scope?)"
        mount.await_said(f"refused uid {NOBODY}: EPERM: {why}: `poll LEVEL` needs no such right")
        assert hears_by_poll(user, mount, puppet)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(user: OrdinaryUser, number: signal.Signals) -> None:
    """Asked to stop, the daemon ends with 0, and nothing is mounted although a file is open."""
    with mounted_by(user) as mount, same_user() as puppet:
        puppet.do(f"file = os.open({mount.vmpressure!r}, os.O_RDWR); event = os.eventfd(0)")
        puppet.do("os.write(file, b'%d low' % event)")
        mount.process.send_signal(number)
        assert mount.process.wait(30) == 0
        assert not is_mounted(mount.path)
        assert puppet.do("os.eventfd_read(event)") == 1


def test_umount(user: OrdinaryUser) -> None:
    """The user unmounts by the command, which ends the daemon; another user may not."""
    with mounted_by(user) as mount:
        setpriv = ["setpriv", f"--reuid={SOMEBODY}", "--clear-groups", "--"]
        refused = subprocess.run(
            [*setpriv, user.program, "umount", mount.path], capture_output=True, text=True, check=False
        )
        assert refused.returncode == exitcodes.UNEXPECTED
        assert refused.stderr.startswith(f"pressurefs: {mount.path}: ")
        assert is_mounted(mount.path)
        user.shell(f"pressurefs umount {mount.path}")
        assert mount.process.wait(30) == 0


def test_stale_mount(user: OrdinaryUser) -> None:
    """What a killed daemon left is detached at the same user's next start."""
    with mounted_by(user) as mount:
        mount.process.kill()
        mount.process.wait()
        program = [str(user.program)]
        with mounted(user.home, at=mount.path, through=user.through, program=program) as again:
            again.await_said("detached a mount whose daemon is gone")
            user.shell(f"pressurefs inject {mount.path} low")
        mount.process.returncode = 0  # it was killed on purpose


@contextlib.contextmanager
def fuse_conf(user: OrdinaryUser, content: str) -> Iterator[None]:
    """Put another /etc/fuse.conf in the place of this machine's."""
    path = user.home / "fuse.conf"
    path.write_text(content)
    subprocess.run(["mount", "--bind", path, FUSE_CONF], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", FUSE_CONF], check=True)


def test_allow_other(user: OrdinaryUser) -> None:
    """With user_allow_other others come in; the daemon may not look into them, but they may poll."""
    with (
        fuse_conf(user, "user_allow_other\n"),
        mounted_by(user, "-o", "allow_other") as mount,
        Puppet(uid=SOMEBODY) as other,
    ):
        other.do("event = os.eventfd(0)")
        assert answer(other, REGISTER.format(path=mount.vmpressure)) == "EPERM"
        assert hears_by_poll(user, mount, other)


def test_allow_other_is_not_allowed(user: OrdinaryUser) -> None:
    """Without user_allow_other the mount is refused, and the message names what is missing."""
    path = user.directory("mount")
    with fuse_conf(user, ""):
        code, said = user.run("pressurefs", "mount", "-o", "allow_other", str(path))
    assert code == exitcodes.FUSE_UNAVAILABLE
    assert "user_allow_other" in said
    assert said.splitlines()[-1].startswith("pressurefs: mount: ")
    assert not is_mounted(path)


def test_directory_of_somebody_else(user: OrdinaryUser) -> None:
    """A directory that is not the user's is refused as a mountpoint."""
    path = user.home / "roots"
    path.mkdir()
    code, said = user.run("pressurefs", "mount", str(path))
    assert code == exitcodes.FUSE_UNAVAILABLE
    assert "pressurefs: mount: " in said
    assert not is_mounted(path)


def test_says_what_is_missing(user: OrdinaryUser) -> None:
    """Nothing is locked, the OOM killer is told nothing, and doctor and status say so."""
    with mounted_by(user) as mount:
        status = Path(f"/proc/{mount.process.pid}/status").read_text()
        assert "VmLck:\t       0 kB\n" in status
        assert Path(f"/proc/{mount.process.pid}/oom_score_adj").read_text() == "0\n"
        for command in ("doctor", f"status {mount.path}"):
            said = user.shell(f"pressurefs {command}")
            rows = dict(line.split("  ", 1) for line in said.splitlines() if "  " in line)
            told = {name: value.strip() for name, value in rows.items()}
            assert told["every user served"] == "only this user's own programs: not root"
            assert told["memory locked"] == "no: not tried for an ordinary user"
            assert told["OOM killer told"] == "no: it takes CAP_SYS_RESOURCE"


@pytest.mark.parametrize("how", ["asked for", "forbidden"])
def test_fallback(user: OrdinaryUser, how: str) -> None:
    """Without io_uring, which kernel.io_uring_disabled answers by EPERM too, it signals by AIO and sweeps."""
    forbidden = tuple(forbidding("io_uring_setup=EPERM"))
    through = forbidden if how == "forbidden" else ("env", "PRESSUREFS_SIGNALLER=aio")
    with mounted_by(user, through=through) as mount, same_user() as puppet:
        mount.await_said("signaller aio: no io_uring here")
        puppet.do("closed, event = os.eventfd(0), os.eventfd(0)")
        puppet.do(f"for one in (closed, event): write({mount.vmpressure!r}, f'{{one}} low')")
        puppet.do("os.close(closed)")
        count = f"wc -l < {mount.path}/vmpressure.debug/registrations"
        user.shell(f"until [ $({count}) = 1 ]; do sleep 0.1; done")
        user.shell(f"pressurefs inject {mount.path} low")
        assert puppet.do("os.eventfd_read(event)") == 1
        puppet.do("os.close(event)")
        user.shell(f"until [ $({count}) = 0 ]; do sleep 0.1; done")


def test_own_namespaces(user: OrdinaryUser) -> None:
    """Without fusermount: in namespaces of his own the user is root, and mounts as root does."""
    tree, mount = user.directory("tree"), user.directory("mount")
    script = f"""
        export PRESSUREFS_MOUNT={mount}
        mkdir {tree}/job && printf 'anon 0\\npgscan 0\\n' > {tree}/job/memory.stat
        mkfifo {tree}/ready
        pressurefs mount --debug --cgroup {tree} --ready-fd 9 {mount} 9> {tree}/ready 2> {tree}/log &
        read -r _ < {tree}/ready
        pressurefs exec --fd 5=low@/job -- sh -ec '
            echo "5 6 low" > {mount}/job/cgroup.event_control 6< {mount}/job/memory.pressure_level
            pressurefs inject {mount} low /job
            pressurefs eventfd read 5
        '
        kill "$!" && wait "$!"
        ls {mount}
    """
    namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    assert user.run("unshare", *namespaces, "sh", "-ec", script) == (0, "2\n")
