# SPDX-License-Identifier: MIT
"""Looks at the kernel's own counters while a load runs, and prints them as it goes.

Judges nothing.  Where $PRESSUREFS_OUT is set, <name>.series in it gets a line for each look at which
something had moved: seconds since the start, pages scanned, pages reclaimed.
"""

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 5.0
# A load that has not brought reclaim about by then never will; to fill memory takes 4 s under emulation.
PATIENCE_SECONDS = 40.0
# Looked at less often, the medium and oom windows drown in their neighbours. Emulated, it becomes 4 ms.
LOOK_MS = 2
LINE_SECONDS = 0.25

SCANNED = (b"\npgscan_kswapd ", b"\npgscan_direct ", b"\npgscan_khugepaged ")
RECLAIMED = (b"\npgsteal_kswapd ", b"\npgsteal_direct ", b"\npgsteal_khugepaged ")


def parse_sum(text: bytes | bytearray, names: tuple[bytes, ...], size: int) -> int:
    """Add up the counters of /proc/vmstat that are named; one that this kernel lacks counts as 0."""
    total = 0
    for name in names:
        at = text.find(name, 0, size)
        if at >= 0:
            at += len(name)
            total += int(text[at : text.index(b"\n", at)])
    return total


def parse_kib(text: bytes, name: bytes) -> int:
    return int(text[text.index(name) + len(name) :].split(None, 1)[0])


class Watch:
    """The counters of this machine and their history. Lives as long as the scenario does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.vmstat_fd = os.open("/proc/vmstat", os.O_RDONLY)
        self.meminfo_fd = os.open("/proc/meminfo", os.O_RDONLY)
        # Read into memory that is there: a look that had to allocate would wait for the OOM killer.
        self.buffer = bytearray(1 << 16)
        self.start = time.monotonic()
        self.series: list[tuple[float, int, int]] = []
        self.scanned, self.reclaimed = self.read_counters()
        self.printed = (self.start, self.scanned, self.reclaimed)

    def close(self) -> None:
        """Write the series and let go of the counters."""
        os.close(self.vmstat_fd)
        os.close(self.meminfo_fd)
        out = os.environ.get("PRESSUREFS_OUT")
        if out:
            lines = (f"{at:.4f} {scanned} {reclaimed}\n" for at, scanned, reclaimed in self.series)
            (Path(out) / f"{self.name}.series").write_text("".join(lines))

    def read_counters(self) -> tuple[int, int]:
        """Give the pages scanned and the pages reclaimed since the machine started."""
        size = os.preadv(self.vmstat_fd, [self.buffer], 0)
        return parse_sum(self.buffer, SCANNED, size), parse_sum(self.buffer, RECLAIMED, size)

    def look(self) -> None:
        """Read the counters once, note what moved, and print a line when one is due."""
        scanned, reclaimed = self.read_counters()
        now = time.monotonic()
        if (scanned, reclaimed) != (self.scanned, self.reclaimed):
            self.series.append((now - self.start, scanned - self.scanned, reclaimed - self.reclaimed))
            self.scanned, self.reclaimed = scanned, reclaimed
        if now >= self.printed[0] + LINE_SECONDS:
            self.print_line(now)

    def print_line(self, now: float) -> None:
        """Print the totals, what moved since the last line, and the memory that is left."""
        since_scanned = self.scanned - self.printed[1]
        since_reclaimed = self.reclaimed - self.printed[2]
        self.printed = (now, self.scanned, self.reclaimed)
        available_kib = parse_kib(os.pread(self.meminfo_fd, 4096, 0), b"MemAvailable:")
        line = f"{self.name:8} {now - self.start:6.2f} s  pgscan {self.scanned:9}  pgsteal {self.reclaimed:9}"
        line += f"  +{since_scanned:6} +{since_reclaimed:6}  available {available_kib // 1024:5} MiB\n"
        sys.stdout.write(line)
        sys.stdout.flush()

    def until(self, pidfds: list[int], enough: Callable[[], bool]) -> None:
        """Look until reclaim has been at work for SECONDS and it is ``enough``, or a process is dead."""
        dead = select.poll()
        for pidfd in pidfds:
            dead.register(pidfd, select.POLLIN)
        end = self.start + PATIENCE_SECONDS
        while time.monotonic() < end:
            ended = dead.poll(LOOK_MS)
            self.look()
            if ended:
                break
            if self.series and time.monotonic() >= self.start + self.series[0][0] + SECONDS and enough():
                break
        self.print_line(time.monotonic())
