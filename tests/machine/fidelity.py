# SPDX-License-Identifier: MIT
"""The kernel's own memory.pressure_level and ours, side by side under the same loads.

Judges nothing; as root, in scripts/machine, on a kernel that still has cgroup v1's memory controller:

    python -m tests.machine.fidelity

Two processes of one program, stamps.c, listen at the same cgroup: one on the kernel's files, one on ours,
which mirror the same hierarchy.  fidelity.json in $PRESSUREFS_OUT gets, for each source and load, when each
of their reads returned, and when the first notice came by each of them and by PSI triggers.

The instrument is scripts/machine --steady, one processor whose time is its instructions: of two emulated ones
the host's own business holds up now this, now that one for some milliseconds, and two listeners at the same
file of the kernel's are as far apart.

    python -m tests.machine.fidelity 'on two processors'

thrashes for a minute beside the kernel's worker, on a machine that has two: what the worker takes may then
still be growing when it begins.  two.json has it; its times mean nothing.

    python -m tests.machine.fidelity notices

does the same on a kernel without those files, where only we and PSI can tell: notices.json.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.machine import loads
from tests.machine.guest import BIG, memory_bytes, protect
from tests.machine.limits import zram_swap
from tests.machine.listening import serving
from tests.machine.matching import LEVELS, Events, first, parse_stamps

MOUNT = Path("/run/pressurefs")
HIERARCHY = Path("/run/pressurefs-cgroup")
BOX = HIERARCHY / "box"
OPTIONS = ["--profile", "mainline", "--cgroup", str(HIERARCHY)]
LIMIT = 64 * loads.MIB
SECONDS = 4.0
# To read as much as there is memory, and then go on.
FILLED_SECONDS = 15.0
# To meet some moments that last a microsecond.
MANY_SECONDS = 60.0
# A bomb ends by itself.
PATIENCE_SECONDS = 40.0
# So long after the load's end nothing comes any more: the worker that is late, the reads that are.
SETTLED_SECONDS = 0.5

# The kernel's files on both sides: what two listeners differ by on this machine.
CONTROL = "the kernel itself"

# Any stall at all: in the shortest window that a process with CAP_SYS_RESOURCE may ask for, and in the
# shortest that others may, since Linux 6.5, whose triggers another, slower part of the kernel looks after.
PSI = {"PSI, privileged": (0, "some 1 500000"), "PSI, unprivileged": (65534, "some 1 2000000")}

Start = Callable[[], contextlib.AbstractContextManager[int]]


class Load(NamedTuple):
    """What is played, and for how long; what is killed before is over."""

    name: str
    starts: list[Start]
    seconds: float = SECONDS


class Listener:
    """A process of stamps.c, with so many eventfds at each level."""

    def __init__(self, directory: Path, listeners: int = 1) -> None:
        command = [os.environ["PRESSUREFS_STAMPS"], str(directory), "local", str(listeners)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "listening\n":
            raise ChildProcessError(f"nobody can listen at {directory}")

    def end(self) -> Events:
        """Return what it heard."""
        self._process.terminate()
        said, _ = self._process.communicate()
        if self._process.returncode:
            raise ChildProcessError(f"stamps ended with {self._process.returncode}")
        return parse_stamps(said.splitlines())


class PsiAlarms:
    """PSI triggers, and when each has said something first."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for name, (uid, trigger) in PSI.items():
            os.seteuid(uid)
            fd = os.open("/proc/pressure/memory", os.O_RDWR | os.O_NONBLOCK)
            with contextlib.suppress(PermissionError):
                os.write(fd, trigger.encode() + b"\0")
                self._names[fd] = name
            os.seteuid(0)

    def poll_on(self, poll: select.poll) -> None:
        """Have the triggers polled."""
        for fd in self._names:
            poll.register(fd, select.POLLPRI)

    def note(self, fd: int) -> None:
        """Note that a trigger has said something, if it is one."""
        if fd in self._names:
            self.first.setdefault(self._names[fd], time.monotonic_ns())

    def close(self) -> None:
        """Take the triggers back."""
        for fd in self._names:
            os.close(fd)


