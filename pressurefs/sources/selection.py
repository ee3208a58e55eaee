"""Which source ``--source`` means, and which is the best that there is."""

from __future__ import annotations

import errno
import logging
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pressurefs.sources import Source, SourceUnavailable
from pressurefs.sources.vmstat import VmstatSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pressurefs.cgroups.tree import CgroupRoot
    from pressurefs.events.fanout import Fanout
    from pressurefs.events.listeners import Place
    from pressurefs.pressure.window import Sample, Verdict

_log = logging.getLogger("pressurefs.source")


class Roots(NamedTuple):
    """Where the kernel's files are; a test puts a tree of its own there."""

    proc: Path


class Origin(NamedTuple):
    """What a source is opened with.

    ``cgroups``: the tree whose cgroups can be listened to.  ``fanout``: by which the kernel source tells.
    """

    roots: Roots
    cgroups: CgroupRoot | None = None
    fanout: Fanout | None = None


def may_be_kernel(specification: str) -> bool:
    """Tell whether the kernel source, which needs a fan-out, may be what ``--source`` comes to."""
    return specification.partition(":")[0] in ("auto", "kernel")


def open_source(specification: str, origin: Origin) -> Source:
    """Open what ``--source`` names; else SourceUnavailable.

    auto, kernel[:windows=own|worker|tracepoints], vmstat, or replay:FILE[,speed=X].
    """
    name, _, arguments = specification.partition(":")
    if name == "auto" and not arguments:
        return BestSource(origin)
    if name == "kernel":
        return _open_kernel(origin, arguments)
    if name == "vmstat" and not arguments:
        return _open_vmstat(origin)
    if name == "replay":
        from pressurefs.sources.replay import ReplaySource  # noqa: PLC0415, json is only for replays

        return ReplaySource.from_arguments(arguments)
    raise SourceUnavailable(errno.EINVAL, f"there is no source {specification!r}")


def _open_kernel(origin: Origin, arguments: str = "") -> Source:
    from pressurefs.sources.kernel import KernelSource  # noqa: PLC0415, only where it may be had

    key, _, windows = (arguments or "windows=own").partition("=")
    if key != "windows":
        raise SourceUnavailable(errno.EINVAL, f"kernel:{arguments}: only windows= is known")
    if origin.fanout is None:
        raise SourceUnavailable(errno.ENOTSUP, "there is nobody to tell")
    return KernelSource(origin.fanout, origin.roots.proc, origin.cgroups, windows)


def _open_vmstat(origin: Origin) -> Source:
    return VmstatSource(origin.roots.proc, origin.cgroups)


# The better first.
_BY_MERIT: tuple[tuple[str, Callable[[Origin], Source]], ...] = (
    ("kernel", _open_kernel),
    ("vmstat", _open_vmstat),
)


class BestSource:
    """The best source of those that can be had; when it dies, the next.  Lives until closed.

    Registrations notice nothing of that: they are not the source's.  ``since``: when the one that is live was
    opened.
    """

    def __init__(self, origin: Origin) -> None:
        """Raise SourceUnavailable where there is none."""
        self._origin = origin
        self._left = list(_BY_MERIT)
        self._why_not: list[str] = []
        self._cgroups: frozenset[Place] = frozenset()
        self._source = self._open_next()

    @property
    def name(self) -> str:
        """The word of ``--source`` for the one that is live."""
        return self._source.name

    @property
    def limits(self) -> str:
        """What the one that is live cannot see, and why there is no better one."""
        return "; ".join([self._source.limits, *self._why_not])

    @property
    def alarm_fd(self) -> int | None:
        """The alarm of the one that is live."""
        return self._source.alarm_fd

    def start(self, now: float) -> None:
        """Begin."""
        self._source.start(now)

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Give samples of these cgroups, from whichever source."""
        self._cgroups = cgroups
        self._source.sample_cgroups(cgroups)

    def read(self, now: float) -> Sequence[Sample | Verdict]:
        """Return what has happened since the last look; OSError where the last source has died."""
        try:
            return self._source.read(now)
        except OSError as error:
            if not self._left:
                raise
            self._note(self._source.name, error)
            _log.warning("source %s: %s: another takes its place", self._source.name, error.strerror)
        self._source.close()
        self._source = self._open_next()
        self._source.start(now)
        self._source.sample_cgroups(self._cgroups)
        return []

    def next_look(self) -> float | None:
        """Return when the one that is live wants to look."""
        return self._source.next_look()

    def close(self) -> None:
        """Close the one that is live."""
        self._source.close()

    def _open_next(self) -> Source:
        while True:
            name, open_one = self._left.pop(0)
            try:
                source = open_one(self._origin)
            except SourceUnavailable as error:
                if not self._left:
                    raise
                self._note(name, error)
            else:
                self.since = datetime.now().astimezone()
                return source

    def _note(self, name: str, error: OSError) -> None:
        self._why_not.append(f"no source {name}: {error.strerror}")
