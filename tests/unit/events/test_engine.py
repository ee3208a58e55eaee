# SPDX-License-Identifier: MIT
"""Who hears: the walk up the tree, against the kernel's rule written down once more."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.events.engine import HISTORY_WINDOWS, Engine
from pressurefs.events.listeners import Registration, Registry
from pressurefs.pressure.levels import RFC, Level, Mode
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from tests.support.listeners import CGROUPS, LEVELS, MODES, listener

LOW, MEDIUM, OOM = Level
DEFAULT, HIERARCHY, LOCAL = Mode


def engine_with(listeners: list[Registration]) -> Engine:
    registry = Registry()
    for one in listeners:
        registry.add(one)
    return Engine(registry, Tunables(RFC))


def verdict(cgroup: str, level: Level) -> Verdict:
    return Verdict(0.0, cgroup, 512, 0, None, 100, level)


def who_hears(listeners: list[Registration], cgroup: str, level: Level) -> set[int]:
    """Walk as the kernel's vmpressure_work_fn() and vmpressure_event() do: one list a cgroup."""
    heard: set[int] = set()
    signalled = ancestor = False
    for path in (PurePosixPath(cgroup), *PurePosixPath(cgroup).parents):
        signalled_here = False
        for one in listeners:
            if one.cgroup != str(path):
                continue
            if ancestor and one.mode is LOCAL:
                continue
            if signalled and one.mode is DEFAULT:
                continue
            if level < one.level:
                continue
            heard.add(one.token)
            signalled_here = True
        signalled = signalled or signalled_here
        ancestor = True
    return heard


@pytest.mark.parametrize("happened", Level)
@pytest.mark.parametrize("asked", Level)
@pytest.mark.parametrize("mode", Mode)
def test_level_or_lower(happened: Level, asked: Level, mode: Mode) -> None:
    """A verdict is heard by those who asked for its level or a lower one, in every mode."""
    heard = engine_with([listener(1, level=asked, mode=mode)]).judge(verdict("/", happened))
    assert bool(heard) == (asked <= happened)


@pytest.mark.parametrize(
    ("tree", "at", "heard"),
    [
        ([("/a", DEFAULT), ("/", DEFAULT)], "/a", "/a"),
        ([("/a", DEFAULT), ("/", HIERARCHY)], "/a", "/a /"),
        ([("/a", DEFAULT), ("/", LOCAL)], "/a", "/a"),
        ([("/a", HIERARCHY), ("/", DEFAULT)], "/a", "/a"),
        ([("/a", LOCAL), ("/", DEFAULT)], "/a", "/a"),
        ([("/", DEFAULT)], "/a", "/"),
        ([("/", HIERARCHY)], "/a/b/c", "/"),
        ([("/", LOCAL)], "/a", ""),
        ([("/", LOCAL)], "/", "/"),
        ([("/a", LOCAL), ("/", DEFAULT)], "/a/b", "/"),
        ([("/a/b", DEFAULT), ("/a", HIERARCHY), ("/", DEFAULT)], "/a/b", "/a/b /a"),
        ([("/a", HIERARCHY), ("/", DEFAULT)], "/a/b", "/a"),
        ([("/a", HIERARCHY), ("/", HIERARCHY)], "/a/b", "/a /"),
        ([("/a/b", DEFAULT), ("/d", DEFAULT), ("/", DEFAULT)], "/d", "/d"),
        ([("/a/b", DEFAULT), ("/a", DEFAULT)], "/", ""),
        ([("/a", DEFAULT)], "/ab", ""),
        ([("/a", LOCAL), ("/a", DEFAULT), ("/", DEFAULT)], "/a/", "/a"),
        ([("/a", LOCAL), ("/a", HIERARCHY), ("/", HIERARCHY)], "/a/", "/a /"),
        ([("/a", LOCAL), ("/", DEFAULT)], "/a/", "/"),
    ],
)
def test_modes(tree: list[tuple[str, Mode]], at: str, heard: str) -> None:
    """Default stops above the first cgroup that was signalled, hierarchy never, local hears only its own."""
    listeners = [listener(token, cgroup, LOW, mode) for token, (cgroup, mode) in enumerate(tree)]
    assert [one.cgroup for one in engine_with(listeners).judge(verdict(at, OOM))] == heard.split()


def test_unheard_level_does_not_stop_the_walk() -> None:
    """A cgroup whose listeners asked for more was not signalled, so its ancestor's default still hears."""
    listeners = [listener(1, "/a", OOM), listener(2, "/", LOW)]
    assert engine_with(listeners).judge(verdict("/a", MEDIUM)) == [listeners[1]]


