# SPDX-License-Identifier: MIT
"""What a user's write(2) answers: the errno, its reason for the log, and shortages of the daemon.

Standard library only.
"""

import errno


class Refusal(OSError):
    """What read(2) or write(2) answers: ``number``, an errno, and ``reason``, the words for the log."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


# The errno of a shortage that the daemon itself meets, and what the writer's write(2) answers then.
SHORTAGES = {
    errno.EMFILE: (errno.ENFILE, "the daemon is out of descriptors"),
    errno.ENFILE: (errno.ENFILE, "the system is out of descriptors"),
    errno.ENOMEM: (errno.ENOMEM, "the daemon is out of memory or of mappings"),
    errno.ENOSPC: (errno.ENOMEM, "fs.epoll.max_user_watches is used up"),
}


def refusal_of(error: OSError) -> OSError:
    """Return the Refusal for a shortage of the daemon itself; any other error unchanged."""
    if isinstance(error, Refusal) or error.errno not in SHORTAGES:
        return error
    return Refusal(*SHORTAGES[error.errno])
