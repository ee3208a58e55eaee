"""Our own descriptor of the mount's connection, beside libfuse's, and what is said on it unasked."""

import contextlib
import errno
import os
import struct

_DEVICE = "/dev/fuse"

# A message to the kernel that answers nothing: struct fuse_out_header, then the number of a polled file.
_NOTIFY_POLL = struct.Struct("=IiQQ")
_NOTIFY_POLL_CODE = 1


class Connection:
    """A duplicate of libfuse's descriptor.  Lives as long as the process.

    libfuse's own fuse_notify_poll() is no way: its handle points into a channel that is gone when somebody
    forces the unmount.  A descriptor of our own says ENODEV then.
    """

    def __init__(self) -> None:
        self._fd = -1

    def open(self) -> None:
        """Find the connection; OSError where nothing is mounted yet."""
        self._fd = os.dup(_find_connection())

    def wake(self, waiting: int) -> None:
        """Have the kernel ask a polled file again, by its number; called by whoever signals."""
        with contextlib.suppress(OSError):
            header = _NOTIFY_POLL.size, _NOTIFY_POLL_CODE, 0
            os.write(self._fd, _NOTIFY_POLL.pack(*header, waiting))


def _find_connection() -> int:
    """Return libfuse's descriptor of the connection; a daemon has just one."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == _DEVICE:
                return int(name)
    raise OSError(errno.ENOTCONN, f"no descriptor of {_DEVICE} is open")
