# SPDX-License-Identifier: MIT
"""Which source ``--source`` means, and which is the best that can be had: a table, and the live one."""

from __future__ import annotations

import errno
import logging
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pressurefs.sources import Source, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pressurefs.sources.origin import Origin

_log = logging.getLogger("pressurefs.source")

AUTO = "auto"


def _open_kernel(origin: Origin, arguments: str) -> Source:
    from pressurefs.sources.kernel import KernelSource  # noqa: PLC0415, only where it can be had

    return KernelSource.from_arguments(origin, arguments)


def _open_vmstat(origin: Origin, arguments: str) -> Source:
    from pressurefs.sources.vmstat import VmstatSource  # noqa: PLC0415

    _require_no(arguments, "vmstat")
    return VmstatSource(origin.roots.proc, origin.cgroups)


def _open_replay(_origin: Origin, arguments: str) -> Source:
    from pressurefs.sources.replay import ReplaySource  # noqa: PLC0415, json is only for replays

    return ReplaySource.from_arguments(arguments)


class _Row(NamedTuple):
    """A source: its word, how it is opened (Origin, what follows the colon), whether auto tries it."""

    name: str
    open: Callable[[Origin, str], Source]
    is_automatic: bool


# For ``auto`` the better first.
SOURCES = (
    _Row("kernel", _open_kernel, is_automatic=True),
    _Row("vmstat", _open_vmstat, is_automatic=True),
    _Row("replay", _open_replay, is_automatic=False),
)


class Selection:
    """The source that is live, and those that can take its place when it dies.  Lives as long as the mount.

    ``source``: the one that is live.  ``since``: when it was opened.
    """

    def __init__(self, specification: str, origin: Origin) -> None:
        """Open what ``--source`` names; SourceUnavailable where that cannot be had.

        auto, kernel[:windows=own|worker|tracepoints], vmstat, or replay:FILE[,speed=X].
        """
        name, _, self._arguments = specification.partition(":")
        if name == AUTO:
            _require_no(self._arguments, AUTO)
        self._left = [row for row in SOURCES if row.name == name or (name == AUTO and row.is_automatic)]
        if not self._left:
            raise SourceUnavailable(errno.EINVAL, f"there is no source {specification!r}")
        self._origin = origin
        self._why_not: list[str] = []
        self.source = self._open_next()

    @property
    def limits(self) -> str:
        """What the live source cannot see, and why there is no better one."""
        return "; ".join([self.source.limits, *self._why_not])

    def replace(self, error: OSError) -> Source:
        """Close the live source, which died of ``error``, and return the next; else SourceUnavailable.

        Listeners notice nothing of that: they are not the source's.
        """
        if not self._left:
            raise SourceUnavailable(error.errno, error.strerror)
        self._note(self.source.name, error)
        _log.warning("source %s: %s: another takes its place", self.source.name, error.strerror)
        self.source.close()
        self.source = self._open_next()
        return self.source

    def _open_next(self) -> Source:
        while True:
            row = self._left.pop(0)
            try:
                source = row.open(self._origin, self._arguments)
            except SourceUnavailable as error:
                if not self._left:
                    raise
                self._note(row.name, error)
            else:
                self.since = datetime.now().astimezone()
                return source

    def _note(self, name: str, error: OSError) -> None:
        self._why_not.append(f"no source {name}: {error.strerror}")


def _require_no(arguments: str, name: str) -> None:
    if arguments:
        raise SourceUnavailable(errno.EINVAL, f"there is no source {f'{name}:{arguments}'!r}")
