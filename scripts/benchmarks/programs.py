# SPDX-License-Identifier: MIT
"""Our C, compiled for the run: comparisons must not pay for Python."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent


def compile_empty(work: Path) -> Path:
    """Return the C file system that does nothing; libfuse 2, which is fusepy's, too."""
    wanted = ["pkg-config", "--cflags", "--libs", "fuse"]
    flags = subprocess.run(wanted, check=True, capture_output=True, text=True).stdout.split()
    return _compile(work / "empty-c", [FOLDER / "empty.c", *flags])


class Bare:
    """write(2) on many eventfds, and nothing else."""

    def __init__(self, work: Path, events: Sequence[int]) -> None:
        self._write_all_ns = _load_bare(work).write_all_ns
        self._write_all_ns.restype = ctypes.c_int64
        self._count = ctypes.c_size_t(len(events))
        self._events = (ctypes.c_int * len(events))(*events)

    def write_all(self) -> float:
        """Add one to each; return the seconds that took, as C saw it."""
        taken_ns: int = self._write_all_ns(self._events, self._count)
        if taken_ns < 0:
            raise OSError("write(2) on an eventfd failed")
        return taken_ns / 1e9


def make_looker(work: Path, path: Path, pause_seconds: float) -> Callable[[], None]:
    """Return what reads a file after each pause, for ever."""
    library = _load_bare(work)

    def look() -> None:
        library.look_for_ever(os.open(path, os.O_RDONLY), ctypes.c_long(round(pause_seconds * 1e9)))

    return look


def _load_bare(work: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(_compile(work / "bare.so", ["-shared", "-fPIC", FOLDER / "bare.c"])))


def _compile(target: Path, arguments: Sequence[str | Path]) -> Path:
    if not target.exists():
        subprocess.run(["gcc", "-std=gnu11", "-O2", "-o", target, *arguments], check=True)
    return target
