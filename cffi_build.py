"""Build the compiled module, and be the build backend that does so.

``pyproject.toml`` cannot say ``cffi_modules``, so this file is the in-tree backend: setuptools'
own, with the keywords that it lacks.
"""

from pathlib import Path

import cffi
import setuptools
from setuptools import build_meta

ROOT = Path(__file__).parent

# The compiled module: what it is made of, what these include, and what Python sees of them.
SOURCES = ["pressurefs/native.c", "pressurefs/aio.c", "pressurefs/fanout.c", "pressurefs/reader.c"]
INCLUDED = ["pressurefs/vmpressure.bpf.h"]
DECLARATIONS = ["pressurefs/native.cdef.h", "pressurefs/aio.cdef.h", "pressurefs/fanout.cdef.h"]


def ffibuilder() -> cffi.FFI:
    """Return the builder of ``pressurefs._native``; cffi calls this by its name."""
    ffi = cffi.FFI()
    for declarations in DECLARATIONS:
        ffi.cdef((ROOT / declarations).read_text())
    ffi.set_source(
        "pressurefs._native",
        "".join(f'#include "{source}"\n' for source in SOURCES),
        include_dirs=["."],
        # What is named here is in the sdist, which cannot be built without its backend.
        depends=[*SOURCES, *INCLUDED, *DECLARATIONS, "cffi_build.py"],
    )
    return ffi


class Backend(build_meta._BuildMetaBackend):  # noqa: SLF001, the hook that setuptools offers
    """setuptools' backend, told about cffi and about the limited API."""

    def run_setup(self, setup_script: str = "setup.py") -> None:  # noqa: ARG002, its caller's
        """Run what a setup.py would say: the metadata is in pyproject.toml."""
        setuptools.setup(
            cffi_modules=["cffi_build.py:ffibuilder"],
            # cffi compiles against the limited API: one wheel serves every Python from 3.11 on.
            options={"bdist_wheel": {"py_limited_api": "cp311"}},
        )


backend = Backend()
