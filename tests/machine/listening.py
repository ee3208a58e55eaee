# SPDX-License-Identifier: MIT
"""A mount with the live source, and a shell that registers through its file.

The eventfds are this process's, and a shell inherits them: it writes "5 low" into vmpressure and is gone
a moment later.  So what is counted here went all the way: kernel, /proc/vmstat, window, eventfd.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

LEVELS = {5: "low", 6: "medium", 7: "oom"}


class Listener:
    """Three eventfds, and the mount that they are registered at."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.heard = dict.fromkeys(LEVELS.values(), 0)
        self.heard_ever = dict.fromkeys(LEVELS.values(), 0)

    def register(self) -> None:
        """Let a shell register the three."""
        for fd in LEVELS:
            os.dup2(os.eventfd(0, os.EFD_NONBLOCK), fd, inheritable=True)
        lines = "\n".join(f'echo "{fd} {level}" > {self.mount}/vmpressure' for fd, level in LEVELS.items())
        subprocess.run(["/bin/sh", "-ec", lines], pass_fds=list(LEVELS), check=True)

    def collect(self) -> dict[str, int]:
        """Add up what was signalled since the last time; return the sums since ``forget``."""
        for fd, level in LEVELS.items():
            with contextlib.suppress(BlockingIOError):
                count = os.eventfd_read(fd)
                self.heard[level] += count
                self.heard_ever[level] += count
        return self.heard

    def forget(self) -> None:
        """Begin to count anew."""
        self.heard = dict.fromkeys(LEVELS.values(), 0)

    def history(self) -> list[list[str]]:
        """Return the windows that the daemon judged: cgroup, scanned, reclaimed, priority, index, level."""
        lines = (self.mount / "vmpressure.debug" / "history").read_text().splitlines()
        return [line.split()[1:] for line in lines[1:]]

    def settle(self) -> list[list[str]]:
        """Return the history at a moment at which all that it caused was heard, and nothing else."""
        while True:
            history = self.history()
            self.collect()
            if self.history() == history:
                return history


@contextlib.contextmanager
def listening(directory: Path, source: str = "vmstat", record: Path | None = None) -> Iterator[Listener]:
    """Mount at ``directory`` and register at all three levels; ``record`` gets a trace of what is judged."""
    with serving(directory, source, record):
        listener = Listener(directory)
        listener.register()
        yield listener


@contextlib.contextmanager
def serving(
    directory: Path, source: str = "vmstat", record: Path | None = None, options: Sequence[str] = ()
) -> Iterator[int]:
    """Mount at ``directory`` and yield the daemon's pid; in the end it must have ended well."""
    directory.mkdir(parents=True, exist_ok=True)
    ready_read, ready_write = os.pipe()
    command = [sys.executable, "-m", "pressurefs", "mount", "--debug", "--source", source]
    arguments = [*options, "--ready-fd", str(ready_write), str(directory)]
    if record is not None:
        arguments += ["--record", str(record)]
    with subprocess.Popen([*command, *arguments], pass_fds=[ready_write]) as daemon:
        os.close(ready_write)
        if os.read(ready_read, 1) != b"\n":
            raise ChildProcessError("the mount does not answer")
        try:
            yield daemon.pid
        finally:
            daemon.terminate()
    if daemon.returncode != 0:
        raise ChildProcessError(f"the daemon ended with {daemon.returncode}")
