# SPDX-License-Identifier: MIT
"""The event path in C against the arithmetic and the walk in Python, over random streams of calls."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pressurefs._native import ffi, lib
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import NOBODY, EventPath, new_pages
from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import (
    MAINLINE,
    PROFILES,
    RFC,
    Level,
    Mode,
    Thresholds,
    level_of,
    reclaim_index,
)
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict, Window
from tests.support.listeners import BIRTHS, CGROUPS, LEVELS, MODES, PATHS, TOP, EventFd, Graveyard, listener
from tests.unit.events.model import Windows, who_hears

W = RFC.window_pages
LOW, MEDIUM, OOM = Level


@pytest.fixture
def path() -> Iterator[EventPath]:
    """An event path without listeners, by the default profile."""
    opened = EventPath(TOP)
    opened.tune(RFC)
    yield opened
    opened.close()


def judge(path: EventPath, sample: Sample) -> Verdict | None:
    """Add a sample to an empty window; return the verdict, if that filled it."""
    before = path.head()
    path.add_sample(new_pages(2**63), NOBODY, sample, is_inherited=True)
    judged, _ = path.read(before)
    return judged[0].verdict._replace(cgroup=sample.cgroup) if judged else None


def fill(path: EventPath, cgroup: int, listening: int, scanned: int, reclaimed: int) -> Verdict:
    """Hand in a window as the BPF program would; return what was judged."""
    window = {"cgroup": cgroup, "listening": listening, "scanned": scanned, "reclaimed": reclaimed}
    before = path.head()
    # The reader is the one caller in C; for a test the same call, from Python.
    lib.pfs_windows_fill(path._path, ffi.new("struct pfs_window *", window))  # noqa: SLF001
    (judged,), _ = path.read(before)
    return judged.verdict


@given(
    profile=st.sampled_from(sorted(PROFILES)),
    window=st.integers(1, 2 * W) | st.integers(1, 2**63 - 1),
    pages=st.tuples(st.integers(0, 4 * W) | st.integers(0, 2**63 - 1), st.floats(0, 1.5)),
    priority=st.none() | st.integers(0, 12),
    levels=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
    oom_priority=st.integers(0, 12),
)
def test_verdict_is_the_oracles(
    *,
    profile: str,
    window: int,
    pages: tuple[int, float],
    priority: int | None,
    levels: list[int],
    oom_priority: int,
) -> None:
    """A sample of any size fills the same windows, at the same index and level, as in Python."""
    scanned, share = pages
    medium, oom = levels
    thresholds = Thresholds(window, medium, oom, oom_priority, PROFILES[profile].scale_pages)
    reclaimed = min(int(scanned * share), 2**63 - 1)
    sample = Sample(1.5, "/", scanned, reclaimed, priority)
    expected = Window().add(sample, thresholds)
    if expected is not None and expected.scanned > 2**63 - 1:
        return  # sums stop there in C: eight exabytes of pages and more
    path = EventPath(TOP)
    path.tune(thresholds)
    assert judge(path, sample) == expected
    path.close()


@pytest.mark.parametrize("thresholds", [RFC, MAINLINE])
def test_nothing_scanned(path: EventPath, thresholds: Thresholds) -> None:
    """A window without a page, which the kernel's worker that came twice can hand in, is low."""
    path.tune(thresholds)
    verdict = fill(path, 0, 0, 0, 0)
    assert (verdict.index_percent, verdict.level) == (0, Level.LOW)


def test_enormous_sums_stop(path: EventPath) -> None:
    """Pages that no machine has are added up to a bound, and judged; no sum wraps around."""
    pages = new_pages(2**63)
    most = Sample(0.0, "/", 2**63 - 1, 2**63 - 1)
    path.tune(RFC._replace(window_pages=2**63 - 1))
    for _ in range(3):
        path.add_sample(pages, NOBODY, most, is_inherited=True)
    path.tune(MAINLINE)
    path.add_sample(pages, NOBODY, most._replace(reclaimed=0), is_inherited=True)
    judged, _ = path.read(0)
    assert {one.verdict.level for one in judged} == {LOW, OOM}
    assert all(one.verdict.scanned <= 2**63 - 1 for one in judged)