def play(load: Load, directories: Mapping[str, Path]) -> dict[str, Any]:
    """Play a load and return the stamps of who listens where."""
    listeners = {who: Listener(directory) for who, directory in directories.items()}
    psi = PsiAlarms()
    poll = select.poll()
    psi.poll_on(poll)
    with contextlib.ExitStack() as stack:
        began = time.monotonic_ns()
        pidfds = [stack.enter_context(start()) for start in load.starts]
        for pidfd in pidfds:
            poll.register(pidfd, select.POLLIN)
        end = time.monotonic() + load.seconds
        is_over = False
        while not is_over and (left := end - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                psi.note(fd)
                is_over = is_over or fd in pidfds
    # Not before it is over: an event that is on its way must arrive.
    select.select([], [], [], SETTLED_SECONDS)
    psi.close()
    heard = {who: listener.end() for who, listener in listeners.items()}
    notices = {who: first(events) for who, events in heard.items()} | psi.first
    return {**heard, "first_ms": {who: at and round((at - began) / 1e6) for who, at in notices.items()}}


def mount_hierarchy() -> None:
    """Mount cgroup v1's memory hierarchy."""
    # What a kernel shows as cgroup2 it does not give to cgroup v1.
    subprocess.run(["umount", "/sys/fs/cgroup"], check=True)
    HIERARCHY.mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "memory", HIERARCHY], check=True)


@contextlib.contextmanager
def limited_box() -> Iterator[None]:
    """Have a box in the hierarchy that has a limit, as it was born, to be made after our mount.

    The kernel keeps what it has counted of a window for the next load.  A mount that begins later fills its
    windows at other moments, and each of its events is some milliseconds apart from the kernel's: by how
    many, and who is first, is chance.
    """
    BOX.mkdir()
    (BOX / "memory.limit_in_bytes").write_text(str(LIMIT))
    try:
        yield
    finally:
        # The page cache would stay, charged to who is gone.
        (BOX / "memory.force_empty").write_text("0")
        BOX.rmdir()


def inside(load: Callable[..., None], *args: Any) -> Start:
    """Return what starts a load in the box."""

    def run() -> None:
        (BOX / "cgroup.procs").write_text("0")
        load(*args)

    return lambda: loads.running(run)


def thrash_at_a_limit(path: Path, seconds: float) -> Load:
    """Return what goes round and round in three times what the box may hold."""
    return Load("file thrash", [inside(loads.thrash, path, 3 * LIMIT)] * 2, seconds)


def loads_at_a_limit(path: Path) -> list[Load]:
    """Return what brings the box to its limit."""
    return [
        Load("streaming read", [inside(loads.stream, path)]),
        thrash_at_a_limit(path, SECONDS),
        Load(
            "60 of 64 MB locked, streaming read",
            [inside(loads.hold_locked, 60 * loads.MIB), inside(loads.stream, path)],
        ),
        Load("anonymous bomb without swap", [inside(loads.anonymous_bomb)], PATIENCE_SECONDS),
    ]


