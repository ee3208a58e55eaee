# SPDX-License-Identifier: MIT
"""Build the compiled module, and be the build backend that does so.

``pyproject.toml`` cannot say ``cffi_modules``, so this file is the in-tree backend: setuptools'
own, with the keywords that it lacks.
"""

from pathlib import Path

import cffi
import setuptools
from setuptools import build_meta

ROOT = Path(__file__).parent

SOURCES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("pressurefs/native/*.c"))
# What Python sees of them: structures and prototypes, which the C files include.
DECLARATIONS = ["pressurefs/bpf/shared.h", "pressurefs/native/native.cdef.h"]
HEADERS = [*DECLARATIONS, "pressurefs/native/native.h"]

# The kernel's names of the types that cross the border.
_KERNEL_TYPES = "typedef uint32_t __u32; typedef int32_t __s32; typedef uint64_t __u64;"


def ffibuilder() -> cffi.FFI:
    """Return the builder of ``pressurefs._native``; cffi calls this by its name."""
    ffi = cffi.FFI()
    ffi.cdef(_KERNEL_TYPES)
    for declarations in DECLARATIONS:
        lines = (ROOT / declarations).read_text().splitlines()
        # cffi parses C and no preprocessor's lines.
        ffi.cdef("\n".join(line for line in lines if not line.startswith("#")))
    ffi.set_source(
        "pressurefs._native",
        '#include "pressurefs/native/native.h"',
        sources=SOURCES,
        include_dirs=["."],
        extra_compile_args=["-std=gnu11", "-fvisibility=hidden"],
        # What is named here is in the sdist, which cannot be built without its backend.
        depends=[*HEADERS, "cffi_build.py"],
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
