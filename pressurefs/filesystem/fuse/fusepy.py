# SPDX-License-Identifier: MIT
"""fusepy 3.0.1, which binds libfuse 2.  The only ``import fuse``."""

import ctypes
from typing import Any

from pressurefs.filesystem.fuse import Loop, library, read_version
from pressurefs.filesystem.operations import Operations

with library("libfuse.so.2"):
    import fuse

_POLL_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(fuse.fuse_file_info),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint),
)


class _OperationsWithPoll(ctypes.Structure):
    """struct fuse_operations up to ``poll``, the member after the last that fusepy has."""

    _fields_ = (*fuse.fuse_operations._fields_, ("poll", _POLL_PROTOTYPE))


fuse.fuse_operations = _OperationsWithPoll


class _Dispatched(Operations):
    """Operations as fusepy calls them: the object itself, with an operation's name.  Lives as the mount."""

    def __call__(self, operation: str, *arguments: Any) -> Any:
        return getattr(self, operation)(*arguments)


class Fusepy(Loop, fuse.FUSE):  # type: ignore[misc]
    """libfuse 2, through fusepy.  Lives as long as the mount."""

    name = "fusepy"
    version = read_version(fuse, 2)
    package = fuse
    make_operations = _Dispatched
