# SPDX-License-Identifier: MIT
"""File systems that run for the time of a measurement."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PRESSUREFS = (sys.executable, "-m", "pressurefs", "mount", "--ready-fd")


class Served(NamedTuple):
    """A file system that answers, and how long that took from its exec."""

    pid: int
    ready_seconds: float


@contextlib.contextmanager
def serving(command: Sequence[str], place: Path, *, pass_fds: Sequence[int] = ()) -> Iterator[Served]:
    """Mount at ``place`` and wait until that answers; unmount in the end.

    The command gets two arguments more: a descriptor to write a newline to as soon as the mount answers,
    and the place.
    """
    place.mkdir(exist_ok=True)
    read, write = os.pipe()
    stderr = place.with_name(f"{place.name}.stderr")
    began = time.perf_counter()
    with (
        stderr.open("wb") as log,
        subprocess.Popen(
            [*command, str(write), str(place)], pass_fds=[write, *pass_fds], stderr=log
        ) as process,
    ):
        os.close(write)
        answer = os.read(read, 1)
        ready_seconds = time.perf_counter() - began
        os.close(read)
        if not answer:
            raise SystemExit(f"scripts/bench: {' '.join(command)}: did not mount: {stderr.read_text()}")
        try:
            yield Served(process.pid, ready_seconds)
        finally:
            subprocess.run(["umount", place], check=True)


def register(vmpressure: Path, events: Sequence[int]) -> None:
    """Register eventfds at ``low``, in their order."""
    fd = os.open(vmpressure, os.O_WRONLY)
    for event in events:
        os.write(fd, f"{event} low".encode())
    os.close(fd)
