# SPDX-License-Identifier: MIT
"""The errno with which something fails, as a value to compare."""

from collections.abc import Callable

from tests.support.puppet import Puppet


def errno_of(action: Callable[[], object]) -> int:
    """Return the errno that an action meets, 0 for none."""
    try:
        action()
    except OSError as error:
        assert error.errno is not None
        return error.errno
    return 0


def refusal(puppet: Puppet, code: str) -> int:
    """Return the errno that code meets in the puppet, 0 for none."""
    return errno_of(lambda: puppet.do(code))
