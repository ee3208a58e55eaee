# SPDX-License-Identifier: MIT
"""Our own descriptor of the mount's connection, beside libfuse's, for what the event path says on it unasked.

native/poll.c writes there, and has the reason why libfuse's own call is no way.
"""

import contextlib
import errno
import os

_DEVICE = "/dev/fuse"


class Connection:
    """A duplicate of libfuse's descriptor.  Lives as long as the process.

    ``fd``: the descriptor; -1 before the mount answers.
    """

    def __init__(self) -> None:
        self.fd = -1

    def open(self) -> None:
        """Find the connection; OSError where nothing is mounted yet."""
        self.fd = os.dup(_find_connection())


def _find_connection() -> int:
    """Return libfuse's descriptor of the connection; a daemon has just one."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == _DEVICE:
                return int(name)
    raise OSError(errno.ENOTCONN, f"no descriptor of {_DEVICE} is open")
