# SPDX-License-Identifier: MIT
"""The files that take a number or an injection: a hundred thousand records each, and a model of their own.

As in model.py, the models are written from the contract and import nothing of pressurefs.
"""

import errno
import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

from tests.fuzz.model import BLANKS, LENGTH_MAX, LEVELS
from tests.fuzz.writer import write
from tests.support.mounted import Mounted

RECORDS = 100_000
CGROUPS = {b"/", b"/a", b"/a/b"}  # of tests/support/mounted.py
DIGITS_MAX = 19

_WORDS = [
    *(
        b"0",
        b"5",
        b"50",
        b"100",
        b"101",
        b"007",
        b"-1",
        b"+5",
        b"1.0",
        b"0x10",
        b"1_0",
        b"\xb2",
        b"12",
        b"13",
    ),
    *(b"512", b"9223372036854775807", b"9223372036854775808", b"9" * 19, b"9" * 20, b"0" * 30, b"", b"low"),
    *(
        b"medium",
        b"oom",
        b"critical",
        b"LOW",
        b"high",
        b"low,local",
        b"/",
        b"/a",
        b"/a/b",
        b"/b",
        b"/a/",
        b"//a",
    ),
    *(
        b"//",
        b"/.",
        b"/..",
        b"/a/..",
        b"/a/./b",
        b"/a b",
        b"/" + b"x" * 256,
        b"/a/" + b"x" * 256,
        b"a",
        b"/\xff",
    ),
]
_GAPS = [b" "] * 8 + [b"  ", b"\t", b"\n", b"", b"\0", b"\xa0", b","]


def records(seed: str, words_max: int) -> Iterator[bytes]:
    """Yield lines of words that are right or nearly so, some of them mutated, filled or mere noise."""
    source = random.Random(seed)  # noqa: S311, reproducible is what it must be
    while True:
        parts = [source.choice(_WORDS) + source.choice(_GAPS) for _ in range(source.randint(1, words_max))]
        line = bytearray(b"".join(parts))
        for _ in range(source.choice((0, 0, 0, 1, 2))):
            at = source.randrange(len(line) + 1)
            line[at : at + source.randrange(2)] = source.randbytes(source.randrange(2))
        if source.random() < 0.01:
            line = line.ljust(source.choice((4095, 4096, 4097, 8192)), source.choice((b" ", b"\0", b"0")))
        yield bytes(line)


def read_number(digits: bytes) -> int | None:
    """Return a decimal number of no more digits than a 64-bit one has, None for anything else."""
    if not 1 <= len(digits) <= DIGITS_MAX or set(digits) - set(b"0123456789"):
        return None
    return int(digits)


def text_of(record: bytes) -> bytes:
    """Return what was said: up to the first NUL, without blanks around it."""
    return record.split(b"\0", 1)[0].strip(BLANKS)


def answer_of_sensitivity(record: bytes) -> int:
    """Return what write(2) to vmpressure_sensitivity must answer."""
    number = read_number(text_of(record))
    return 0 if number is not None and number <= 100 else errno.EINVAL


def answer_of_inject(record: bytes) -> int:
    """Return what write(2) to vmpressure.debug/inject must answer."""
    before, slash, after = text_of(record).partition(b" /")
    words, cgroup = before.split(b" "), slash[1:] + after
    if b"\n" in cgroup:
        return errno.EINVAL
    if len(words) == 1 and words[0] in LEVELS:
        return answer_of_cgroup(cgroup)
    numbers = [read_number(word) for word in words]
    if len(numbers) not in (2, 3) or None in numbers:
        return errno.EINVAL
    scanned, reclaimed, *priority = [number or 0 for number in numbers]
    if max(scanned, reclaimed) >= 2**63 or max([0, *priority]) > 12:
        return errno.EINVAL
    return answer_of_cgroup(cgroup)


def answer_of_cgroup(cgroup: bytes) -> int:
    """Return ENOENT where no cgroup goes by just this name."""
    return 0 if not cgroup or cgroup in CGROUPS else errno.ENOENT


def disagreements(
    path: str, lines: Iterator[bytes], model: Callable[[bytes], int]
) -> tuple[Counter[int], list[str]]:
    """Write to a file; return how often each answer was given, and what was answered otherwise."""
    answers: Counter[int] = Counter()
    told = []
    fd = os.open(path, os.O_WRONLY)
    for record in itertools.islice(lines, RECORDS):
        expected = 0 if not record else errno.E2BIG if len(record) > LENGTH_MAX else model(record)
        got = write(fd, record)
        answers[got] += 1
        if got != expected:
            told.append(f"{record[:300]!r}, {len(record)} bytes: the model says {expected}, write(2) {got}")
    os.close(fd)
    return answers, told[:5]


def test_sensitivity(mount: Mounted, seed: str) -> None:
    """Each of 100,000 records is a number from 0 to 100, or refused."""
    path = f"{mount.vmpressure}_sensitivity"
    answers, told = disagreements(path, records(f"{seed} sensitivity", 2), answer_of_sensitivity)
    assert told == [], f"seed {seed}"
    assert set(answers) == {0, errno.EINVAL, errno.E2BIG}


def test_inject(mount: Mounted, listener: int, seed: str) -> None:
    """Each of 100,000 records is an injection for a cgroup that is there, or refused; listeners live on."""
    path = str(mount.path / "vmpressure.debug" / "inject")
    answers, told = disagreements(path, records(f"{seed} inject", 4), answer_of_inject)
    assert told == [], f"seed {seed}"
    assert set(answers) == {0, errno.EINVAL, errno.ENOENT, errno.E2BIG}
    assert os.eventfd_read(listener) > 0
    mount.inject("low")
    assert os.eventfd_read(listener) == 1
