# SPDX-License-Identifier: MIT
"""Plays scenarios of memory pressure on this machine, and prints what the kernel and the mount say of it.

Judges nothing.  As root, in scripts/machine:

    python -m tests.machine.guest show | stream | thrash | bomb     the kernel's counters, as they go
    python -m tests.machine.guest listen                            all loads, a shell listening, recorded
    python -m tests.machine.guest record                            a trace of stream and thrash
    python -m tests.machine.guest ordinary                          an ordinary user's daemon, see inside.py

A load is played until reclaim has been at work for some seconds, or until one of its processes is dead.
What tests and people take away is written to $PRESSUREFS_OUT: see watch.py, and below.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.machine import loads
from tests.machine.listening import Listener, listening
from tests.machine.watch import Watch, parse_kib

BIG = Path("/run/pressurefs-big")
MOUNT = Path("/run/pressurefs")
MCL_CURRENT_AND_FUTURE = 3
# The OOM killer leaves so little time that a watcher on an emulated machine may see nothing of it.
BOMBS_MAX = 3


def play(
    name: str,
    *starts: Callable[[], contextlib.AbstractContextManager[int]],
    enough: Callable[[], bool] = lambda: True,
) -> None:
    """Run loads side by side and watch them."""
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(contextlib.closing(Watch(name)))
        watch.until([stack.enter_context(start()) for start in starts], enough)


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    return parse_kib(Path("/proc/meminfo").read_bytes(), b"MemTotal:") * 1024


def play_stream() -> None:
    """Read a file of twice the memory."""
    with loads.big_file(BIG, 2 * memory_bytes()) as path:
        play("stream", lambda: loads.running(loads.stream, path))


def play_thrash(enough: Callable[[], bool] = lambda: True) -> None:
    """Go round and round in a mapped file that is a little larger than what is left of memory."""
    memory = memory_bytes()
    with loads.big_file(BIG, 2 * memory) as path:
        # The loop gets round what the held part leaves in no time.  Measured in 5 s: 60 medium and 45 oom
        # windows of 293, but 1 and 3 of 34 on a busy host.  Without the held part some runs have none.
        play(
            "thrash",
            lambda: loads.running(loads.hold, memory * 3 // 5),
            lambda: loads.running(loads.thrash, path, memory * 2 // 5),
            lambda: loads.running(loads.thrash, path, memory * 2 // 5),
            enough=enough,
        )


def play_bomb() -> None:
    """Fill the memory with what cannot be reclaimed, until the OOM killer comes."""
    play("bomb", lambda: loads.running(loads.anonymous_bomb), enough=lambda: False)


def play_show() -> None:
    """Stream, then thrash."""
    play_stream()
    play_thrash()


def play_listen() -> None:
    """Play each load with listeners at all levels; events.json gets what each of them heard.

    trace.jsonl gets what the mount's source saw, and history.json what was judged of it.
    """
    told: dict[str, dict[str, int]] = {}
    out = os.environ.get("PRESSUREFS_OUT")

    def tell(load: str, listener: Listener) -> None:
        told[load] = dict(listener.collect())
        counts = "  ".join(f"{level} {count}" for level, count in told[load].items())
        print(f"{load:8} the shell's eventfds were signalled: {counts}", flush=True)
        listener.forget()

    with listening(MOUNT, record=Path(out, "trace.jsonl") if out else None) as listener:
        play_stream()
        tell("stream", listener)
        play_thrash(enough=lambda: listener.collect()["medium"] > 0)
        tell("thrash", listener)
        levels = [window[-1] for window in listener.history()]
        told["windows"] = {level: levels.count(level) for level in ("low", "medium", "oom")}
        for _ in range(BOMBS_MAX):
            play_bomb()
            tell("bomb", listener)
            if told["bomb"]["oom"]:
                break
        history = listener.settle()
        told["ever"] = listener.heard_ever
    if out:
        (Path(out) / "history.json").write_text(json.dumps(history))
        (Path(out) / "events.json").write_text(json.dumps(told))


def play_record() -> None:
    """Record stream and thrash into one trace."""
    trace = Path(os.environ["PRESSUREFS_OUT"], "trace.jsonl")
    command = [sys.executable, "-m", "pressurefs", "record", "--source", "vmstat", str(trace)]
    with subprocess.Popen(command) as recorder:
        play_show()
        time.sleep(1)
        recorder.send_signal(signal.SIGINT)


def play_ordinary() -> None:
    """Run inside.py, the tests of an ordinary user's daemon; ordinary.json gets pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/machine/inside.py"]
    done = subprocess.run(command, check=False)
    Path(os.environ["PRESSUREFS_OUT"], "ordinary.json").write_text(json.dumps(done.returncode))


SCENARIOS: dict[str, Callable[[], None]] = {
    "stream": play_stream,
    "thrash": play_thrash,
    "bomb": play_bomb,
    "show": play_show,
    "listen": play_listen,
    "record": play_record,
    "ordinary": play_ordinary,
}


def protect() -> None:
    """Be neither evicted nor killed: the watcher must see the worst."""
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT_AND_FUTURE) != 0:
        raise OSError(ctypes.get_errno(), "mlockall")
    Path("/proc/self/oom_score_adj").write_text("-1000")


def main(names: list[str]) -> int:
    """Play what is named."""
    if not names or not SCENARIOS.keys() >= set(names):
        sys.stderr.write(f"usage: python -m tests.machine.guest {' | '.join(SCENARIOS)} ...\n")
        return 2
    protect()
    for name in names:
        SCENARIOS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
