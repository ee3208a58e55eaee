# SPDX-License-Identifier: MIT
"""The model answers as a kernel did, and the records are of every kind: neither is taken on trust."""

import errno
import itertools
from collections import Counter

import pytest

from tests.conformance.table import Row, bytes_of
from tests.fuzz.model import QUOTA, Descriptor, Writer, answer
from tests.fuzz.records import Records
from tests.unit.registration.test_grammar_conformance import DEPARTURES, GRAMMAR_ROWS

WRITER = Writer({52: Descriptor(eventfd=True), 51: Descriptor(control=True)})
MANY = 50_000


@pytest.mark.parametrize("row", GRAMMAR_ROWS, ids=lambda row: row.case)
def test_answers_as_the_kernel(row: Row) -> None:
    """Where the text decides, the model and a kernel's cgroup.event_control answer alike."""
    written = bytes_of(row.written)
    taken = row.case in DEPARTURES or not row.result.startswith("-")
    assert answer(written, WRITER).number == (0 if taken else getattr(errno, row.result[1:]))


# Other descriptors of the kernel's table, by what the model is to know of them.
OTHERS = [
    ("60 51 low", Descriptor(), errno.EINVAL),
    ("60 51 low", Descriptor(path_only=True), errno.EBADF),
    ("60 51 low", Descriptor(eventfd=True), 0),
    ("60 60 low", Descriptor(control=True), errno.EINVAL),
    ("52 60 low", Descriptor(), errno.EINVAL),
    ("52 60 low", Descriptor(control=True, path_only=True), errno.EBADF),
    ("52 60 low", Descriptor(control=True), 0),
    ("52 60 low", Descriptor(control=True, readable=False), errno.EACCES),
    ("52 60 low", Descriptor(readable=False), errno.EACCES),
]


@pytest.mark.parametrize(("line", "other", "expected"), OTHERS)
def test_descriptors(line: str, other: Descriptor, expected: int) -> None:
    """What 60 is decides, as in the kernel's table."""
    descriptors = {**WRITER.descriptors, 60: other}
    assert answer(line.encode(), Writer(descriptors)).number == expected


ORDER = [
    (b"x" * 4097, errno.E2BIG),
    (b"\2PMV" + b"\0" * 5000, errno.E2BIG),
    (b"\2PMV", errno.EPROTONOSUPPORT),
    (b"\1PMV", errno.EINVAL),
    (b"70  70 high", errno.EPERM),
    (b"poll high", errno.EPERM),
]


@pytest.mark.parametrize(("record", "expected"), ORDER)
def test_order_for_another_users_opening(record: bytes, expected: int) -> None:
    """Length and text come before the opener, and the opener before any descriptor."""
    writer = WRITER._replace(uid=1000, is_opener=False, is_polled=True, registrations=QUOTA)
    assert answer(record, writer).number == expected


def test_order_at_the_end() -> None:
    """What is wrong with a line comes before an open file that is polled, and that before the quota."""
    writer = WRITER._replace(uid=1000, is_polled=True, registrations=QUOTA)
    lines = {
        b"poll high": errno.EINVAL,
        b"poll low": errno.EBUSY,
        b"52 low": errno.EDQUOT,
        b"70 low": errno.EBADF,
    }
    assert {line: answer(line, writer).number for line in lines} == lines
    assert answer(b"52 low", writer._replace(uid=0)).number == 0


def test_records_are_of_every_kind() -> None:
    """Text and structs, good and bad, of every length that matters: no answer is rarer than one in 1,000."""
    records = list(itertools.islice(Records("any"), MANY))
    answers = Counter(answer(record, WRITER).number for record in records)
    assert set(answers) == {0, errno.EINVAL, errno.EBADF, errno.E2BIG, errno.EPROTONOSUPPORT}
    assert min(answers.values()) > MANY / 1000
    assert {0, 1, 15, 16, 17, 4095, 4096, 4097, 200_000} <= {len(record) for record in records}
    assert len(set(records)) > MANY / 2


def test_records_repeat() -> None:
    """The same seed gives the same records, another seed others."""
    first, again, other = (list(itertools.islice(Records(seed), 100)) for seed in ("1", "1", "2"))
    assert first == again != other