def test_hierarchy_listener_stops_defaults_above_it() -> None:
    """An ancestor that was signalled stops the defaults further up, though nobody below it heard."""
    listeners = [listener(1, "/a", LOW, HIERARCHY), listener(2, "/", LOW, DEFAULT)]
    assert engine_with(listeners).judge(verdict("/a/b", LOW)) == [listeners[0]]


def test_same_cgroup_hears_in_all_modes() -> None:
    """Within one cgroup one mode silences no other."""
    listeners = [listener(token, "/a", LOW, mode) for token, mode in enumerate(Mode)]
    assert {one.mode for one in engine_with(listeners).judge(verdict("/a", LOW))} == set(Mode)


def test_registered_twice_is_signalled_twice() -> None:
    """The same wish registered twice is signalled twice, and one that is gone is not."""
    registry = Registry()
    engine = Engine(registry, Tunables(RFC))
    for token in (1, 2, 3):
        registry.add(listener(token))
    registry.remove([2])
    assert [one.token for one in engine.judge(verdict("/", LOW))] == [1, 3]


@given(
    listeners=st.lists(st.tuples(CGROUPS, LEVELS, MODES), max_size=12),
    cgroup=CGROUPS,
    level=LEVELS,
)
def test_walk_is_the_kernels(listeners: list[tuple[str, Level, Mode]], cgroup: str, level: Level) -> None:
    """Whoever listens where and how, those and only those hear that the kernel would signal, once each."""
    registrations = [listener(token, *wish) for token, wish in enumerate(listeners)]
    heard = [one.token for one in engine_with(registrations).judge(verdict(cgroup, level))]
    assert len(heard) == len(set(heard))
    assert set(heard) == who_hears(registrations, cgroup, level)


@given(
    listeners=st.lists(st.tuples(CGROUPS, LEVELS, MODES), max_size=6),
    cgroup=CGROUPS,
    level=LEVELS,
)
def test_who_is_silenced(listeners: list[tuple[str, Level, Mode]], cgroup: str, level: Level) -> None:
    """Somebody is silenced if and only if he would hear without those below him."""
    registrations = [listener(token, *wish) for token, wish in enumerate(listeners)]
    happened = verdict(cgroup, level)
    heard = set(engine_with(registrations).judge(happened))
    without = [
        one
        for one in set(registrations) - heard
        if engine_with([other for other in registrations if other.cgroup == one.cgroup]).judge(happened)
        and who_hears([one], cgroup, level)
    ]
    assert engine_with(registrations).silences(happened) == bool(without)


def test_every_window_signals() -> None:
    """There is no edge: each full window at a level signals again, and what fills none signals nobody."""
    engine = engine_with([listener(1)])
    heard = [len(engine.feed(Sample(0.0, "/", pages, 0))) for pages in (512, 512, 511, 1, 0, 9999)]
    assert heard == [1, 1, 0, 1, 0, 1]


def test_cgroups_have_windows_of_their_own() -> None:
    """Pages scanned in one cgroup fill no other's window."""
    engine = engine_with([])
    for cgroup in ("/a", "/b", "/a", "/"):
        engine.feed(Sample(0.0, cgroup, 256, 256))
    assert [(one.cgroup, one.scanned) for one in engine.history] == [("/a", 512)]


def test_unnamed_cgroup_has_its_own_window() -> None:
    """What is scanned somewhere below a cgroup fills no window of the cgroup, and is forgotten with it."""
    engine = engine_with([])
    for cgroup in ("/a", "/a/"):
        engine.feed(Sample(0.0, cgroup, 500, 500))
    assert not engine.history
    engine.forget("/a")
    for cgroup in ("/a", "/a/"):
        engine.feed(Sample(0.0, cgroup, 500, 500))
    assert not engine.history


def test_tunables_hold_from_the_next_sample() -> None:
    """A threshold that was turned judges the next sample."""
    tunables = Tunables(RFC)
    engine = Engine(Registry(), tunables)
    engine.feed(Sample(0.0, "/", 512, 256))
    tunables.set_level_medium(50)
    engine.feed(Sample(0.0, "/", 512, 256))
    assert [one.level for one in engine.history] == [LOW, MEDIUM]


def test_history_is_bounded() -> None:
    """The last 4,096 verdicts are kept, the oldest go first."""
    engine = engine_with([])
    for number in range(HISTORY_WINDOWS + 3):
        engine.feed(Sample(float(number), "/", 512, 0))
    assert (HISTORY_WINDOWS, len(engine.history)) == (4096, 4096)
    assert (engine.history[0].time, engine.history[-1].time) == (3.0, 4098.0)
