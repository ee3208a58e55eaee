# SPDX-License-Identifier: MIT
"""A file system with one file, which takes every write and does nothing: what fusepy itself costs.

empty.c is the same, in C.

Usage: empty.py READY_FD DIR
"""

import os
import stat
import sys
from typing import Any

# It is looked for in the moment of the import.
os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse.so.2")

import fuse


class Empty:
    """The operations that open, write and close take; raw_fi and options as those of pressurefs."""

    use_ns = True

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """Dispatch, as fusepy asks."""
        return getattr(self, operation)(*arguments)

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Know a directory and, whatever its name, a file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2, "st_ino": 1}
        return {"st_mode": stat.S_IFREG | 0o666, "st_nlink": 1, "st_ino": 2}

    def open(self, _path: str, info: Any) -> int:
        """Let writes come whole."""
        info.direct_io = 1
        return 0

    def truncate(self, _path: str, _length: int, _handle: Any = None) -> int:
        """Do nothing."""
        return 0

    def write(self, _path: str, data: bytes, _offset: int, _info: Any) -> int:
        """Do nothing."""
        return len(data)

    def init(self, _path: str) -> None:
        """Say that the mount answers."""
        os.write(int(sys.argv[1]), b"\n")


if __name__ == "__main__":
    fuse.FUSE(
        Empty(),
        sys.argv[2],
        raw_fi=True,
        foreground=True,
        nothreads=True,
        use_ino=True,
        allow_other=True,
        default_permissions=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )
