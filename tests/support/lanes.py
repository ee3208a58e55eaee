# SPDX-License-Identifier: MIT
"""The lanes of the test, and when a lane is skipped.

A lane that cannot run on this machine is skipped with its reason, unless $PRESSUREFS_REQUIRE names it:
then its tests fail.
"""

import os

import pytest

LANES = ("native", "fuse", "libfuse3", "bpf", "sanitized", "shell", "machine")


def required() -> set[str]:
    """Return the lanes that must run; an unknown name is an error, since it would require nothing."""
    names = set(filter(None, os.environ.get("PRESSUREFS_REQUIRE", "").split(",")))
    unknown = names.difference(LANES)
    if unknown:
        raise pytest.UsageError(f"PRESSUREFS_REQUIRE names no lane: {', '.join(sorted(unknown))}")
    return names


def leave_out(lane: str, reason: str) -> None:
    """Skip the calling test with the reason, or fail it if its lane is required."""
    if lane in required():
        pytest.fail(f"lane {lane} is required, but {reason}")
    pytest.skip(f"lane {lane}: {reason}", allow_module_level=True)
