"""What looking at the kernel's files has in common: a file held open, the pace, the second sign."""

import os
from pathlib import Path
from typing import Self

from pressurefs.sources import SourceUnavailable

BUSY_SECONDS = 0.002  # between looks while pages are scanned ...
BUSY_LINGER_SECONDS = 0.05  # ... and so long after: reclaim pauses between its passes
NEAR_SECONDS = 0.025  # where scanning is to be expected: 40 looks a second
FAR_SECONDS = 1.0  # the longest sleep

# What the second sign of oom stands for in a sample: reclaim that has tried everything.
EXHAUSTED_PRIORITY = 0

_READ_BYTES = 32768  # above what any of these files has


class HeldFile:
    """A file of the kernel that stays open: opening one takes memory, just when there is none."""

    def __init__(self, fd: int) -> None:
        """Own an open descriptor."""
        self.fd = fd

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file; SourceUnavailable where there is none."""
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise SourceUnavailable(error.errno, f"{path}: {error.strerror}") from None

    def read(self) -> bytes:
        """Return the content as of now."""
        content = os.pread(self.fd, _READ_BYTES, 0)
        while content and len(content) % _READ_BYTES == 0:
            more = os.pread(self.fd, _READ_BYTES, len(content))
            if not more:
                break
            content += more
        return content

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)