def loads_of_the_machine(path: Path) -> list[Load]:
    """Return what brings the whole machine to reclaim."""
    memory = memory_bytes()
    thrash: Start = lambda: loads.running(loads.thrash, path, memory * 2 // 5)  # noqa: E731
    return [
        Load("machine: streaming read", [lambda: loads.running(loads.stream, path)], FILLED_SECONDS),
        Load("machine: file thrash", [lambda: loads.running(loads.hold, memory * 3 // 5), thrash, thrash]),
        Load(
            "machine: most of it locked, streaming read",
            [
                lambda: loads.running(loads.hold_locked, memory * 7 // 10),
                lambda: loads.running(loads.stream, path),
            ],
        ),
        Load(
            "machine: anonymous bomb without swap",
            [lambda: loads.running(loads.anonymous_bomb)],
            PATIENCE_SECONDS,
        ),
    ]


class Told:
    """What was heard, by setting and load, printed as it comes."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, Any]] = {}

    def play(self, setting: str, load: Load, directories: Mapping[str, Path]) -> None:
        """Play a load and keep what was heard."""
        outcome = self.outcomes.setdefault(setting, {})[load.name] = play(load, directories)
        counts = [
            f"{who} {'/'.join(str(len(outcome[who][level])) for level in LEVELS)}" for who in directories
        ]
        print(f"{setting:22} {load.name:36} {'   '.join(counts)}", flush=True)

    def write(self, name: str) -> None:
        """Write it where the host finds it."""
        Path(os.environ["PRESSUREFS_OUT"], name).write_text(json.dumps(self.outcomes))


def play_beside_the_kernel() -> None:
    """Play all where the kernel has its own files."""
    told = Told()
    mount_hierarchy()
    with loads.big_file(BIG, 4 * LIMIT) as path:
        for setting in (CONTROL, "kernel:windows=own", "kernel:windows=worker"):
            with contextlib.ExitStack() as stack:
                ours = BOX
                if setting != CONTROL:
                    stack.enter_context(serving(MOUNT, setting, options=OPTIONS))
                    ours = MOUNT / "box"
                stack.enter_context(limited_box())
                directories = {"kernel": BOX, "ours": ours}
                swap_limit = BOX / "memory.memsw.limit_in_bytes"
                swap_limit.write_text(str(LIMIT))
                for load in loads_at_a_limit(path):
                    told.play(setting, load, directories)
                swap_limit.write_text("-1")
                with zram_swap(4 * LIMIT):
                    bomb = Load("zram swap", [inside(loads.anonymous_bomb)], PATIENCE_SECONDS)
                    told.play(setting, bomb, directories)
    huge = BIG.with_name("pressurefs-huge")
    with loads.big_file(huge, 2 * memory_bytes()) as larger:
        for setting in ("kernel:windows=own", "vmstat"):
            with serving(MOUNT, setting, options=OPTIONS):
                directories = {"kernel": HIERARCHY, "ours": MOUNT}
                for load in loads_of_the_machine(larger):
                    told.play(setting, load, directories)
                with zram_swap(memory_bytes() // 4):
                    bomb = Load(
                        "machine: zram swap", [lambda: loads.running(loads.anonymous_bomb)], PATIENCE_SECONDS
                    )
                    told.play(setting, bomb, directories)
    told.write("fidelity.json")


def play_on_two_processors() -> None:
    """Play what makes the kernel's worker and those that it works for meet."""
    told = Told()
    mount_hierarchy()
    setting = "kernel:windows=worker"
    with (
        loads.big_file(BIG, 4 * LIMIT) as path,
        serving(MOUNT, setting, options=OPTIONS),
        limited_box(),
    ):
        told.play(setting, thrash_at_a_limit(path, MANY_SECONDS), {"kernel": BOX, "ours": MOUNT / "box"})
    told.write("two.json")


def play_notices() -> None:
    """Play what brings the whole machine to reclaim where only we and PSI can tell."""
    told = Told()
    with loads.big_file(BIG, 2 * memory_bytes()) as path:
        for setting in ("kernel", "vmstat"):
            with serving(MOUNT, setting):
                for load in loads_of_the_machine(path):
                    told.play(setting, load, {"ours": MOUNT})
    told.write("notices.json")


PLAYS = {
    "beside the kernel": play_beside_the_kernel,
    "on two processors": play_on_two_processors,
    "notices": play_notices,
}


def main(what: str = "beside the kernel") -> int:
    """Play."""
    protect()
    PLAYS[what]()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
