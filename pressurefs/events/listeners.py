# SPDX-License-Identifier: MIT
"""The books: which listeners there are, by token, by cgroup and by user.

Pure state, no descriptors.  The event path keeps the same listeners in C, and signals them; what it does not
know is here: whose quota a listener counts for, and until when.  Not locked: the dispatcher's lock guards it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pressurefs.cgroups.paths import MACHINE
from pressurefs.pressure.levels import Level, Mode

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from pressurefs.signaller.target import Handle

_Counted = TypeVar("_Counted")


class Place(NamedTuple):
    """A cgroup by its path and its inode number (the machine: 0): a path can come to mean another one."""

    cgroup: str
    birth: int


class Listener(NamedTuple):
    """One eventfd, or polled open file, at one level of one cgroup.  Frozen; lives as long as its eventfd.

    ``token`` is ours alone and never used twice: the writer's pid and descriptor number can mean another
    eventfd a moment later.  ``birth`` does the same for the cgroup's path: its inode number, 0 for the
    machine.
    ``uid`` and ``pid`` are the writer's, for the quota and for people.
    """

    token: int
    cgroup: str
    level: Level
    mode: Mode
    uid: int
    pid: int
    handle: Handle
    birth: int = 0


class Holdings(NamedTuple):
    """What a user costs us: listeners that live or linger, and cgroups that are sampled for the user."""

    registrations: int
    cgroups: int


class Listeners:
    """All live listeners.  Lives as long as the mount.

    ``changes`` counts how often ``sampled`` came to be another set.  A local listener at the top hears of the
    machine alone, so no cgroup is sampled for it.
    """

    def __init__(self) -> None:
        self._by_token: dict[int, Listener] = {}
        self._by_cgroup: dict[str, dict[int, Listener]] = {}
        self._by_uid: Counter[int] = Counter()
        self._hear_limits: Counter[Place] = Counter()
        self._hear_limits_by_uid: dict[int, Counter[Place]] = {}
        self._lingering: dict[int, int] = {}
        self.changes = 0

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._by_token.values())

    def add(self, listener: Listener) -> None:
        """Keep a listener; KeyError where its token is not new."""
        if listener.token in self._by_token:
            raise KeyError(listener.token)
        self._by_token[listener.token] = listener
        self._by_cgroup.setdefault(listener.cgroup, {})[listener.token] = listener
        if listener.cgroup != MACHINE or listener.mode is not Mode.LOCAL:
            place = Place(listener.cgroup, listener.birth)
            self._hear_limits[place] += 1
            self._hear_limits_by_uid.setdefault(listener.uid, Counter())[place] += 1
            self.changes += self._hear_limits[place] == 1
        self._by_uid[listener.uid] += 1

    def remove(self, token: int) -> Listener | None:
        """Forget a listener, and return it; None where the token is not known."""
        listener = self._by_token.pop(token, None)
        if listener is None:
            return None
        there = self._by_cgroup[listener.cgroup]
        del there[token]
        if not there:
            del self._by_cgroup[listener.cgroup]
        if listener.cgroup != MACHINE or listener.mode is not Mode.LOCAL:
            place = Place(listener.cgroup, listener.birth)
            of_user = self._hear_limits_by_uid[listener.uid]
            _count_down(self._hear_limits, place)
            _count_down(of_user, place)
            self.changes += place not in self._hear_limits
            if not of_user:
                del self._hear_limits_by_uid[listener.uid]
        _count_down(self._by_uid, listener.uid)
        return listener

    def find(self, token: int) -> Listener | None:
        """Return the live listener of a token."""
        return self._by_token.get(token)

    def cgroups(self) -> frozenset[str]:
        """Return the paths of the cgroups that have listeners."""
        return frozenset(self._by_cgroup)

    def sampled(self) -> AbstractSet[Place]:
        """Return the cgroups in which a listener hears of limits; a view, true at any moment.

        "/" is among them where a listener there hears of the limits of all others.
        """
        return self._hear_limits.keys()

    def has(self, cgroup: str) -> bool:
        """Tell whether a cgroup of this path has listeners."""
        return cgroup in self._by_cgroup

    def births(self, cgroup: str) -> set[int]:
        """Return the inode numbers of the cgroups of this path that have listeners; mostly one."""
        return {one.birth for one in self._by_cgroup.get(cgroup, {}).values()}

    def born(self, cgroup: str, births: Container[int]) -> list[Listener]:
        """Return the listeners of the cgroups that had this path and these inode numbers."""
        return [one for one in self._by_cgroup.get(cgroup, {}).values() if one.birth in births]

    def linger(self, ended: Listener) -> None:
        """Keep charging the user's quota until the eventfd is closed: its row stays with us that long."""
        self._lingering[ended.token] = ended.uid
        self._by_uid[ended.uid] += 1

    def lingering(self) -> set[int]:
        """Return the tokens of ended listeners that are still charged."""
        return set(self._lingering)

    def let_go(self, tokens: Iterable[int]) -> None:
        """Charge ended listeners no more: their eventfds are closed."""
        for token in tokens:
            uid = self._lingering.pop(token, None)
            if uid is not None:
                _count_down(self._by_uid, uid)

    def held_by(self, uid: int) -> Holdings:
        """Return what a user holds."""
        return Holdings(self._by_uid[uid], len(self._hear_limits_by_uid.get(uid, ())))


def _count_down(counter: Counter[_Counted], counted: _Counted) -> None:
    counter[counted] -= 1
    if not counter[counted]:
        del counter[counted]
