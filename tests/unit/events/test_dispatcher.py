# SPDX-License-Identifier: MIT
"""What the dispatcher asks of the source, whose events reach whom, and that the dead silence nobody."""

import errno
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import WINDOWS, EventPath
from pressurefs.events.listeners import Listener, Place
from pressurefs.pressure.levels import RFC, Level, Mode
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.signaller.poll import Poller
from pressurefs.signaller.target import Target
from tests.support.listeners import BIRTHS, TOP, Graveyard, listener
from tests.unit.events.test_event_path import fill

LOW, MEDIUM, OOM = Level
DEFAULT, HIERARCHY, LOCAL = Mode
W = RFC.window_pages


class Fixture:
    """A dispatcher whose listeners are polled or dead, and how often it woke the source."""

    def __init__(self, graveyard: Graveyard | None = None, *, listeners_max: int = 64) -> None:
        self.times = 0
        self.graveyard = graveyard or Graveyard()
        self.path = EventPath(TOP, listeners_max)
        self.dispatcher = Dispatcher(RFC, self.path, self.graveyard, None, self.wake)

    def wake(self) -> None:
        """Count."""
        self.times += 1

    def close(self) -> None:
        """Close the event path and the signaller."""
        self.path.close()
        self.graveyard.close()

    def add(self, *listeners: Listener) -> None:
        """Register."""
        for one in listeners:
            self.dispatcher.add(one)

    def sent(self) -> dict[int, int]:
        """Return how often each listener was signalled."""
        return {one.listener.token: one.signals_sent for one in self.dispatcher.listeners()}


@pytest.fixture
def told() -> Iterator[Fixture]:
    fixture = Fixture()
    yield fixture
    fixture.close()


@contextmanager
def with_dead(*dead: int) -> Iterator[Fixture]:
    """Yield one of whose listeners some have a closed eventfd."""
    fixture = Fixture(Graveyard(*dead))
    yield fixture
    fixture.close()


def eventfd(token: int, cgroup: str, mode: Mode = DEFAULT) -> Listener:
    """Return a listener whose eventfd can be dead; nobody reads what it is signalled by."""

    class Handle:
        target = Target(*Poller(-1).target)

    return listener(token, cgroup, mode=mode, handle=Handle())


def test_first_listener_wakes(told: Fixture) -> None:
    """The first listener of a cgroup, or of one made again, wakes the source at once, no other does."""
    told.add(listener(1, "/a"), listener(2, "/a"))
    assert told.times == 1
    told.add(listener(3, "/a/b", mode=LOCAL))
    assert told.times == 2
    told.add(listener(4, "/a", birth=21))
    assert told.times == 3
    assert told.dispatcher.sampled() == {Place("/a", 11), Place("/a", 21), Place("/a/b", 12)}


def test_local_listener_at_the_top(told: Fixture) -> None:
    """A listener that hears the machine alone has no use for samples of cgroups."""
    told.add(listener(1, "/", mode=LOCAL))
    assert told.times == 0
    assert not told.dispatcher.sampled()
    told.add(listener(2, "/", mode=HIERARCHY))
    assert told.times == 1
    assert told.dispatcher.sampled() == {Place("/", 0)}


def test_same_set_is_the_same_object(told: Fixture) -> None:
    """The set is another object when, and only when, a cgroup came or went."""
    told.add(listener(1, "/a"))
    before = told.dispatcher.sampled()
    told.add(listener(2, "/a"))
    told.dispatcher.end(2)
    assert told.dispatcher.sampled() is before
    told.dispatcher.end(1)
    assert not told.dispatcher.sampled()


@pytest.mark.parametrize("happened", Level)
@pytest.mark.parametrize("asked", Level)
@pytest.mark.parametrize("mode", Mode)
def test_level_or_lower(told: Fixture, happened: Level, asked: Level, mode: Mode) -> None:
    """A verdict is heard by those who asked for its level or a lower one, in every mode."""
    told.add(listener(1, level=asked, mode=mode))
    told.dispatcher.inject(Verdict(0.0, "/", 0, 0, None, None, happened))
    assert told.sent() == {1: int(asked <= happened)}


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
        ([("/a", OOM), ("/", DEFAULT)], "/a", "/"),
    ],
)
def test_modes(told: Fixture, tree: list[tuple[str, Mode | Level]], at: str, heard: str) -> None:
    """Default stops above the first cgroup that was signalled, hierarchy never, local hears only its own.

    One that asked for oom was not signalled, and stops nobody.
    """
    for token, (cgroup, wish) in enumerate(tree, start=1):
        level, mode = (wish, DEFAULT) if isinstance(wish, Level) else (LOW, wish)
        told.add(listener(token, cgroup, level, mode))
    told.dispatcher.inject(Verdict(0.0, at, 0, 0, None, None, MEDIUM))
    signalled = [one.listener.cgroup for one in told.dispatcher.listeners() if one.signals_sent]
    assert signalled == heard.split()


def test_every_window_signals(told: Fixture) -> None:
    """There is no edge: each full window at a level signals again, and what fills none signals nobody."""
    told.add(listener(1))
    sent = []
    for pages in (512, 512, 511, 1, 0, 9999):
        told.dispatcher.feed([Sample(0.0, "/", pages, 0)])
        sent.append(told.sent()[1])
    assert sent == [1, 2, 2, 3, 3, 4]


def test_cgroups_have_windows_of_their_own(told: Fixture) -> None:
    """Pages scanned in one cgroup fill no other's window."""
    told.dispatcher.feed([Sample(0.0, cgroup, 256, 256) for cgroup in ("/a", "/b", "/a", "/")])
    assert [(one.cgroup, one.scanned) for one in told.dispatcher.history()] == [("/a", 512)]


def test_unnamed_cgroup_has_its_own_window(told: Fixture) -> None:
    """What is scanned somewhere below a cgroup fills no window of the cgroup, and is forgotten with it."""
    samples = [Sample(0.0, cgroup, 500, 500) for cgroup in ("/a", "/a/")]
    told.add(listener(1, "/a"))
    told.dispatcher.feed(samples)
    told.dispatcher.end_removed("/a", {11})
    told.dispatcher.feed(samples)
    assert not told.dispatcher.history()


def test_tunables_hold_from_the_next_sample(told: Fixture) -> None:
    """A threshold that was changed judges the next sample."""
    told.dispatcher.feed([Sample(0.0, "/", 512, 256)])
    told.dispatcher.tune(Tunables.set_level_medium, 50)
    told.dispatcher.feed([Sample(0.0, "/", 512, 256)])
    assert [one.level for one in told.dispatcher.history()] == [LOW, MEDIUM]


def test_history_is_bounded(told: Fixture) -> None:
    """The last 4,096 verdicts are kept, the oldest go first, and each has its cgroup's path."""
    for number in range(WINDOWS + 3):
        told.dispatcher.feed([Sample(float(number), f"/{number}", 512, 0)])
    history = told.dispatcher.history()
    assert (WINDOWS, len(history)) == (4096, 4096)
    assert (history[0].time, history[-1].time) == (3.0, 4098.0)
    assert all(one.cgroup == f"/{one.time:.0f}" for one in history)


@pytest.mark.parametrize(("dead", "sent"), [([], {1: 1, 2: 0}), ([1], {2: 1})])
def test_whom_the_dead_silenced(dead: list[int], sent: dict[int, int]) -> None:
    """A listener that was left out for the sake of one whose eventfd is closed is signalled at once."""
    with with_dead(*dead) as told:
        told.add(eventfd(1, "/a/b"), eventfd(2, "/a"))
        told.dispatcher.inject(Sample(0.0, "/a/b", 512, 512, None))
        assert told.sent() == sent


@pytest.mark.parametrize(("dead", "sent"), [([], {1: 1, 2: 0, 3: 0}), ([1], {2: 1, 3: 0}), ([1, 2], {3: 1})])
def test_whom_the_dead_silenced_in_c(dead: list[int], sent: dict[int, int]) -> None:
    """So it is with a window of the BPF program, and with dead ones above each other; nobody hears twice."""
    with with_dead(*dead) as told:
        told.add(eventfd(1, "/a/b"), eventfd(2, "/a"), eventfd(3, "/"))
        fill(told.path, BIRTHS["/a/b"], BIRTHS["/a/b"], W, W)
        assert [one.cgroup for one in told.dispatcher.take_windows()] == ["/a/b"]
        assert told.sent() == sent
        told.dispatcher.sweep()
        assert told.sent() == sent


def test_latecomers_hear_nothing_of_before() -> None:
    """A listener that came after a window was judged is not signalled for it, whoever is dead."""
    with with_dead(1) as told:
        told.add(eventfd(1, "/a/b"), eventfd(2, "/a"))
        fill(told.path, BIRTHS["/a/b"], BIRTHS["/a/b"], W, W)
        told.add(eventfd(3, "/a"))
        told.dispatcher.sweep()
        assert told.sent() == {2: 1, 3: 0}


def test_ended_listeners_are_charged() -> None:
    """What a removed cgroup's listener leaves with us counts for its user until the eventfd is closed."""
    with with_dead() as told:
        told.add(eventfd(1, "/a")._replace(uid=1000))
        told.dispatcher.end_removed("/a", {11})
        assert told.dispatcher.held_by(1000) == (1, 0)
        told.graveyard.dead = {1}
        assert told.dispatcher.sweep() == 0
        assert told.dispatcher.held_by(1000) == (0, 0)


def test_window_ends_with_the_last_listener(told: Fixture) -> None:
    """What was scanned in a cgroup is forgotten with its last listener, and is not the next one's."""
    almost = [Sample(0.0, "/a", 511, 511, None)]
    told.add(listener(1, "/a"))
    told.dispatcher.feed(almost)
    told.dispatcher.end(1)
    told.add(listener(2, "/a"))
    told.dispatcher.feed(almost)
    assert told.sent() == {2: 0}


def test_no_room() -> None:
    """A listener that finds no room is refused, and not registered; its eventfd counts until it is closed."""
    told = Fixture(listeners_max=1)
    told.add(listener(1, "/a"))
    with pytest.raises(Refusal) as refused:
        told.add(eventfd(2, "/d")._replace(uid=1000))
    assert refused.value.number == errno.ENOMEM
    assert told.sent() == {1: 0}
    assert told.dispatcher.held_by(1000).registrations == 1
    told.graveyard.dead = {2}
    told.dispatcher.sweep()
    assert told.dispatcher.held_by(1000).registrations == 0
    told.close()


def test_cgroup_made_again(told: Fixture) -> None:
    """Of two cgroups that had one path each hears its own windows; what is below follows the younger."""
    told.add(listener(1, "/a", mode=LOCAL), listener(2, "/a/b"), listener(3, "/a", mode=HIERARCHY, birth=21))
    for cgroup in (11, 21, 12):
        fill(told.path, cgroup, cgroup, W, W)
    assert told.sent() == {1: 1, 2: 1, 3: 2}
    told.dispatcher.end(3)
    fill(told.path, 12, 12, W, W)
    assert told.sent() == {1: 1, 2: 2}


def test_renamed_cgroup(told: Fixture) -> None:
    """A renamed cgroup is one place under two paths; no listener is lost with another's end."""
    told.add(listener(1, "/old", birth=31), listener(2, "/new", birth=31), listener(3, "/new/b", birth=32))
    fill(told.path, 31, 31, W, W)
    assert told.sent() == {1: 1, 2: 1, 3: 0}
    told.dispatcher.end(1)
    fill(told.path, 31, 31, W, W)
    assert told.sent() == {2: 2, 3: 0}
    told.dispatcher.end(2)
    fill(told.path, 32, 32, W, W)
    assert told.sent() == {3: 1}
    assert told.dispatcher.listened() == {"/new/b"}


def test_renamed_into_each_other(told: Fixture) -> None:
    """Cgroups that were renamed into each other's children make no walk go in a circle."""
    told.add(listener(1, "/x", birth=41), listener(2, "/x/y", birth=42, mode=HIERARCHY))
    told.add(listener(3, "/y", birth=42), listener(4, "/y/x", birth=41, mode=HIERARCHY))
    for cgroup in (41, 42):
        fill(told.path, cgroup, cgroup, W, W)
    assert all(told.sent().values())
    for token in (3, 1, 4, 2):
        told.dispatcher.end(token)
    assert told.dispatcher.listeners() == []


def test_place_that_has_gone(told: Fixture) -> None:
    """A window for a place that has gone is judged for the next one above, and is once in history."""
    told.add(listener(1, "/a"), listener(2, "/a/b"))
    fill(told.path, 12, 12, W, W)
    told.dispatcher.take_windows()
    told.dispatcher.end(2)
    fill(told.path, 12, 12, W, 0)
    told.dispatcher.take_windows()
    assert told.sent() == {1: 1}
    assert [(one.cgroup, one.level) for one in told.dispatcher.history()] == [("/a/b", LOW), ("/a/b", OOM)]


class Pausing(Graveyard):
    """One that lets something happen between the first reading of the dead and its answer."""

    meanwhile: Callable[[], None] | None = None

    def gone(self, tokens: set[int]) -> set[int]:
        """Return the dead, the first time after a while."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().gone(tokens)


@pytest.mark.parametrize("by_bpf", [False, True])
def test_event_during_a_sweep(*, by_bpf: bool) -> None:
    """An event that comes while a sweep reads who is dead reaches those whom the dead have silenced."""
    graveyard = Pausing(1)
    told = Fixture(graveyard)

    def happen() -> None:
        if by_bpf:
            fill(told.path, BIRTHS["/a/b"], BIRTHS["/a/b"], W, W)
        else:
            told.dispatcher.feed([Sample(0.0, "/a/b", 512, 512, None)])

    graveyard.meanwhile = happen
    told.add(eventfd(1, "/a/b"), eventfd(2, "/a"))
    assert told.dispatcher.sweep() == 1
    assert told.sent() == {2: 1}
    told.close()


def test_numbers_that_no_machine_has(told: Fixture) -> None:
    """A trace can hold any number; the event path counts what it can, and goes on."""
    told.dispatcher.feed([Sample(0.0, "/", 2**64, 2**70, None), Sample(1.0, "/", 2**64, 0, 2**31)])
    assert [one.level for one in told.dispatcher.history()] == [LOW, OOM]


def test_history_takes_no_window_away(told: Fixture) -> None:
    """Whoever reads history, a window is in the trace, and reaches the next above if its cgroup has gone."""
    told.add(listener(1, "/a"), listener(2, "/a/b"))
    fill(told.path, 12, 12, W, W)
    told.dispatcher.take_windows()
    told.dispatcher.end(2)
    fill(told.path, 12, 12, W, 0)
    assert len(told.dispatcher.history()) == 2
    assert told.sent() == {1: 1}
    assert [one.level for one in told.dispatcher.take_windows()] == [OOM]


def test_failed_sweep_is_wanted_still() -> None:
    """Where a sweep for an event fails, the next turn tries again."""

    class Failing(Graveyard):
        def gone(self, tokens: set[int]) -> set[int]:
            if not self.sweeps:
                self.sweeps += 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().gone(tokens)

    told = Fixture(Failing(1))
    told.add(eventfd(1, "/a/b"), eventfd(2, "/a"))
    told.dispatcher.inject(Sample(0.0, "/a/b", 512, 512, None))
    assert told.dispatcher.next_sweep() < math.inf
    told.dispatcher.sweep()
    assert told.dispatcher.next_sweep() == math.inf
    assert told.sent() == {2: 1}
    told.close()


def test_target_lives_as_long_as_its_row(told: Fixture) -> None:
    """The event path keeps what C points to, whoever else has forgotten the listener."""
    told.path.add(listener(7, "/d"), 15)
    gc.collect()
    fill(told.path, 15, 15, W, W)
    assert told.path.signals_sent(7) == 1
    told.path.drop(7)
