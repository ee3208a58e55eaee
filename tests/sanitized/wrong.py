# SPDX-License-Identifier: MIT
"""Runs a daemon whose first registration makes aio.c read past the end of an array."""

import os
import runpy
import sys

from pressurefs._native import ffi, lib
from pressurefs.registration import checks


class WrongRegistrar(checks.Registrar):
    """Names more eventfds than it hands over."""

    def register(self, *_: object) -> None:
        """Signal three of one."""
        lib.pfs_aio_signal_all(lib.pfs_aio_open(), ffi.new("int[]", [-1]), 3)


if __name__ == "__main__":
    checks.Registrar = WrongRegistrar  # type: ignore[misc]
    # What remains of the command line is "python -m pressurefs ...".
    sys.argv = sys.argv[3:]
    sys.path.insert(0, os.getcwd())
    runpy.run_module("pressurefs", run_name="__main__")
