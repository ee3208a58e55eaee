"""The exchange: the dead hear nothing, and what stays of them counts."""

from collections.abc import Iterable

import pytest

from pressurefs.exchange import Exchange
from pressurefs.levels import RFC
from pressurefs.protocol import Mode
from pressurefs.window import Sample
from tests.unit.listeners import listener


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
    assert exchange.held_by(1000) == 1
    graveyard.dead = {1}
    assert exchange.sweep() == 0
    assert exchange.held_by(1000) == 0


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
