"""Who wants to hear: registrations by cgroup, by token and by user.

Pure state, no descriptors: a registration's ``handle`` is whatever the signaller gave, and is only
carried.  Not locked: the exchange's lock guards it.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, TypeVar

from pressurefs.cgroups.paths import MACHINE
from pressurefs.pressure.levels import Level, Mode

_Counted = TypeVar("_Counted")


class Place(NamedTuple):
    """A cgroup by its name and, as a name may come to mean another one, its inode number; the machine: 0."""

    cgroup: str
    birth: int


class Registration(NamedTuple):
    """One eventfd at one level of one cgroup.  Frozen; it lives as long as its eventfd.

    ``token`` is ours alone and never used twice: the writer's pid and descriptor number may mean
    another eventfd a moment later.  ``birth`` does the same for the cgroup's name: its inode number, 0 for
    the machine.
    ``uid`` and ``pid`` are those of the writer, for the quota and for people.
    """

    token: int
    cgroup: str
    level: Level
    mode: Mode
    uid: int
    pid: int
    handle: Any
    birth: int = 0


class Holdings(NamedTuple):
    """What a user costs us: registrations that live or linger, and cgroups that are sampled for him."""

    registrations: int
    cgroups: int


class Registry:
    """All live registrations.  Lives as long as the mount."""

    def __init__(self) -> None:
        self._by_token: dict[int, Registration] = {}
        # Few different (level, mode) exist, so an event looks at nine small tables, not at everyone.
        self._by_wish: dict[tuple[str, Level, Mode], dict[int, Registration]] = {}
        self._by_uid: Counter[int] = Counter()
        self._hear_limits: Counter[Place] = Counter()
        self._hear_limits_by_uid: dict[int, Counter[Place]] = {}
        self._lingering: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_token.values())

    def add(self, registration: Registration) -> None:
        """Keep a registration; its token must be new."""
        if registration.token in self._by_token:
            raise KeyError(registration.token)
        self._by_token[registration.token] = registration
        self._bucket(registration)[registration.token] = registration
        if _hears_limits(registration):
            place = _place_of(registration)
            self._hear_limits[place] += 1
            self._hear_limits_by_uid.setdefault(registration.uid, Counter())[place] += 1
        self._by_uid[registration.uid] += 1

    def remove(self, tokens: Iterable[int]) -> list[Registration]:
        """Forget what is known of ``tokens``; return the registrations that ended."""
        ended = [self._by_token.pop(token) for token in tokens if token in self._by_token]
        for registration in ended:
            bucket = self._bucket(registration)
            del bucket[registration.token]
            if not bucket:
                del self._by_wish[registration.cgroup, registration.level, registration.mode]
            if _hears_limits(registration):
                place = _place_of(registration)
                _count_down(self._hear_limits, place)
                _count_down(self._hear_limits_by_uid[registration.uid], place)
                if not self._hear_limits_by_uid[registration.uid]:
                    del self._hear_limits_by_uid[registration.uid]
            _count_down(self._by_uid, registration.uid)
        return ended

    def find(self, token: int) -> Registration | None:
        """Return the live registration of a token."""
        return self._by_token.get(token)

    def cgroups(self) -> frozenset[str]:
        """Return the cgroups that have registrations."""
        return frozenset(cgroup for cgroup, _, _ in self._by_wish)

    def sampled(self) -> AbstractSet[Place]:
        """Return the cgroups in which somebody hears of limits that are reached; a view, true at any moment.

        "/" is among them where somebody hears the limits of all others: a local listener there does not.
        """
        return self._hear_limits.keys()

    def births(self, cgroup: str) -> set[int]:
        """Return the inode numbers of the cgroups that were registered with under a name; mostly one."""
        return {one.birth for one in self._all_at(cgroup)}

    def born(self, cgroup: str, births: Container[int]) -> list[Registration]:
        """Return the registrations with the cgroups that had this name and these numbers."""
        return [one for one in self._all_at(cgroup) if one.birth in births]

    def linger(self, ended: Registration) -> None:
        """Count what has ended for its user on, as long as something of it stays with us."""
        self._lingering[ended.token] = ended.uid
        self._by_uid[ended.uid] += 1

    def lingering(self) -> set[int]:
        """Return the tokens of what is counted on."""
        return set(self._lingering)

    def let_go(self, tokens: Iterable[int]) -> None:
        """Count no more what has gone altogether."""
        for token in tokens:
            uid = self._lingering.pop(token, None)
            if uid is not None:
                _count_down(self._by_uid, uid)

    def held_by(self, uid: int) -> Holdings:
        """Return what a user holds."""
        return Holdings(self._by_uid[uid], len(self._hear_limits_by_uid.get(uid, ())))

    def at(self, cgroup: str, level: Level, mode: Mode) -> Iterable[Registration]:
        """Return the registrations of exactly this cgroup, level and mode."""
        return self._by_wish.get((cgroup, level, mode), {}).values()

    def _all_at(self, cgroup: str) -> Iterator[Registration]:
        for level in Level:
            for mode in Mode:
                yield from self.at(cgroup, level, mode)

    def _bucket(self, registration: Registration) -> dict[int, Registration]:
        key = registration.cgroup, registration.level, registration.mode
        return self._by_wish.setdefault(key, {})


def _count_down(counter: Counter[_Counted], counted: _Counted) -> None:
    counter[counted] -= 1
    if not counter[counted]:
        del counter[counted]


def _place_of(registration: Registration) -> Place:
    return Place(registration.cgroup, registration.birth)


def _hears_limits(registration: Registration) -> bool:
    return registration.cgroup != MACHINE or registration.mode is not Mode.LOCAL
