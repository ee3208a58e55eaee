# SPDX-License-Identifier: MIT
"""The command: ``python -m benchmarks [--rounds N] [NAME...]``."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import fanout, idle, latency, memory, processes, registration, removal, start, vmstat
from benchmarks.table import print_table

MEASUREMENTS = {
    "start": start.measure,
    "registration": registration.measure,
    "fanout": fanout.measure,
    "latency": latency.measure,
    "removal": removal.measure,
    "idle": idle.measure,
    "memory": memory.measure,
    "vmstat": vmstat.measure,
}
ROUNDS = 15
DEADLINE_SECONDS = 20 * 60  # whoever waits for an event that never comes is ended then


def main() -> int:
    """Measure what was asked for, all if nothing was; tell by the exit code whether each budget is met."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"fewer are quick and rough ({ROUNDS})")
    arguments = parser.parse_args()
    for name in set(arguments.name).difference(MEASUREMENTS):
        parser.error(f"there is no measurement {name!r}")
    if arguments.rounds < 1:
        parser.error("--rounds takes 1 or more")
    if os.geteuid() != 0:
        raise SystemExit("scripts/bench: mounting for everybody takes root")
    # So that what is mounted is unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("scripts/bench: told to end"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("scripts/bench: an event never came"))
    signal.alarm(DEADLINE_SECONDS)
    with tempfile.TemporaryDirectory(prefix="pressurefs-bench-") as work, processes.on(processes.FIRST):
        names = arguments.name or MEASUREMENTS
        rows = [(name, row) for name in names for row in MEASUREMENTS[name](Path(work), arguments.rounds)]
    return 0 if print_table(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
