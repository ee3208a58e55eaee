# SPDX-License-Identifier: MIT
"""The rule of who hears a window, written down once more, apart from the C that is compared with it."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import Level, Mode, Thresholds
from pressurefs.pressure.window import Sample, Verdict, Window


def who_hears(listeners: Iterable[Listener], cgroup: str, level: Level) -> set[int]:
    """Return the tokens of those who hear; a cgroup that ends in "/" is an unknown one below.

    Walks as the kernel's vmpressure_work_fn() and vmpressure_event() do: one list a cgroup.
    """
    heard: set[int] = set()
    signalled, ancestor = False, cgroup != "/" and cgroup.endswith("/")
    for path in (PurePosixPath(cgroup), *PurePosixPath(cgroup).parents):
        signalled_here = False
        for one in listeners:
            if one.cgroup != str(path):
                continue
            if ancestor and one.mode is Mode.LOCAL:
                continue
            if signalled and one.mode is Mode.DEFAULT:
                continue
            if level < one.level:
                continue
            heard.add(one.token)
            signalled_here = True
        signalled = signalled or signalled_here
        ancestor = True
    return heard


class Windows:
    """A window for each cgroup that has begun one, judged by the arithmetic in Python."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def add(self, sample: Sample, thresholds: Thresholds) -> Verdict | None:
        """Add a sample; return the verdict if that filled the window."""
        return self._windows.setdefault(sample.cgroup, Window()).add(sample, thresholds)

    def forget(self, cgroup: str) -> None:
        """Drop what was added up for a cgroup, and for unknown ones below it."""
        for path in (cgroup, cgroup + "/"):
            self._windows.pop(path, None)
