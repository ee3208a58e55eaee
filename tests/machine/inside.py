# SPDX-License-Identifier: MIT
"""What takes a kernel of our own, in the small machine: settings that may be changed, and BPF.

The mount lane plays an ordinary user's daemon with answers that seccomp makes; here the kernel gives them.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs import client
from tests.machine import loads
from tests.machine.guest import BIG, memory_bytes
from tests.mount.test_ordinary_user import REGISTER, answer, hears_by_poll, mounted_by, same_user
from tests.support.confining import CONFINING
from tests.support.mounted import eventually, mounted, readable
from tests.support.ordinary import OrdinaryUser, ordinary_user

# The source kernel dies at its second watch: it takes any silence for reclaim that it is not told of.
DYING = """
from pressurefs.cli.main import main as run_command
from pressurefs.sources import kernel
kernel.WATCH_PAGES = -1
raise SystemExit(run_command())
"""


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


def test_unit_lets_the_kernel_speak(place: Path) -> None:
    """Confined as the systemd unit has it the daemon still takes the source kernel, and its turn first."""
    with mounted(place, "--cgroup", "/sys/fs/cgroup", through=CONFINING) as mount:
        assert mount.debug("source").startswith("source kernel\n")
        threads = map(int, os.listdir(f"/proc/{mount.process.pid}/task"))
        assert os.SCHED_FIFO in {os.sched_getscheduler(one) & ~os.SCHED_RESET_ON_FORK for one in threads}


def test_source_that_dies(place: Path) -> None:
    """Where the source kernel dies vmstat takes its place, and whoever had registered hears on."""
    arguments = "--cgroup", "/sys/fs/cgroup", "--proc", "/proc"
    with mounted(place, *arguments, program=[sys.executable, "-c", DYING]) as mount:
        assert mount.debug("source").startswith("source kernel\n")
        began = mount.debug("source").splitlines()[1]
        event = os.eventfd(0, os.EFD_CLOEXEC)
        client.register(event, "low", mount.path / "vmpressure")
        mount.await_said("another takes its place")
        eventually(lambda: mount.debug("source").startswith("source vmstat\n"))
        assert mount.debug("source").splitlines()[1] > began
        assert not readable(event, 0)
        with loads.big_file(BIG, 2 * memory_bytes()) as path, loads.running(loads.stream, path):
            assert readable(event)
        os.close(event)
