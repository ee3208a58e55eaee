# SPDX-License-Identifier: MIT
"""The books against the plainest model of it: a list."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pressurefs.events.listeners import Listener, Listeners, Place
from pressurefs.pressure.levels import Level, Mode
from tests.support.listeners import CGROUPS, LEVELS, MODES, UIDS, listener


class ListenersMachine(RuleBasedStateMachine):
    """Adds and removes in any order, beside a list that does the same."""

    @initialize()
    def begin(self) -> None:
        """Begin with nothing on both sides."""
        self.listeners = Listeners()
        self.model: list[Listener] = []
        self.last_token = 0
        self.changes = 0
        self.sampled: set[Place] = set()

    @rule(cgroup=CGROUPS, level=LEVELS, mode=MODES, uid=UIDS)
    def add(self, cgroup: str, level: Level, mode: Mode, uid: int) -> None:
        """Add a registration with a token that was never used."""
        self.last_token += 1
        registration = listener(self.last_token, cgroup, level, mode, uid)
        self.listeners.add(registration)
        self.model.append(registration)

    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        """Refuse a token that is in use, and let nothing of it in."""
        if self.model:
            twin = data.draw(st.sampled_from(self.model))
            with pytest.raises(KeyError):
                self.listeners.add(twin._replace(cgroup="/elsewhere", uid=7))

    @rule(tokens=st.sets(st.integers(0, 20)))
    def remove(self, tokens: set[int]) -> None:
        """Remove some, among them tokens that nobody has; what ended is returned."""
        ended = [self.listeners.remove(token) for token in sorted(tokens)]
        expected = {one.token: one for one in self.model}
        assert ended == [expected.get(token) for token in sorted(tokens)]
        self.model = [one for one in self.model if one.token not in tokens]

    @rule()
    def remove_all(self) -> None:
        """Remove what lives."""
        for one in list(self.listeners):
            self.listeners.remove(one.token)
        self.model = []

    @invariant()
    def agrees_with_the_list(self) -> None:
        """Check what lives, in its order, and what each user holds."""
        assert list(self.listeners) == self.model
        assert len(self.listeners) == len(self.model)
        assert {one.token for one in self.listeners} == {one.token for one in self.model}
        assert all(self.listeners.find(one.token) is one for one in self.model)
        hearing = [one for one in self.model if (one.cgroup, one.mode) != ("/", Mode.LOCAL)]
        hear_limits = {Place(one.cgroup, one.birth) for one in hearing}
        assert self.listeners.sampled() == hear_limits
        assert (self.listeners.changes == self.changes) == (hear_limits == self.sampled)
        self.changes, self.sampled = self.listeners.changes, hear_limits
        for uid in (0, 7, 1000, 1001, 4242):
            cgroups = {(one.cgroup, one.birth) for one in hearing if one.uid == uid}
            registrations = sum(one.uid == uid for one in self.model)
            assert self.listeners.held_by(uid) == (registrations, len(cgroups))

    @invariant()
    def finds_who_listens(self) -> None:
        """Check every cgroup, those without listeners too."""
        assert self.listeners.cgroups() == {one.cgroup for one in self.model}
        for cgroup in ("/", "/a", "/a/b", "/elsewhere"):
            there = [one for one in self.model if one.cgroup == cgroup]
            births = {one.birth for one in there}
            assert self.listeners.births(cgroup) == births
            assert self.listeners.born(cgroup, births) == there
            assert self.listeners.born(cgroup, {999}) == []

    @invariant()
    def leaves_nothing(self) -> None:
        """Check that with the last listener every table is empty again."""
        if not self.model:
            # By size: a Counter with a zero in it equals an empty one.
            tables = {name: table for name, table in vars(self.listeners).items() if name != "changes"}
            assert not any(map(len, tables.values()))


TestListenersMachine = ListenersMachine.TestCase


def test_same_wish_twice_is_two_listeners() -> None:
    """Two listeners that differ in their token alone are two, and end one at a time."""
    listeners = Listeners()
    one, other = listener(1), listener(2)
    listeners.add(one)
    listeners.add(other)
    assert listeners.remove(1) is one
    assert list(listeners) == [other]


def test_unknown_tokens_end_nothing() -> None:
    """A token that is not known, or that ended before, ends nothing."""
    listeners = Listeners()
    listeners.add(listener(1))
    assert listeners.remove(5) is None
    assert listeners.remove(1) is not None
    assert listeners.remove(1) is None
