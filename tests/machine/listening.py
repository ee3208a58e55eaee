"""A mount with the live source, and a shell that registers through its file.

The eventfds are this process's, and a shell inherits them: it writes "5 low" into vmpressure and is gone
a moment later.  So what is counted here went all the way: kernel, /proc/vmstat, window, eventfd.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LEVELS = {5: "low", 6: "medium", 7: "oom"}


class Listener:
    """Three eventfds, and the mount that they are registered at."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.heard = dict.fromkeys(LEVELS.values(), 0)

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
                self.heard[level] += os.eventfd_read(fd)
        return self.heard

    def forget(self) -> None:
        """Begin to count anew."""
        self.heard = dict.fromkeys(LEVELS.values(), 0)

    def windows(self) -> list[str]:
        """Return the levels of the windows that the daemon judged, as its history shows them."""
        lines = (self.mount / "vmpressure.debug" / "history").read_text().splitlines()
        return [line.split()[-1] for line in lines[1:]]


@contextlib.contextmanager
def listening(directory: Path, source: str = "vmstat") -> Iterator[Listener]:
    """Mount at ``directory`` and register at all three levels."""
    directory.mkdir(parents=True, exist_ok=True)
    ready_read, ready_write = os.pipe()
    command = [sys.executable, "-m", "pressurefs", "mount", "--debug", "--source", source]
    arguments = ["--ready-fd", str(ready_write), str(directory)]
    with subprocess.Popen([*command, *arguments], pass_fds=[ready_write]) as daemon:
        os.close(ready_write)
        if os.read(ready_read, 1) != b"\n":
            raise ChildProcessError("the mount does not answer")
        try:
            listener = Listener(directory)
            listener.register()
            yield listener
        finally:
            daemon.terminate()
    if daemon.returncode != 0:
        raise ChildProcessError(f"the daemon ended with {daemon.returncode}")
