# SPDX-License-Identifier: MIT
"""Exit codes.  They are an interface: no code is ever renumbered or given another meaning."""

import contextlib
from collections.abc import Iterator

DONE = 0
UNEXPECTED = 1
USAGE = 2
MOUNTPOINT_UNUSABLE = 3
FUSE_UNAVAILABLE = 4
SOURCE_UNAVAILABLE = 5
COMPILED_MODULE_MISSING = 6
NOT_A_PRESSUREFS_MOUNT = 7
TIMED_OUT = 124  # as timeout(1)
COMMAND_NOT_RUNNABLE = 126  # as env(1)
COMMAND_NOT_FOUND = 127


class Exit(Exception):
    """Ends a command.  ``code``: its exit code.  The text says what was being done and why it failed."""

    def __init__(self, code: int, what: str, why: object) -> None:
        super().__init__(f"{what}: {why}")
        self.code = code


@contextlib.contextmanager
def or_exit(code: int, what: str) -> Iterator[None]:
    """Turn an OSError of the block into an Exit with ``code``; its reason is the error in words."""
    try:
        yield
    except OSError as error:
        raise Exit(code, what, error.strerror) from None
