# SPDX-License-Identifier: MIT
"""What the exchange tells the source, whose samples somebody can hear; and that the dead hear nothing."""

import errno
import time
from collections.abc import Callable, Iterable

import pytest

from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Exchange
from pressurefs.events.listeners import Place, Registration
from pressurefs.pressure.levels import RFC, Level, Mode, Thresholds
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.signaller.poll import Poller
from tests.support.listeners import listener


class Told:
    """An exchange without a signaller, since all listen by poll; counts how often the source was woken."""

    def __init__(self) -> None:
        self.times = 0
        self.exchange = Exchange(RFC, None, self.wake)  # type: ignore[arg-type]
        self.tokens = 0

    def wake(self) -> None:
        """Count."""
        self.times += 1

    def add(self, cgroup: str, mode: Mode = Mode.DEFAULT, birth: int = 7) -> int:
        """Register; return the token."""
        self.tokens += 1
        poller = Poller(lambda _: None)
        self.exchange.add(listener(self.tokens, cgroup, mode=mode)._replace(handle=poller, birth=birth))
        return self.tokens


@pytest.fixture
def told() -> Told:
    return Told()


def test_first_listener_wakes(told: Told) -> None:
    """The first registration of a cgroup, or of one made again, wakes the source at once, no other does."""
    told.add("/a")
    told.add("/a")
    assert told.times == 1
    told.add("/a/b", Mode.LOCAL)
    assert told.times == 2
    told.add("/a", birth=8)
    assert told.times == 3
    assert told.exchange.sampled() == {Place("/a", 7), Place("/a", 8), Place("/a/b", 7)}


def test_local_listener_at_the_top(told: Told) -> None:
    """Whoever hears the machine alone has no use for samples of cgroups."""
    told.add("/", Mode.LOCAL)
    assert told.times == 0
    assert not told.exchange.sampled()
    told.add("/", Mode.HIERARCHY, birth=0)
    assert told.times == 1
    assert told.exchange.sampled() == {Place("/", 0)}


def test_same_set_is_the_same_object(told: Told) -> None:
    """The set is another object when, and only when, a cgroup came or went."""
    first = told.add("/a")
    before = told.exchange.sampled()
    second = told.add("/a")
    told.exchange.end(second)
    assert told.exchange.sampled() is before
    told.exchange.end(first)
    assert not told.exchange.sampled()


class Graveyard:
    """A signaller that says of some tokens that their eventfd is gone; a handle is a token here."""

    def __init__(self, *dead: int) -> None:
        self.dead = set(dead)
        self.signalled: list[int] = []

    def gone(self, tokens: set[int]) -> set[int]:
        """Return the dead."""
        return tokens & self.dead

    def signal(self, handles: Iterable[int]) -> None:
        """Note."""
        self.signalled += handles

    def drop(self, handle: int) -> bool:
        """Keep a row, as an epoll set does."""
        return handle not in self.dead


@pytest.mark.parametrize(("dead", "signalled"), [([], [1]), ([1], [2])])
def test_the_dead_hear_nothing(dead: list[int], signalled: list[int]) -> None:
    """A listener whose eventfd is closed, and was not swept, keeps no event from those above it."""
    graveyard = Graveyard(*dead)
    exchange = Exchange(RFC, graveyard)  # type: ignore[arg-type]
    exchange.add(listener(1, "/a/b", mode=Mode.DEFAULT))
    exchange.add(listener(2, "/a", mode=Mode.DEFAULT))
    exchange.feed([Sample(0.0, "/a/b", 512, 512, None)])
    assert graveyard.signalled == signalled


def test_ended_registrations_count_on() -> None:
    """What a removed cgroup's registration leaves with us counts for its user until the eventfd is closed."""
    graveyard = Graveyard()
    exchange = Exchange(RFC, graveyard)  # type: ignore[arg-type]
    exchange.add(listener(1, "/a")._replace(birth=7, uid=1000))
    exchange.end_removed("/a", {7})
    assert graveyard.signalled == [1]
    assert exchange.held_by(1000) == (1, 0)
    graveyard.dead = {1}
    assert exchange.sweep() == 0
    assert exchange.held_by(1000) == (0, 0)


def test_window_ends_with_the_last_listener() -> None:
    """What was scanned in a cgroup is forgotten with its last listener, and is not the next one's."""
    graveyard = Graveyard()
    exchange = Exchange(RFC, graveyard)  # type: ignore[arg-type]
    exchange.add(listener(1, "/a"))
    exchange.feed([Sample(0.0, "/a", 511, 511, None)])
    exchange.end(1)
    exchange.add(listener(2, "/a"))
    exchange.feed([Sample(0.0, "/a", 511, 511, None)])
    assert not graveyard.signalled


class Elsewhere:
    """A fan-out that tells whoever is no poller, and keeps no books."""

    def tune(self, thresholds: Thresholds) -> None:
        """Judge nothing."""

    def add(self, registration: Registration) -> None:
        """Forget."""

    def drop(self, registration: Registration) -> None:
        """Forget."""

    def tells(self, registration: Registration) -> bool:
        """Tell by the handle."""
        return not isinstance(registration.handle, Poller)


def note_told(graveyard: Graveyard, *registrations: Registration, at: str) -> Exchange:
    """Let verdicts come that the fan-out has told already."""
    exchange = Exchange(RFC, graveyard, fanout=Elsewhere())  # type: ignore[arg-type]
    for one in registrations:
        exchange.add(one)
    exchange.feed([Verdict(time.monotonic(), at, 512, 512, None, 0, Level.LOW)])
    return exchange


class Full(Elsewhere):
    """A fan-out that has no room."""

    def add(self, registration: Registration) -> None:
        """Refuse."""
        raise Refusal(errno.ENFILE, f"no room for {registration.token}")


def test_no_room_in_the_fanout() -> None:
    """Who is refused there is not registered; what stays of his eventfd counts until that is closed."""
    graveyard = Graveyard()
    exchange = Exchange(RFC, graveyard, fanout=Full())  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="no room for 1"):
        exchange.add(listener(1, "/a", uid=1000))
    assert exchange.listeners() == []
    assert exchange.held_by(1000).registrations == 1
    graveyard.dead = {1}
    exchange.sweep()
    assert exchange.held_by(1000).registrations == 0


def test_nobody_is_told_twice() -> None:
    """Who was told by the fan-out is not signalled again; an open file that is polled is told here."""
    collected: list[bool] = []
    poller = Poller(lambda _: collected.append(True))
    polled = listener(2, "/a")._replace(handle=poller)
    graveyard = Graveyard()
    exchange = note_told(graveyard, listener(1, "/a"), polled, at="/a")
    assert not graveyard.signalled
    assert poller.signals_sent == 1
    assert [one.cgroup for one in exchange.history()] == ["/a"]


@pytest.mark.parametrize(("dead", "signalled"), [([], []), ([1], [2])])
def test_whom_the_dead_silenced(dead: list[int], signalled: list[int]) -> None:
    """A listener whom the fan-out left out for the sake of a dead one is signalled once that is seen."""
    below, above = listener(1, "/a/b"), listener(2, "/a")
    graveyard = Graveyard(*dead)
    note_told(graveyard, below, above, at="/a/b")
    assert graveyard.signalled == signalled


def test_whom_the_buried_silenced() -> None:
    """So it is where the dead one was buried after the event, and before that was told."""
    graveyard = Graveyard(1)
    exchange = Exchange(RFC, graveyard, fanout=Elsewhere())  # type: ignore[arg-type]
    exchange.add(listener(1, "/a/b"))
    exchange.add(listener(2, "/a"))
    before = Verdict(time.monotonic(), "/a/b", 512, 512, None, 0, Level.LOW)
    exchange.sweep()
    after = before._replace(time=time.monotonic())
    exchange.feed([before])
    assert graveyard.signalled == [2]
    exchange.feed([after])
    assert graveyard.signalled == [2]


class Pausing(Graveyard):
    """One that lets something happen between the first look at the dead and its answer."""

    def __init__(self, meanwhile: Callable[[], None], *dead: int) -> None:
        super().__init__(*dead)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def gone(self, tokens: set[int]) -> set[int]:
        """Return the dead, the first time after a while."""
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().gone(tokens)


@pytest.mark.parametrize("fanout", [None, Elsewhere()])
def test_event_during_a_sweep(fanout: Elsewhere | None) -> None:
    """While a sweep has looked and written nothing down, an event looks for itself who is dead."""

    def happen() -> None:
        now = time.monotonic()
        pages = now, "/a/b", 512, 512, None
        exchange.feed([Sample(*pages)] if fanout is None else [Verdict(*pages, 0, Level.LOW)])

    graveyard = Pausing(happen, 1)
    exchange = Exchange(RFC, graveyard, fanout=fanout)  # type: ignore[arg-type]
    exchange.add(listener(1, "/a/b"))
    exchange.add(listener(2, "/a"))
    assert exchange.sweep() == 1
    assert graveyard.signalled == [2]
