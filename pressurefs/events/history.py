# SPDX-License-Identifier: MIT
"""The windows that were judged, with the paths of their cgroups.

C keeps the last 4,096 with the numbers of their cgroups.  Names are given here, soon after a window was
judged: later the cgroup can be gone.  Not locked: the dispatcher's lock guards it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pressurefs.cgroups.paths import BELOW, MACHINE
from pressurefs.events.event_path import WINDOWS, EventPath
from pressurefs.events.listened_cgroups import ListenedCgroups
from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import Level, Mode
from pressurefs.signaller.poll import Poller

if TYPE_CHECKING:
    from pressurefs.cgroups.tree import CgroupRoot
    from pressurefs.events.event_path import Judged
    from pressurefs.pressure.levels import Thresholds
    from pressurefs.pressure.window import Verdict

_NAMES_MAX = 2 * WINDOWS


class History:
    """Reads the windows that were judged.  Lives as long as the mount."""

    def __init__(
        self, event_path: EventPath, listened: ListenedCgroups, cgroups: CgroupRoot | None = None
    ) -> None:
        """``cgroups``: the tree that finds the path of a cgroup which is not listened to."""
        self._event_path = event_path
        self._listened = listened
        self._cgroups = cgroups
        self._next = 0
        # By number; the first is the one that was used the longest time ago.
        self._names: dict[int, str] = {}

    def take(self) -> list[Judged]:
        """Return what was judged since the last call, oldest first, with its cgroups' paths."""
        judged, self._next = self._event_path.read(self._next)
        return [one._replace(verdict=one.verdict._replace(cgroup=self._name(one))) for one in judged]

    def take_filled(self) -> list[Verdict]:
        """Return the windows that the BPF program filled since the last call, oldest first."""
        return [one.verdict for one in self.take() if not one.is_sampled]

    def read(self) -> list[Verdict]:
        """Return the last windows, oldest first; those that were not walked are judged later once more.

        Needs no lock: to give names to 4,096 windows takes 10 ms.
        """
        kept = [one for one in self._event_path.read_all() if one.was_walked or one.is_sampled]
        return [one.verdict._replace(cgroup=self._names.get(one.cgroup, MACHINE)) for one in kept]

    def name(self, number: int, path: str) -> None:
        """Give the cgroup of a window its path."""
        self._names.pop(number, None)
        self._names[number] = path
        if len(self._names) > _NAMES_MAX:
            del self._names[next(iter(self._names))]

    def _name(self, one: Judged) -> str:
        """Return the target's path; where it has gone, the nearest listened cgroup's with BELOW."""
        if not one.cgroup:
            return MACHINE
        path = self._listened.path_of(one.cgroup) or self._names.get(one.cgroup)
        if path is not None and path.endswith(BELOW) and not one.is_sampled:
            path = None  # only the nearest listened cgroup was known
        if path is None and self._cgroups is not None:
            path = self._cgroups.path_of(one.cgroup)
        if path is None:
            path = (self._listened.path_of(one.listening) or MACHINE) + BELOW
        self.name(one.cgroup, path)
        return path


def open_for_all(cgroups: CgroupRoot | None, thresholds: Thresholds) -> tuple[EventPath, History]:
    """Return an event path that judges windows of every cgroup and signals nobody, and its history."""
    event_path = EventPath(0 if cgroups is None else cgroups.number)
    event_path.tune(thresholds)
    wish = Level.LOW, Mode.HIERARCHY, os.getuid(), os.getpid()
    event_path.add(Listener(1, MACHINE, *wish, Poller(-1)), 0)
    return event_path, History(event_path, ListenedCgroups(), cgroups)
