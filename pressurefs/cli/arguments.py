# SPDX-License-Identifier: MIT
"""What the parsers of several commands share: a time in seconds, and the type of the list of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001, its only name

_SECONDS_MAX = 1e6  # eleven days: poll(2) can wait that long, and nobody wants to


def seconds(text: str) -> float:
    """Return a time to wait, 0 to 1,000,000 seconds; argparse reports the ValueError as a usage error."""
    value = float(text)
    if not 0 <= value <= _SECONDS_MAX:
        raise ValueError(text)
    return value
