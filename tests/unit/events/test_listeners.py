# SPDX-License-Identifier: MIT
"""The registry against the plainest model of it: a list."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pressurefs.events.listeners import Place, Registration, Registry
from pressurefs.pressure.levels import Level, Mode
from tests.support.listeners import CGROUPS, LEVELS, MODES, UIDS, listener


class RegistryMachine(RuleBasedStateMachine):
    """Adds and removes in any order, beside a list that does the same."""

    @initialize()
    def begin(self) -> None:
        """Begin with nothing on both sides."""
        self.registry = Registry()
        self.model: list[Registration] = []
        self.last_token = 0

    @rule(cgroup=CGROUPS, level=LEVELS, mode=MODES, uid=UIDS)
    def add(self, cgroup: str, level: Level, mode: Mode, uid: int) -> None:
        """Add a registration with a token that was never used."""
        self.last_token += 1
        registration = listener(self.last_token, cgroup, level, mode, uid)
        self.registry.add(registration)
        self.model.append(registration)

    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        """Refuse a token that is in use, and let nothing of it in."""
        if self.model:
            twin = data.draw(st.sampled_from(self.model))
            with pytest.raises(KeyError):
                self.registry.add(twin._replace(cgroup="/elsewhere", uid=7))

    @rule(tokens=st.sets(st.integers(0, 20)))
    def remove(self, tokens: set[int]) -> None:
        """Remove some, among them tokens that nobody has; what ended is returned."""
        ended = self.registry.remove(tokens)
        assert sorted(ended) == [one for one in self.model if one.token in tokens]
        self.model = [one for one in self.model if one.token not in tokens]

    @rule()
    def remove_all(self) -> None:
        """Remove what lives."""
        self.registry.remove([one.token for one in self.registry])
        self.model = []

    @invariant()
    def agrees_with_the_list(self) -> None:
        """Check what lives, in its order, and what each user holds."""
        assert list(self.registry) == self.model
        assert len(self.registry) == len(self.model)
        assert {one.token for one in self.registry} == {one.token for one in self.model}
        assert all(self.registry.find(one.token) is one for one in self.model)
        hearing = [one for one in self.model if (one.cgroup, one.mode) != ("/", Mode.LOCAL)]
        hear_limits = {Place(one.cgroup, one.birth) for one in hearing}
        assert self.registry.sampled() == hear_limits
        for uid in (0, 7, 1000, 1001, 4242):
            cgroups = {(one.cgroup, one.birth) for one in hearing if one.uid == uid}
            registrations = sum(one.uid == uid for one in self.model)
            assert self.registry.held_by(uid) == (registrations, len(cgroups))

    @invariant()
    def finds_who_listens(self) -> None:
        """Check every cgroup, level and mode, those without listeners too."""
        for cgroup in ("/", "/a", "/a/b", "/elsewhere"):
            for level in Level:
                for mode in Mode:
                    asked = cgroup, level, mode
                    expected = [one for one in self.model if (one.cgroup, one.level, one.mode) == asked]
                    assert list(self.registry.at(*asked)) == expected

    @invariant()
    def leaves_nothing(self) -> None:
        """Check that an empty registry is as it was in the beginning, down to its tables."""
        if not self.model:
            # By size: a Counter with a zero in it equals an empty one.
            sizes = [len(table) for table in vars(self.registry).values()]
            assert sizes == [len(table) for table in vars(Registry()).values()]


TestRegistryMachine = RegistryMachine.TestCase


def test_same_wish_twice_is_two_registrations() -> None:
    """Two registrations that differ in their token alone are two, and end one at a time."""
    registry = Registry()
    registry.add(listener(1))
    registry.add(listener(2))
    assert registry.remove([1]) == [listener(1)]
    assert list(registry.at("/", Level.LOW, Mode.DEFAULT)) == [listener(2)]


def test_unknown_tokens_end_nothing() -> None:
    """Tokens that are not known, or named twice, are passed over."""
    registry = Registry()
    registry.add(listener(1))
    assert registry.remove([5, 1, 1, 6]) == [listener(1)]
    assert registry.remove([1]) == []
