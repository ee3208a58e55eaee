"""What a system call of a user is answered with, and which of our own shortages that can be.

Standard library only.
"""

import errno


class Refusal(OSError):
    """What write(2) answers: an errno, and the reason in words for the log."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


# Our own shortage, and what the writer is told of it.
SHORTAGES = {
    errno.EMFILE: (errno.ENFILE, "the daemon is out of descriptors"),
    errno.ENFILE: (errno.ENFILE, "the system is out of descriptors"),
    errno.ENOMEM: (errno.ENOMEM, "the daemon is out of memory or of mappings"),
    errno.ENOSPC: (errno.ENOMEM, "fs.epoll.max_user_watches is used up"),
}


def refusal_of(error: OSError) -> OSError:
    """Return what the writer is told where the daemon itself is short of something; else the error."""
    if isinstance(error, Refusal) or error.errno not in SHORTAGES:
        return error
    return Refusal(*SHORTAGES[error.errno])
