"""What an application does to be told: find the mount, write one line, wait on the eventfd.

Standard library only: neither FUSE nor the compiled module.
"""

import os
import select
import sys
import time
from pathlib import Path

from pressurefs import mounts


def control_path(mount: str | None = None, cgroup: str | None = None) -> Path:
    """Return the ``vmpressure`` file of a cgroup; the machine's where none is named.

    Raises FileNotFoundError (ENOENT) where no mount is named or found.
    """
    return Path(mount or mounts.find_pressurefs(), (cgroup or "/").strip("/"), "vmpressure")


def register(event_fd: int, wish: str, control: Path) -> None:
    """Register an eventfd of this process; ``wish`` is ``level[,mode]``.  Raises OSError as write(2)."""
    control_fd = os.open(control, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(control_fd, f"{event_fd} {wish}".encode())
    finally:
        os.close(control_fd)


def wait(event_fd: int, timeout: float | None = None) -> int | None:
    """Wait until an eventfd was signalled and return its count; None if ``timeout`` seconds pass first.

    Whoever reads first takes the count: where several wait, the others go on waiting.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    count = bytearray(8)
    poll = select.poll()
    poll.register(event_fd, select.POLLIN)
    while True:
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            return None
        try:
            # Not O_NONBLOCK: that belongs to the open file, which others share with us.
            os.preadv(event_fd, [count], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        return int.from_bytes(count, sys.byteorder)
