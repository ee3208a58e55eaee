# SPDX-License-Identifier: MIT
"""What a source is opened with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from pressurefs.cgroups.tree import CgroupRoot
    from pressurefs.events.event_path import EventPath


class Roots(NamedTuple):
    """Where the kernel's files are; a test puts a tree of its own there."""

    proc: Path


class Origin(NamedTuple):
    """What a source is opened with.

    ``cgroups``: the tree whose cgroups can be listened to.  ``event_path``: what a source that fills windows
    in C hands them to; None without the compiled module.
    """

    roots: Roots
    cgroups: CgroupRoot | None = None
    event_path: EventPath | None = None
