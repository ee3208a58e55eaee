# SPDX-License-Identifier: MIT
"""Selects the binding, the Python package that binds libfuse: the first that works on this machine."""

import errno
import os
from collections.abc import Callable

from pressurefs.filesystem.fuse import Loop

# For tests and administrators: the name of the only package to try.
FUSE_VARIABLE = "PRESSUREFS_FUSE"


class BindingUnavailable(OSError):
    """No package can load a libfuse on this machine; the text says for each package why."""


def open_binding() -> type[Loop]:
    """Return the first binding that works, or the binding that $PRESSUREFS_FUSE names.

    Raises BindingUnavailable: EINVAL for an unknown name, ENOENT where none works.
    """
    asked = os.environ.get(FUSE_VARIABLE)
    if asked and asked not in BINDINGS:
        raise BindingUnavailable(errno.EINVAL, f"${FUSE_VARIABLE} is {asked!r}, not {' or '.join(BINDINGS)}")
    reasons = []
    for name in [asked] if asked else BINDINGS:
        try:
            return BINDINGS[name]()
        except (ImportError, OSError) as error:
            reasons.append(explain(name, error))
    raise BindingUnavailable(errno.ENOENT, f"{', and '.join(reasons)}; {_WAYS_OUT}")


def explain(name: str, error: ImportError | OSError) -> str:
    """Return in words why a binding cannot be used."""
    if isinstance(error, ImportError):
        return f"{name} is not installed ({error})"
    return f"{name} finds no {_LIBRARIES[name]} ({error.strerror or error})"


def _open_fusepy() -> type[Loop]:
    from pressurefs.filesystem.fuse.fusepy import Fusepy  # noqa: PLC0415, the library is looked for at import

    return Fusepy


def _open_mfusepy() -> type[Loop]:
    from pressurefs.filesystem.fuse.mfusepy import Mfusepy  # noqa: PLC0415, likewise

    return Mfusepy


# In the order of preference.
BINDINGS: dict[str, Callable[[], type[Loop]]] = {"fusepy": _open_fusepy, "mfusepy": _open_mfusepy}

_LIBRARIES = {"fusepy": "libfuse 2", "mfusepy": "libfuse 3"}
_WAYS_OUT = (
    "install libfuse 2 (Debian: libfuse2), or libfuse 3 (Debian: fuse3) and pressurefs' extra libfuse3"
)
