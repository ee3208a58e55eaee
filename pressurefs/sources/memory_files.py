# SPDX-License-Identifier: MIT
"""The kernel's files of memory: one that stays open, what they count, and how often they are read."""

import operator
import os
from pathlib import Path
from typing import NamedTuple, Self

from pressurefs.sources import SourceUnavailable

BUSY_SECONDS = 0.002  # between readings while pages are scanned ...
BUSY_LINGER_SECONDS = 0.05  # ... and for this long after: reclaim pauses between its passes
NEAR_SECONDS = 0.025  # where scanning is to be expected: 40 readings a second
FAR_SECONDS = 1.0  # the longest sleep

# What the second sign of oom stands for in a sample: reclaim that has tried everything.
EXHAUSTED_PRIORITY = 0

_READ_BYTES = 32768  # above what any of these files has


class HeldFile:
    """A file of the kernel that stays open: to open one takes memory, when there is none."""

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


_EVENTS = (b"\nhigh ", b"\nmax ", b"\noom ")
_SCANNED = (b"\npgscan_direct ", b"\npgscan_khugepaged ")
_RECLAIMED = (b"\npgsteal_direct ", b"\npgsteal_khugepaged ")


class Counts(NamedTuple):
    """Pages, and how often a limit was reached: memory.high, memory.max, memory.max in vain."""

    scanned: int = 0
    reclaimed: int = 0
    high: int = 0
    max: int = 0
    oom: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Add each to each."""
        return Counts(*map(operator.add, self, other))

    def minus(self, other: "Counts") -> "Counts":
        """Subtract each from each."""
        return Counts(*map(operator.sub, self, other))

    def above(self, bound: int) -> "Counts":
        """Return what is above a bound, and the bound for what is not."""
        return Counts(*(max(one, bound) for one in self))

    def pages(self) -> tuple[int, int]:
        """Return the pages alone."""
        return self[:2]

    def limits(self) -> tuple[int, int, int]:
        """Return the events alone."""
        return self[2:]

    def reached(self) -> bool:
        """Tell whether a limit was reached."""
        return any(self.limits())


NOTHING = Counts()


def parse_events(text: bytes) -> Counts:
    """Read memory.events or memory.events.local."""
    return Counts(0, 0, *(_value(text, name) for name in _EVENTS))


def parse_stat(text: bytes) -> Counts:
    """Read memory.stat: pages scanned and reclaimed by tasks that wanted memory themselves."""
    if _SCANNED[0] in text:
        return Counts(
            sum(_value(text, name) for name in _SCANNED), sum(_value(text, name) for name in _RECLAIMED)
        )
    # A kernel that does not count by task has one number, the machine's kswapd in it.
    return Counts(_value(text, b"\npgscan "), _value(text, b"\npgsteal "))


def _value(text: bytes, name: bytes) -> int:
    at = text.find(name)
    return 0 if at < 0 else int(text[at + len(name) : text.index(b"\n", at + 1)])
