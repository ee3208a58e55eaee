# SPDX-License-Identifier: MIT
"""A real mount by a real daemon, watched for what must never happen.

Whatever a test does, at its end the daemon has no more descriptors than at its start, has stayed below
its ceiling of memory, has said nothing suspicious, ends with 0 when asked to, and leaves no mount.
"""

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pressurefs.filesystem.fuse.selection import FUSE_VARIABLE
from pressurefs.mountinfo import read_mountinfo, topmost

# What a directory of the mount holds, beside those of the cgroups below.
CONTROL_FILES = {"vmpressure", "cgroup.event_control", "memory.pressure_level"}

SUSPICIOUS = re.compile(
    r"traceback|exception|\bfault\b|warning:|segmentation|assert|fuse:|leak|sanitizer|runtime error",
    re.IGNORECASE,
)
RSS_CEILING_KIB = 30 * 1024
# AddressSanitizer keeps a shadow of all memory and red zones around every piece of it: 56 MiB were measured.
SANITIZED_RSS_CEILING_KIB = 96 * 1024
DEADLINE_SECONDS = 120.0  # what holds comes long before, but on a busy machine

# The library of each binding, as its file name begins; how many mounts were served by which.
LIBRARIES = {"fusepy": "libfuse.so.2", "mfusepy": "libfuse3.so."}
SERVED: Counter[str] = Counter()


class Mounted:
    """A running daemon and its mount.  ``stderr`` collects what it says."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], stderr: Path) -> None:
        self.path = path
        self.process = process
        self._stderr = stderr
        self.descriptors_at_start = self.descriptors()

    @property
    def vmpressure(self) -> str:
        """The control file's path."""
        return str(self.path / "vmpressure")

    def debug(self, name: str) -> str:
        """Read a file of the debug directory."""
        return (self.path / "vmpressure.debug" / name).read_text()

    def inject(self, text: str) -> None:
        """Put an event or a sample in."""
        with open(self.path / "vmpressure.debug" / "inject", "w") as file:
            file.write(text)

    def registrations(self) -> list[list[str]]:
        """Return the fields of each live or not yet swept registration."""
        return [line.split() for line in self.debug("registrations").splitlines()]

    def descriptors(self) -> int:
        """Return how many descriptors the daemon has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_kib(self) -> int:
        """Return the daemon's resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1])

    def locked_kib(self) -> int:
        """Return how much of the daemon's memory cannot be evicted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^VmLck:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1])

    def library(self) -> str | None:
        """Return the file name of the libfuse that the daemon has mapped; None for a wrapper's process."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        names = set(re.findall(r"/(libfuse[^/\s]*)$", maps, re.MULTILINE))
        assert len(names) <= 1, names
        return names.pop() if names else None

    def is_sanitized(self) -> bool:
        """Tell whether the daemon runs under AddressSanitizer: see scripts/test-sanitized."""
        return "/libasan.so" in Path(f"/proc/{self.process.pid}/maps").read_text()

    def said(self) -> str:
        """Return what the daemon has written to stderr so far."""
        return self._stderr.read_text()

    def await_said(self, text: str, times: int = 1) -> None:
        """Wait until the daemon has said something so often; a thread of its own writes the lines."""
        eventually(lambda: self.said().count(text) == times)

    def await_registrations(self, count: int) -> None:
        """Wait until the dead have been swept and just so many are left."""
        eventually(lambda: len(self.registrations()) == count)


def open_files(pid: int) -> dict[int, str]:
    """Return what each descriptor of a process leads to, but for those that are closed while it is asked."""
    links = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return links


def eventually(holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Look until something holds; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold in time"
        select.select([], [], [], 0.01)


def is_mounted(path: Path) -> bool:
    """Tell whether anything is mounted there, without touching it."""
    return topmost(read_mountinfo(), str(path)) is not None


def note_library(mount: Mounted) -> None:
    """Count by what a mount is served, and insist on what $PRESSUREFS_FUSE asks for."""
    library = mount.library()
    if library is not None:
        SERVED[library] += 1
        assert library.startswith(LIBRARIES.get(os.environ.get(FUSE_VARIABLE, ""), "libfuse"))


def readable(fd: int, seconds: float = DEADLINE_SECONDS) -> bool:
    """Wait for a descriptor to become readable."""
    return bool(select.select([fd], [], [], seconds)[0])


@contextlib.contextmanager
def mounted(
    directory: Path,
    *arguments: str,
    at: Path | None = None,
    debug: bool = True,
    through: Sequence[str] = (),
    rss_kib: int = RSS_CEILING_KIB,
    program: Sequence[str] = (sys.executable, "-m", "pressurefs"),
) -> Iterator[Mounted]:
    """Mount at ``directory``/mount, or ``at`` another place, and hold the daemon to its promises.

    The mount stands for a tree of plain directories, ``directory``/cgroups, which has /a/b, and samples a
    machine on which nothing happens: this one as it is, and as it stays in ``directory``/still.
    ``through``: a command that runs the daemon, such as setpriv.  ``program``: what pressurefs is.
    """
    directory.chmod(0o755)  # other users must reach the mount
    tree = directory / "cgroups"
    (tree / "a" / "b").mkdir(parents=True, exist_ok=True)
    still = directory / "still"
    still.mkdir(exist_ok=True)
    for name in ("vmstat", "zoneinfo", "meminfo"):
        (still / name).write_bytes(Path("/proc", name).read_bytes())
    path = at or directory / "mount"
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    stderr = directory / "stderr"
    ready_read, ready_write = os.pipe()
    command = [*program, "mount", "--ready-fd", str(ready_write), "--cgroup", str(tree)]
    command += ["--proc", str(still)]
    if debug:
        command.append("--debug")
    with stderr.open("wb") as log:
        process = subprocess.Popen(
            [*through, *command, *arguments, str(path)], pass_fds=[ready_write], stderr=log
        )
    os.close(ready_write)
    try:
        assert readable(ready_read), f"not ready: {stderr.read_text()}"
        assert os.read(ready_read, 1) == b"\n", f"ended at once: {stderr.read_text()}"
        # The daemon closes it next; a command that stays its parent has it open, too.
        readable(ready_read, 1)
        mount = Mounted(path, process, stderr)
        note_library(mount)
        yield mount
        if process.poll() is None:
            eventually(lambda: mount.descriptors() <= mount.descriptors_at_start)
            assert mount.rss_kib() < (SANITIZED_RSS_CEILING_KIB if mount.is_sanitized() else rss_kib)
            process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
        assert not SUSPICIOUS.search(stderr.read_text()), stderr.read_text()
        assert not is_mounted(path)
    finally:
        os.close(ready_read)
        process.kill()
        process.wait()
        if is_mounted(path):
            subprocess.run(["umount", "-l", path], check=True)
