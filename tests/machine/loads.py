# SPDX-License-Identifier: MIT
"""Loads that bring a machine under memory pressure, each in its own way.

Owns the big file and what is done with it; knows no counters and judges nothing. A load never ends by itself:
`running` starts it in a process of its own and kills it. The watcher's process would not do, since pressure
slows a load down. All of it needs root and is meant for a machine that may die, see scripts/machine.
"""

import contextlib
import ctypes
import mmap
import os
import select
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")

MIB = 1 << 20
READ_BYTES = 256 << 10
PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def zram(size: int) -> Iterator[str]:
    """Give a disk of `size` bytes that lies, compressed, in memory."""
    subprocess.run(["modprobe", "zram"], check=True)
    control = Path("/sys/class/zram-control")
    number = int((control / "hot_add").read_text())
    Path(f"/sys/block/zram{number}/disksize").write_text(str(size))
    try:
        yield f"/dev/zram{number}"
    finally:
        (control / "hot_remove").write_text(str(number))


@contextlib.contextmanager
def big_file(directory: Path, size: int) -> Iterator[Path]:
    """Give the path of a file of `size` bytes of zeros on an ext4 of its own, mounted at `directory`.

    It takes no memory but the page cache's: the disk under it is zram, which stores a page of zeros as a
    number. The file is one hole, because that is made at once and the page cache makes no difference: each
    page that is read takes a page of memory, hole or not, and is reclaimed and counted alike (measured: the
    same index in a file of written zeros). A tmpfs would not do: its pages are swapped, never dropped.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with zram(size + size // 8) as device:
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", device], check=True)
        subprocess.run(["mount", device, directory], check=True)
        try:
            path = directory / "zeros"
            with path.open("wb") as file:
                file.truncate(size)
            yield path
        finally:
            subprocess.run(["umount", directory], check=True)


def anonymous(size: int) -> mmap.mmap:
    """Give `size` bytes of anonymous memory with a page behind each."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:: mmap.PAGESIZE] = bytes([1]) * len(range(0, size, mmap.PAGESIZE))
    return memory


def stream(path: Path) -> None:
    """Read the file from beginning to end with read(2), again and again.

    The file must be larger than memory. Then no page is wanted again before it is old, and reclaim gets
    every page that it looks at.
    """
    buffer = bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while True:
            while file.readinto(buffer):
                pass
            file.seek(0)


def hold_cached(path: Path, size: int) -> None:
    """Read the first `size` bytes of the file into the page cache, and do no more."""
    with path.open("rb", buffering=0) as file:
        for _ in range(0, size, READ_BYTES):
            file.read(READ_BYTES)
    signal.pause()


def hold(size: int) -> None:
    """Hold `size` bytes of anonymous memory, which nothing can reclaim without swap, and do no more."""
    with anonymous(size):
        signal.pause()


def hold_locked(size: int) -> None:
    """Hold `size` bytes of anonymous memory that cannot be swapped either, and do no more."""
    with anonymous(size) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)):
            raise OSError("mlock failed")
        signal.pause()


def thrash(path: Path, size: int) -> None:
    """Touch every page of the first `size` bytes through a mapping, again and again.

    Reclaim finds many pages referenced and puts them back. Two such processes are needed, as a page that two
    page tables reference is kept at first sight, and a size that the loop gets round before the pages are
    old: little above what memory can hold, and best beside `hold`. No madvise(MADV_RANDOM or
    MADV_SEQUENTIAL) here: the kernel ignores references made through such a mapping.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapping:
        while True:
            for start in range(0, size, MIB):
                mapping[start : start + MIB : mmap.PAGESIZE]


def anonymous_bomb() -> None:
    """Fill memory with anonymous pages until the OOM killer comes."""
    kept = []
    while True:
        kept.append(anonymous(MIB))


def is_dead(pidfds: list[int], seconds: float) -> bool:
    """Wait so long for one of the loads to end; tell whether one has."""
    return bool(select.select(pidfds, [], [], seconds)[0])


@contextlib.contextmanager
def running(load: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Iterator[int]:
    """Run a load in a child process and give its pidfd, which is readable once the OOM killer has ended it.

    The child is the OOM killer's first choice, and it dies with its parent. Call this from the main thread:
    the parent whose death counts is the thread that forked.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            Path("/proc/self/oom_score_adj").write_text("1000")
            if os.getppid() == parent:
                load(*args, **kwargs)
        except BaseException:  # noqa: BLE001 - whatever it was, it is told here and by the exit code
            traceback.print_exc()
        finally:
            os._exit(1)
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
    if os.WIFEXITED(status):
        raise ChildProcessError(f"{load.__name__} ended by itself: exit code {os.WEXITSTATUS(status)}")
