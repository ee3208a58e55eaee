"""The decision: a sample comes in, the registrations that must hear of it come out.

Pure: no clock, no descriptors, no threads.  Not locked: the exchange's lock guards it together with
the registry and the tunables.
"""

from collections import deque
from collections.abc import Collection

from pressurefs.cgroups.paths import BELOW, upwards
from pressurefs.events.listeners import Registration, Registry
from pressurefs.pressure.levels import Level, Mode
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict, Window

HISTORY_WINDOWS = 4096


class Engine:
    """One window for each cgroup that has begun one, the last verdicts, and the rule of who hears one."""

    def __init__(self, registry: Registry, tunables: Tunables) -> None:
        self._registry = registry
        self._tunables = tunables
        self._windows: dict[str, Window] = {}
        self.history: deque[Verdict] = deque(maxlen=HISTORY_WINDOWS)

    def feed(self, sample: Sample) -> list[Registration]:
        """Add a sample to its cgroup's window; return who must be signalled, often nobody."""
        window = self._windows.setdefault(sample.cgroup, Window())
        verdict = window.add(sample, self._tunables.thresholds)
        if verdict is None:
            return []
        # It is empty now, and cgroups come and go.
        del self._windows[sample.cgroup]
        return self.judge(verdict)

    def forget(self, cgroup: str) -> None:
        """Drop what was accumulated of a cgroup that was removed."""
        for window in (cgroup, cgroup + BELOW):
            self._windows.pop(window, None)

    def judge(self, verdict: Verdict) -> list[Registration]:
        """Record a verdict and return who must be signalled."""
        self.history.append(verdict)
        return self.audience(verdict)

    def silences(self, verdict: Verdict) -> bool:
        """Tell whether somebody does not hear a verdict because others below did."""
        heard = False
        modes: tuple[Mode, ...] = (Mode.HIERARCHY, Mode.LOCAL)
        for cgroup in upwards(verdict.cgroup):
            by_default = self._is_at(cgroup, verdict.level, Mode.DEFAULT)
            if heard and by_default:
                return True
            heard = heard or by_default or any(self._is_at(cgroup, verdict.level, mode) for mode in modes)
            modes = (Mode.HIERARCHY,)
        return False

    def _is_at(self, cgroup: str, level: Level, mode: Mode) -> bool:
        return any(self._registry.at(cgroup, asked, mode) for asked in Level if asked <= level)

    def audience(self, verdict: Verdict, dead: Collection[Registration] = ()) -> list[Registration]:
        """Return who must hear a verdict, if ``dead`` ones, too, count as having heard.

        The walk upwards is the kernel's vmpressure_work_fn(): the cgroup itself hears in every
        mode; its ancestors do not hear as ``local``, and as ``default`` only while nobody below
        them was signalled.
        """
        heard: list[Registration] = []
        was_heard = False
        modes: tuple[Mode, ...] = (Mode.DEFAULT, Mode.HIERARCHY, Mode.LOCAL)
        for cgroup in upwards(verdict.cgroup):
            for mode in modes:
                for level in Level:
                    if level <= verdict.level:
                        heard += self._registry.at(cgroup, level, mode)
            here = (one for one in dead if one.cgroup == cgroup and one.mode in modes)
            was_heard = was_heard or bool(heard) or any(one.level <= verdict.level for one in here)
            modes = (Mode.HIERARCHY,) if was_heard else (Mode.DEFAULT, Mode.HIERARCHY)
        return heard
