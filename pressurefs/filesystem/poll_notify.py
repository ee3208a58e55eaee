# SPDX-License-Identifier: MIT
"""Poll notifications: messages to the kernel that answer no request, on a descriptor of our own.

Knows no file and no registration: only the kernel's number of a polled file.
"""

import contextlib
import errno
import os
import struct

_DEVICE = "/dev/fuse"

# The message of 24 bytes: struct fuse_out_header, then the kernel's number of a polled file.
_NOTIFY_POLL = struct.Struct("=IiQQ")
_NOTIFY_POLL_CODE = 1


class Connection:
    """A duplicate of libfuse's descriptor of /dev/fuse.  Lives as long as the process.

    libfuse's own fuse_notify_poll() cannot be used: its handle points into a channel that is freed when
    an unmount is forced.  A write to a descriptor of our own fails with ENODEV then.

    Threading: the FUSE thread opens it; any thread that signals calls ``wake``.
    """

    def __init__(self) -> None:
        self._fd = -1

    def open(self) -> None:
        """Find and duplicate libfuse's descriptor; OSError (ENOTCONN) where nothing is mounted yet."""
        self._fd = os.dup(_find_connection())

    def wake(self, waiting: int) -> None:
        """Make the kernel poll a file again.  ``waiting``: the kernel's number of the open file."""
        with contextlib.suppress(OSError):
            header = _NOTIFY_POLL.size, _NOTIFY_POLL_CODE, 0
            os.write(self._fd, _NOTIFY_POLL.pack(*header, waiting))


def _find_connection() -> int:
    """Return libfuse's descriptor of the connection; a daemon has only this."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == _DEVICE:
                return int(name)
    raise OSError(errno.ENOTCONN, f"no descriptor of {_DEVICE} is open")
