# SPDX-License-Identifier: MIT
"""A real mount by a real daemon, and checks of what must hold whatever a test does.

At the end of a test the daemon has no more descriptors than at its start, its resident memory is below the
ceiling, its stderr has no suspicious word, SIGTERM ends it with exit code 0, and the mount is gone.
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

# The files of each directory of the mount; beside them it has directories of cgroups.
CONTROL_FILES = {"vmpressure", "cgroup.event_control", "memory.pressure_level"}

SUSPICIOUS = re.compile(
    r"traceback|exception|\bfault\b|warning:|segmentation|assert|fuse:|leak|sanitizer|runtime error",
    re.IGNORECASE,
)
RSS_CEILING_KIB = 30 * 1024
# AddressSanitizer keeps shadow memory and red zones around each allocation: 56 MiB were measured.
SANITIZED_RSS_CEILING_KIB = 96 * 1024
DEADLINE_SECONDS = 120.0  # only a busy machine comes near it

# How the file name of each binding's libfuse begins; how many mounts each libfuse has served.
LIBRARIES = {"fusepy": "libfuse.so.2", "mfusepy": "libfuse3.so."}
SERVED: Counter[str] = Counter()


class Mounted:
    """A running daemon and its mount.  ``stderr`` is the file that its standard error goes to."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], stderr: Path) -> None:
        self.path = path
        self.process = process
        self._stderr = stderr
        self.descriptors_at_start = self.descriptors()

    @property
    def vmpressure(self) -> str:
        """The path of the control file."""
        return str(self.path / "vmpressure")

    def debug(self, name: str) -> str:
        """Return the content of a file of the debug directory."""
        return (self.path / "vmpressure.debug" / name).read_text()

    def inject(self, text: str) -> None:
        """Write an event or a sample to the debug directory's ``inject``."""
        with open(self.path / "vmpressure.debug" / "inject", "w") as file:
            file.write(text)

    def registrations(self) -> list[list[str]]:
        """Return the fields of each registration that is live, or dead and not yet swept."""
        return [line.split() for line in self.debug("registrations").splitlines()]

    def descriptors(self) -> int:
        """Return how many descriptors the daemon has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_kib(self) -> int:
        """Return the daemon's resident memory, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1])

    def locked_kib(self) -> int:
        """Return how much of the daemon's memory is locked, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"^VmLck:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None
        return int(match[1])

    def library(self) -> str | None:
        """Return the file name of the libfuse that the daemon has mapped, or None.

        It is None if ``through`` is a command that runs the daemon as its child.
        """
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        names = set(re.findall(r"/(libfuse[^/\s]*)$", maps, re.MULTILINE))
        assert len(names) <= 1, names
        return names.pop() if names else None

    def is_sanitized(self) -> bool:
        """Return whether the daemon runs under AddressSanitizer: see scripts/test-sanitized."""
        return "/libasan.so" in Path(f"/proc/{self.process.pid}/maps").read_text()

    def said(self) -> str:
        """Return what the daemon has written to stderr so far."""
        return self._stderr.read_text()

    def await_said(self, text: str, times: int = 1) -> None:
        """Wait until a text occurs so many times in stderr, which a thread of the daemon writes."""
        eventually(lambda: self.said().count(text) == times)

    def await_registrations(self, count: int) -> None:
        """Wait until the dead registrations are swept and exactly ``count`` are left."""
        eventually(lambda: len(self.registrations()) == count)


def open_files(pid: int) -> dict[int, str]:
    """Return the target of each descriptor of a process, without those that are closed meanwhile."""
    links = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return links


def eventually(holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Check again and again whether something holds; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come to hold in time"
        select.select([], [], [], 0.01)


def is_mounted(path: Path) -> bool:
    """Return whether anything is mounted at a path, without touching the path."""
    return topmost(read_mountinfo(), str(path)) is not None


def note_library(mount: Mounted) -> None:
    """Count the mount for its libfuse, which must be the one that $PRESSUREFS_FUSE asks for."""
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
    """Mount at ``directory``/mount, or at ``at``, and check at the end what must hold (see above).

    The mount mirrors a tree of plain directories, ``directory``/cgroups, in which /a/b exists.  The daemon
    samples a machine on which nothing happens: a copy of this machine's /proc files in ``directory``/still.
    ``through``: a command that runs the daemon, such as setpriv.  ``program``: the words that run pressurefs.
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
        # The daemon closes the pipe next; a command that stays its parent keeps it open.
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
