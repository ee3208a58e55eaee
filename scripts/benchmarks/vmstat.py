# SPDX-License-Identifier: MIT
"""What a look at /proc/vmstat costs."""

import os
import statistics
import time
from pathlib import Path

from benchmarks.table import Row, microseconds
from pressurefs.sources.vmstat import VmstatSource

LOOKS = 100


def measure(_work: Path, rounds: int) -> list[Row]:
    """Compare a look of the vmstat source with reading the file and doing nothing with it."""
    source = VmstatSource(Path("/proc"))
    fd = os.open("/proc/vmstat", os.O_RDONLY)
    looks, reads = [], []
    for _ in range(rounds * LOOKS):
        began = time.perf_counter()
        os.pread(fd, 65536, 0)
        middle = time.perf_counter()
        source.read(middle)
        source.next_read()
        looks.append(time.perf_counter() - middle)
        reads.append(middle - began)
    os.close(fd)
    source.close()
    look, read = statistics.median(looks), statistics.median(reads)
    measured = f"{microseconds(look)}, of which pread(2) {microseconds(read)}"
    return [Row("a look at /proc/vmstat", measured)]
