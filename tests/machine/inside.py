"""What an ordinary user's daemon does on a kernel whose settings may be changed, in the small machine.

The mount lane plays the same with answers that seccomp makes; here the kernel gives them.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.test_ordinary_user import REGISTER, answer, hears_by_poll, mounted_by, same_user
from tests.ordinary import OrdinaryUser, ordinary_user


@pytest.fixture
def user(place: Path) -> Iterator[OrdinaryUser]:
    """An ordinary user who may mount."""
    subprocess.run(["chmod", "666", "/dev/fuse"], check=True)
    with ordinary_user(place) as one:
        yield one


def test_as_strict_as_can_be(user: OrdinaryUser) -> None:
    """Under Yama the answer is EPERM, or `poll`, or the writer's own leave; without io_uring it is AIO."""
    Path("/proc/sys/kernel/yama/ptrace_scope").write_text("1")
    Path("/proc/sys/kernel/io_uring_disabled").write_text("2")
    said = user.shell("pressurefs doctor")
    assert "no: kernel.yama.ptrace_scope is 1; `poll LEVEL` works\n" in said
    assert "io_uring           no: Operation not permitted\n" in said
    assert "source kernel      no: loading a BPF program takes CAP_BPF and CAP_PERFMON\n" in said
    with mounted_by(user) as mount, same_user() as puppet:
        mount.await_said("signaller aio: no io_uring here")
        puppet.do("event = os.eventfd(0)")
        assert answer(puppet, REGISTER.format(path=mount.vmpressure)) == "EPERM"
        mount.await_said("EPERM: the daemon may look at the eventfd but not take it")
        assert hears_by_poll(user, mount, puppet)
        puppet.do("ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1))")  # PR_SET_PTRACER_ANY
        assert answer(puppet, REGISTER.format(path=mount.vmpressure)) == ""
        user.shell(f"pressurefs inject {mount.path} low")
        assert puppet.do("os.eventfd_read(event)") == 1
        mount.descriptors_at_start += 1  # held until two looks have found nobody else
