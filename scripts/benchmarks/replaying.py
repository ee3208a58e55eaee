# SPDX-License-Identifier: MIT
"""pressurefs, whose replay begins when it is told to, and which notes when it gives each sample away.

A program of its own; nothing but the replay source is changed.  For each sample two numbers go to the file
STAMPS, which has their size: when it was due, and when the source gave it to the pump, which feeds it to the
exchange.  The replay begins when GO_FD has a byte.

Usage: replaying.py GO_FD STAMPS mount --source replay:FILE ...
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path
from unittest import mock

from pressurefs.cli.main import main as run_command
from pressurefs.pressure.window import Sample
from pressurefs.sources import replay

STAMP = struct.Struct("=dd")


class StampedReplay(replay.ReplaySource):
    """The replay source, with a starting gun and a stop-watch."""

    go_fd: int
    stamps: mmap.mmap
    given = 0

    def start(self, _now: float) -> None:
        """Begin when told."""
        os.read(self.go_fd, 1)
        super().start(time.monotonic())

    def read(self, now: float) -> list[Sample]:
        """Note each sample as it leaves."""
        samples = super().read(now)
        for sample in samples:
            STAMP.pack_into(self.stamps, self.given * STAMP.size, sample.time, time.monotonic())
            self.given += 1
        return samples


def main() -> int:
    """Run the command with the source changed."""
    go_fd, stamps, *arguments = sys.argv[1:]
    with Path(stamps).open("r+b") as file:
        StampedReplay.stamps = mmap.mmap(file.fileno(), 0)
    StampedReplay.go_fd = int(go_fd)
    with mock.patch.object(replay, "ReplaySource", StampedReplay):
        return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
