"""Which source ``--source`` means."""

import errno
from pathlib import Path
from typing import NamedTuple

from pressurefs.cgroups import CgroupRoot
from pressurefs.sources import Source, SourceUnavailable
from pressurefs.sources.vmstat import VmstatSource


class Roots(NamedTuple):
    """Where the kernel's files are; a test puts a tree of its own there."""

    proc: Path


def open_source(specification: str, roots: Roots, cgroups: CgroupRoot | None = None) -> Source:
    """Open what ``--source`` names: auto, vmstat, or replay:FILE[,speed=X]; else SourceUnavailable.

    ``cgroups``: the tree whose cgroups can be listened to.
    """
    name, _, arguments = specification.partition(":")
    if name in ("auto", "vmstat") and not arguments:
        return VmstatSource(roots.proc, cgroups)
    if name == "replay":
        from pressurefs.sources.replay import ReplaySource  # noqa: PLC0415, json is only for replays

        return ReplaySource.from_arguments(arguments)
    raise SourceUnavailable(errno.EINVAL, f"there is no source {specification!r}")
