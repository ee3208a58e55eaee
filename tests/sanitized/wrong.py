# SPDX-License-Identifier: MIT
"""Runs a daemon whose first registration makes history.c write past the end of an array."""

import os
import runpy
import sys

from pressurefs._native import ffi, lib
from pressurefs.registration import checks


class WrongRegistrar(checks.Registrar):
    """Asks for more windows than it has room for."""

    def register(self, *_: object) -> None:
        """Read two windows into the room of one."""
        path = lib.pfs_event_path_open(0, 1)
        for _window in range(2):
            lib.pfs_windows_inject(path, 0, 0, False, 0, 0)
        lib.pfs_history_read(path, ffi.new("uint64_t *"), ffi.new("struct pfs_judged[]", 1), 2)


if __name__ == "__main__":
    checks.Registrar = WrongRegistrar  # type: ignore[misc]
    # What remains of the command line is "python -m pressurefs ...".
    sys.argv = sys.argv[3:]
    sys.path.insert(0, os.getcwd())
    runpy.run_module("pressurefs", run_name="__main__")
