# SPDX-License-Identifier: MIT
"""What an application does to get events: find the mount, write one line, wait on the eventfd.

Standard library only: neither FUSE nor the compiled module.  Mel Gorman's review said that this library
would be trivial.

Threading: nothing here is shared between threads, except the eventfd that is returned.
"""

import os
import select
import sys
import time
from pathlib import Path
from typing import Self

from pressurefs import mountinfo


def control_path(mount: str | None = None, cgroup: str | None = None) -> Path:
    """Return the path of the ``vmpressure`` file of a cgroup; of the machine where no cgroup is named.

    ``mount``: the mount's directory, None to search for it.  Raises FileNotFoundError (ENOENT) where none is
    named or found.  Does not check whether the cgroup exists.
    """
    return Path(mount or mountinfo.find_pressurefs(), (cgroup or "/").strip("/"), "vmpressure")


def register(event_fd: int, wish: str, control: Path) -> None:
    """Register an eventfd of this process.

    ``wish``: ``level[,mode]``.  ``control``: the path of a ``vmpressure`` file.  Raises the OSError of
    open(2) or write(2); pressurefs(5) lists the errnos.
    """
    control_fd = os.open(control, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(control_fd, f"{event_fd} {wish}".encode())
    finally:
        os.close(control_fd)


def vmpressure_fd(level: str, cgroup: str | None = None, mount: str | None = None) -> int:
    """Return an eventfd, close-on-exec, that events of ``level`` or above make readable.

    ``level``: low, medium or oom, with a mode if wanted ("low,hierarchy").  ``cgroup``: a path in the
    mount, None for the whole machine.  ``mount``: the mount's directory; None for $PRESSUREFS_MOUNT, or the
    first mount in mountinfo where that is not set.

    Raises FileNotFoundError where there is no mount; other errors are those of open(2) and write(2).

    Read the eventfd and ignore the count; os.close() ends the registration.
    """
    event_fd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        register(event_fd, level, control_path(mount, cgroup))
    except BaseException:
        os.close(event_fd)
        raise
    return event_fd


class PressureEvent:
    """A registered eventfd.  Lives until ``close`` or the end of the with block.

    Give it to select, poll, epoll or asyncio, call ``wait``, or iterate over it in asyncio:

        async for _ in PressureEvent("low"):
            cache.clear()

    The end of the mount or of the cgroup is its last event: to go on, make a new object.
    """

    def __init__(self, level: str, cgroup: str | None = None, mount: str | None = None) -> None:
        """Register; arguments and errors are those of ``vmpressure_fd``."""
        self._event_fd = vmpressure_fd(level, cgroup, mount)

    def fileno(self) -> int:
        """Return the eventfd; it is -1 after ``close``."""
        return self._event_fd

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for an event, ``timeout`` seconds at most, None for ever; return whether there was an event.

        All events since the last wait count as one: their number has no meaning.
        """
        return wait(self._event_fd, timeout) is not None

    def close(self) -> None:
        """End the registration; a second call does nothing."""
        event_fd, self._event_fd = self._event_fd, -1
        if event_fd >= 0:
            os.close(event_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        import asyncio  # noqa: PLC0415, most applications do not need it

        loop = asyncio.get_running_loop()
        while wait(self._event_fd, 0) is None:
            readable = asyncio.Event()
            loop.add_reader(self._event_fd, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._event_fd)


def wait(event_fd: int, timeout: float | None = None) -> int | None:
    """Wait until an eventfd was signalled and return its count; None if ``timeout`` seconds pass first.

    Where several threads or processes wait for the same eventfd, the first reader takes the count and the
    others go on waiting.
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
            # RWF_NOWAIT, not O_NONBLOCK: that flag belongs to the open file, which other processes can share.
            os.preadv(event_fd, [count], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        return int.from_bytes(count, sys.byteorder)
