# SPDX-License-Identifier: MIT
"""Records that are wrong in every way: random, and reproducible by their seed.

Most begin as something good, since bytes that are merely random all get the same answer.
"""

import random
import struct
from collections.abc import Callable, Iterator

# Numbers that name each descriptor of writer.py often, closed ones sometimes, and what is no number.
_GOOD_NUMBERS = [b"52", b"51", b"50", b"61"]
_NUMBERS = [
    *_GOOD_NUMBERS,
    *(b"%d" % number for number in (*range(62, 75), 0, 1, 2, 3, 5, 6, 49, 53, 999999, 2**31, 2**32 - 1)),
    *(b"%d" % (number + wraps) for number in (51, 52, 70) for wraps in (2**32, 2**64, 7 * 2**40)),
    *(b"0052", b"00051", b"064", b"1" + b"0" * 30, b"9" * 19, b"9" * 20, b"7" * 3000, b"0" * 4000 + b"52"),
    *(b"", b"-1", b"+52", b"0x34", b"52.0", b"5 2", b"fd", b"\xb2", b"poll"),
]
_LEVELS = [b"low", b"medium", b"oom", b"critical"]
_WRONG_LEVELS = [b"", b"LOW", b"Low", b"lo", b"lowx", b"high", b"0", b"53", b'"low"', b"low extra", b"local"]
_MODES = [b"", b",default", b",hierarchy", b",local", b",local,", b",local,junk", b",hierarchy,low low"]
_WRONG_MODES = [b",", b",,local", b",LOCAL", b", local", b",loc", b",locally", b";local", b",local x"]
_SEPARATORS = [b"  ", b"\t", b"\n", b",", b"", b"\xa0", b"\0", b"\v", b" \0", b"   "]
_BLANKS = [b" ", b"\t", b"\n", b"\v", b"\f", b"\r", b"\xa0"]
_BYTES = [
    *_BLANKS,
    b"\0",
    b",",
    b"0",
    b"9",
    b"-",
    b"\x1c",
    b"\x85",
    b"\xff",
    b"PMV",
    b"52 ",
    b" low",
    b"poll ",
]
_LENGTHS = [1, 3, 4, 15, 16, 17, 4095, 4096, 4097, 4098, 8192]
_HUGE_LENGTHS = [65536, 131072, 131073, 200_000]


class Records:
    """An endless stream of records; the same seed gives the same ones."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311, reproducible is what it must be
        # Each with its share in percent.
        kinds: list[tuple[int, Callable[[], bytes]]] = [
            (13, self._noise),
            (2, self._good_line),
            (35, self._near_line),
            (28, lambda: self._mutate(self._good_line())),
            (8, lambda: self._stretch(self._good_line())),
            (3, self._struct),
            (10, lambda: self._mutate(self._struct())),
            (1, lambda: self._stretch(self._struct())),
        ]
        self._kinds = [kind for _, kind in kinds]
        self._shares = [share for share, _ in kinds]

    def __iter__(self) -> Iterator[bytes]:
        while True:
            for kind in self._random.choices(self._kinds, self._shares, k=64):
                yield kind()

    def _one_in(self, number: int) -> bool:
        return self._random.random() * number < 1

    def _noise(self) -> bytes:
        length = self._random.choice(_LENGTHS) if self._one_in(50) else int(self._random.expovariate(1 / 12))
        return self._random.randbytes(length)

    def _good_line(self) -> bytes:
        choice = self._random.choice
        if self._one_in(20):
            return b"poll " + choice(_LEVELS) + choice(_MODES)
        control = b" 51" if self._one_in(2) else b""
        return choice((b"52", b"61")) + control + b" " + choice(_LEVELS) + choice(_MODES)

    def _near_line(self) -> bytes:
        """Return a line each of whose parts may be wrong, so that more than one often is."""
        choice = self._random.choice
        parts = [
            choice(_NUMBERS if self._one_in(2) else _GOOD_NUMBERS) for _ in range(choice((1, 1, 2, 2, 2, 3)))
        ]
        parts.append(choice(_WRONG_LEVELS if self._one_in(3) else _LEVELS))
        separator = choice(_SEPARATORS) if self._one_in(6) else b" "
        line = separator.join(parts) + choice(_WRONG_MODES if self._one_in(5) else _MODES)
        if self._one_in(4):
            line = choice(_BLANKS) * choice((1, 2, 9)) + line + choice(_BLANKS) + choice(_BLANKS)
        return line

    def _struct(self) -> bytes:
        choice = self._random.choice
        version = 1 if not self._one_in(10) else self._random.getrandbits(8)
        level = choice((0, 1, 2, 0, 1, 2, 3, 2**31, 2**32 - 1))
        event_fd = choice((52, 52, 61, 51, 53, 63, 64, 70, -1, 2**31 - 1, -(2**31)))
        control_fd = choice((-1, -1, 51, 51, 50, 52, 53, 62, 66, 70, -2, -(2**31)))
        return struct.pack("<IIii", 0x564D5000 | version, level, event_fd, control_fd)

    def _mutate(self, record: bytes) -> bytes:
        mutated = bytearray(record)
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 8))):
            at = self._random.randrange(len(mutated) + 1)
            what = self._random.randrange(6)
            if what == 0 and at < len(mutated):
                mutated[at] ^= 1 << self._random.randrange(8)
            elif what == 1 and at < len(mutated):
                mutated[at] = self._random.getrandbits(8)
            elif what == 2:
                del mutated[at : at + 1]
            elif what == 3:
                mutated[at:at] = mutated[at : at + self._random.randrange(1, 4)]
            elif what == 4:
                del mutated[at:]
            else:
                mutated[at:at] = self._random.choice(_BYTES)
        return bytes(mutated)

    def _stretch(self, record: bytes) -> bytes:
        """Return a record of a length at which answers change: filled, or with a number of many digits."""
        length = self._random.choice(_HUGE_LENGTHS if self._one_in(40) else _LENGTHS)
        filling = self._random.choice([*_BLANKS, b"\0", b"x", b"0", b",", b"\0 "])
        if self._one_in(3):
            return (filling * length)[: max(0, length - len(record))] + record
        return (record + filling * length)[:length]
