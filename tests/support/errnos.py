# SPDX-License-Identifier: MIT
"""The errno that an action fails with, as a value to compare."""

from collections.abc import Callable

from tests.support.puppet import Puppet


def errno_of(action: Callable[[], object]) -> int:
    """Run an action; return the errno that it fails with, 0 if it succeeds."""
    try:
        action()
    except OSError as error:
        assert error.errno is not None
        return error.errno
    return 0


def refusal(puppet: Puppet, code: str) -> int:
    """Run code in the puppet; return the errno that it fails with, 0 if it succeeds."""
    return errno_of(lambda: puppet.do(code))
