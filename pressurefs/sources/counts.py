"""What cgroup v2's memory.stat and memory.events count; memcg.py has the facts about these files."""

import operator
from typing import NamedTuple

_EVENTS = (b"\nhigh ", b"\nmax ", b"\noom ")
_SCANNED = (b"\npgscan_direct ", b"\npgscan_khugepaged ")
_RECLAIMED = (b"\npgsteal_direct ", b"\npgsteal_khugepaged ")


class Counts(NamedTuple):
    """Pages, and how often a limit was reached: memory.high; memory.max; the latter with nothing left."""

    scanned: int = 0
    reclaimed: int = 0
    high: int = 0
    max: int = 0
    oom: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Add each to each."""
        return Counts(*map(operator.add, self, other))

    def minus(self, other: "Counts") -> "Counts":
        """Subtract each from each."""
        return Counts(*map(operator.sub, self, other))

    def above(self, bound: int) -> "Counts":
        """Return what is above a bound, and the bound for what is not."""
        return Counts(*(max(one, bound) for one in self))

    def pages(self) -> tuple[int, int]:
        """Return the pages alone."""
        return self[:2]

    def limits(self) -> tuple[int, int, int]:
        """Return the events alone."""
        return self[2:]

    def reached(self) -> bool:
        """Tell whether a limit was reached."""
        return any(self.limits())


NOTHING = Counts()


def parse_events(text: bytes) -> Counts:
    """Read memory.events or memory.events.local."""
    return Counts(0, 0, *(_value(text, name) for name in _EVENTS))


def parse_stat(text: bytes) -> Counts:
    """Read memory.stat: pages scanned and reclaimed by those who wanted memory themselves."""
    if _SCANNED[0] in text:
        return Counts(
            sum(_value(text, name) for name in _SCANNED), sum(_value(text, name) for name in _RECLAIMED)
        )
    # A kernel that tells nobody apart has one number, the machine's kswapd in it.
    return Counts(_value(text, b"\npgscan "), _value(text, b"\npgsteal "))


def _value(text: bytes, name: bytes) -> int:
    at = text.find(name)
    return 0 if at < 0 else int(text[at + len(name) : text.index(b"\n", at + 1)])