class EventPathMachine(RuleBasedStateMachine):
    """Registers, closes, removes, tunes, samples and fills windows in any order, beside the model.

    Listeners are signalled by io_uring, AIO and poll in turn.
    """

    eventfds: list[EventFd] = []  # noqa: RUF012, opened once: an io_uring takes longer than all the rest

    @initialize()
    def begin(self) -> None:
        """Begin with nothing on both sides."""
        self.graveyard = Graveyard()
        self.path = EventPath(TOP)
        self.dispatcher = Dispatcher(RFC, self.path, self.graveyard)
        self.tunables = Tunables(RFC)
        self.windows = Windows()
        self.births = dict(BIRTHS)
        self.living: list[Listener] = []
        self.expected: dict[int, int] = {}
        self.verdicts: list[Verdict] = []
        self.free = list(self.eventfds)
        self.token = 0
        self.time = 0
        self.sweeps = 0
        self.buried: list[Listener] = []
        self.counted: dict[int, int] = {}

    def teardown(self) -> None:
        """Compare, and close the event path; the eventfds serve the next example."""
        if not hasattr(self, "path"):
            return
        try:
            self.check()
        finally:
            self.dispatcher.end_all()
            for one in self.eventfds:
                one.count()
            self.path.use_aio(None)
            self.graveyard.close()
            self.path.close()

    @rule(cgroup=CGROUPS, level=LEVELS, mode=MODES, is_polled=st.booleans())
    def register(self, cgroup: str, level: Level, mode: Mode, *, is_polled: bool) -> None:
        """Register one more."""
        self.token += 1
        handle = self.free.pop() if self.free and not is_polled else None
        one = listener(self.token, cgroup, level, mode, handle=handle, birth=self.births[cgroup])
        self.dispatcher.add(one)
        self.living.append(one)
        self.expected[one.token] = 0

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def close_file(self, data: st.DataObject) -> None:
        """End one, as the last close of a polled file does."""
        one = data.draw(st.sampled_from(self.living))
        self.check()
        self.dispatcher.end(one.token)
        self.leave(one)

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """Let the eventfd of one be closed: it is swept at some later time, and silences nobody meanwhile."""
        mortal = [one for one in self.living if isinstance(one.handle, EventFd)]
        if mortal:
            one = data.draw(st.sampled_from(mortal))
            self.check()
            self.graveyard.dead.add(one.token)
            self.living.remove(one)
            del self.expected[one.token]
            self.buried.append(one)

    @rule(cgroup=CGROUPS.filter(lambda path: path != "/"))
    def remove(self, cgroup: str) -> None:
        """Remove a cgroup and make another of that name."""
        self.check()
        ended = [one for one in self.living if one.cgroup == cgroup]
        self.dispatcher.end_removed(cgroup, {self.births[cgroup]})
        for one in ended:
            self.leave(one)
            if isinstance(one.handle, EventFd):
                assert one.handle.count() == 1, "the last signal"
        self.births[cgroup] += 100

    @rule(
        window=st.integers(1, 2 * W),
        medium=st.integers(0, 60),
        oom=st.integers(60, 100),
        prio=st.integers(0, 12),
    )
    def tune(self, window: int, medium: int, oom: int, prio: int) -> None:
        """Turn everything that can be turned."""
        settings_ = (
            Tunables.set_window,
            Tunables.set_level_medium,
            Tunables.set_level_oom,
            Tunables.set_level_oom_priority,
        )
        for setting, value in zip(settings_, (window, medium, oom, prio), strict=True):
            self.dispatcher.tune(setting, value)
            setting(self.tunables, value)

    @rule(
        cgroup=st.sampled_from([*PATHS, "/a/", "/a/b/", "/d/", "/unknown", "/a/unknown"]),
        scanned=st.integers(0, 3 * W),
        share=st.floats(0, 1.2),
        priority=st.none() | st.integers(0, 12),
    )
    def sample(self, cgroup: str, scanned: int, share: float, priority: int | None) -> None:
        """Feed a sample."""
        self.time += 1
        one = Sample(float(self.time), cgroup, scanned, int(scanned * share), priority)
        self.dispatcher.feed([one])
        verdict = self.windows.add(one, self.tunables.thresholds)
        if verdict is not None:
            self.judge(verdict)

    @rule(cgroup=CGROUPS, level=LEVELS)
    def inject(self, cgroup: str, level: Level) -> None:
        """Inject a level."""
        self.time += 1
        verdict = Verdict(float(self.time), cgroup, 0, 0, None, None, level)
        self.dispatcher.inject(verdict)
        self.judge(verdict)

    @rule(cgroup=CGROUPS, scanned=st.integers(1, 2 * W), share=st.floats(0, 1))
    def fill(self, cgroup: str, scanned: int, share: float) -> None:
        """Hand in a window as the BPF program does: with the number of the nearest listened cgroup."""
        known = {one.cgroup: one for one in self.dispatcher_listeners()}
        above = cgroup
        while above not in known and above != "/":
            above = above.rpartition("/")[0] or "/"
        if above not in known:
            return
        self.time += 1
        record = {
            "time_ns": self.time * 10**9,
            "cgroup": self.births[cgroup],
            "listening": TOP if above == "/" and cgroup != "/" else self.births[above],
            "scanned": scanned,
            "reclaimed": int(scanned * share),
            "priority": lib.PFS_NO_PRIORITY,
        }
        lib.pfs_windows_fill(self.path._path, ffi.new("struct pfs_window *", record))  # noqa: SLF001
        thresholds = self.tunables.thresholds
        scale = thresholds.scale_pages(thresholds.window_pages, scanned, record["reclaimed"])
        index = reclaim_index(scanned, record["reclaimed"], scale)
        pages = scanned, record["reclaimed"], None
        verdict = Verdict(float(self.time), cgroup, *pages, index, level_of(index, thresholds))
        # Without a tree a cgroup that is not listened to has no path.
        assert [one._replace(cgroup=cgroup) for one in self.dispatcher.take_windows()] == [verdict]
        self.judge(verdict)

    @rule()
    def sweep(self) -> None:
        """Sweep, as the daemon does once a second, and compare."""
        self.check()

    def dispatcher_listeners(self) -> list[Listener]:
        """Return those that the event path knows, the dead among them."""
        return [one.listener for one in self.dispatcher.listeners()]

    def judge(self, verdict: Verdict) -> None:
        """Expect a signal at each of those who hear."""
        self.verdicts.append(verdict)
        for token in who_hears(self.living, verdict.cgroup, verdict.level):
            self.expected[token] += 1
        self.settle()

    def settle(self) -> None:
        """Forget the windows of those whom a sweep has found, if an event was the reason for one."""
        if self.graveyard.sweeps != self.sweeps:
            self.sweeps = self.graveyard.sweeps
            while self.buried:
                self.forget(self.buried.pop().cgroup)

    def forget(self, cgroup: str) -> None:
        """Forget the window of a cgroup without listeners."""
        if cgroup != "/" and not any(one.cgroup == cgroup for one in [*self.living, *self.buried]):
            self.windows.forget(cgroup)

    def leave(self, one: Listener) -> None:
        """Count on one no more."""
        self.living.remove(one)
        del self.expected[one.token]
        self.forget(one.cgroup)

    def check(self) -> None:
        """Once the dead are swept, each listener has a signal for each window that it hears, and no other."""
        self.dispatcher.sweep()
        self.settle()
        sent = {one.listener.token: one.signals_sent for one in self.dispatcher.listeners()}
        assert sent == self.expected
        for one in self.living:
            if isinstance(one.handle, EventFd):
                self.counted[one.token] = self.counted.get(one.token, 0) + one.handle.count()
                assert self.counted[one.token] == self.expected[one.token]
        shown = [(one.time, one.index_percent, one.level) for one in self.dispatcher.history()]
        assert shown == [(one.time, one.index_percent, one.level) for one in self.verdicts]


class TestEventPathMachine(EventPathMachine.TestCase):  # type: ignore[misc, valid-type]
    """The machine with eventfds of all kinds."""

    settings = settings(max_examples=60, stateful_step_count=40)

    @classmethod
    def setUpClass(cls) -> None:
        """Open eventfds, half of them signalled by an io_uring and half by AIO."""
        EventPathMachine.eventfds = [
            EventFd(kind) for kind in (lib.PFS_BY_URING, lib.PFS_BY_AIO) for _ in range(6)
        ]

    @classmethod
    def tearDownClass(cls) -> None:
        """Close them."""
        while EventPathMachine.eventfds:
            EventPathMachine.eventfds.pop().close()
