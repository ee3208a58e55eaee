# SPDX-License-Identifier: MIT
"""What is true of every record, whatever its bytes: of lines, of structs and of injections."""

import errno
import os

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pressurefs.errors import Refusal
from pressurefs.filesystem.debug_directory import Injection, parse_injection
from pressurefs.pressure.levels import PRIORITY_MAX, Level
from pressurefs.registration.grammar import LINE_BYTES_MAX, Request, parse_request, parse_wish
from tests.fuzz.model import Answer, Descriptor, Registered, Writer, answer
from tests.unit.registration.test_grammar import ANY_BYTES, EDGES, LEVEL_WORDS, MODE_WORDS
from tests.unit.registration.test_grammar_notify import MAGIC, S32, U32, notify

EVENT_FD, CONTROL_FD = 52, 51
WRITER = Writer({EVENT_FD: Descriptor(eventfd=True), CONTROL_FD: Descriptor(control=True)})

NUMBERS = st.sampled_from([b"52", b"51", b"70", b"0052", b"%d" % (2**32 + 52), b"-1", b"", b"9" * 25])
WORDS = st.sampled_from([*LEVEL_WORDS, *MODE_WORDS, b"", b"LOW", b"poll", b"low extra"])
GAPS = st.sampled_from([b" ", b" ", b" ", b"  ", b"\t", b",", b"", b"\0", b"\xa0"])
NEAR_LINES = st.lists(st.tuples(NUMBERS | WORDS, GAPS), min_size=1, max_size=5).map(
    lambda parts: b"".join(part for pair in parts for part in pair)
)
STRUCTS = st.builds(notify, st.just(MAGIC) | U32, st.integers(0, 3) | U32, S32, st.just(-1) | S32)
NEAR_STRUCTS = st.builds(
    lambda record, length, tail: (record + tail)[:length], STRUCTS, st.integers(0, 20), st.binary(max_size=4)
)
RECORDS = NEAR_LINES | ANY_BYTES | NEAR_STRUCTS | STRUCTS


def parsed(record: bytes) -> Request | int:
    """Return the request, or the errno that refuses it."""
    try:
        return parse_request(record)
    except Refusal as refusal:
        return refusal.number


def answered(record: bytes) -> Answer:
    """Return what the mount would answer to a process with these two descriptors."""
    try:
        request = parse_request(record)
        if request.event_fd is not None:
            if request.event_fd not in WRITER.descriptors:
                return Answer(errno.EBADF)
            if request.event_fd != EVENT_FD:
                return Answer(errno.EINVAL)
            if request.control_fd not in (None, *WRITER.descriptors):
                return Answer(errno.EBADF)
            if request.control_fd not in (None, CONTROL_FD):
                return Answer(errno.EINVAL)
        wish = parse_wish(request.wish)
    except Refusal as refusal:
        return Answer(refusal.number)
    mode = "local" if wish.mode is None else wish.mode.value
    return Answer(0, Registered(wish.level.word, mode, request.event_fd))


@given(RECORDS.filter(bool))
@example(b"52 51")
@example(b"poll \0 low")
@example(b"\1PMV\0" + b"\0" * 11)
def test_answers_as_the_model(record: bytes) -> None:
    """The grammar and the model, written apart from one specification, agree on every line and struct."""
    assert answered(record) == answer(record, WRITER)


@given(RECORDS, st.binary(max_size=20))
@example(b"", b"PMV")
def test_nothing_counts_after_a_nul(record: bytes, rest: bytes) -> None:
    """A line means the same whatever follows its first NUL."""
    line = record.partition(b"\0")[0][: LINE_BYTES_MAX - 21]
    written = line + b"\0" + rest
    assume(b"PMV" not in (line[1:4], written[1:4]))  # else it is a struct
    assert parsed(written) == parsed(line)


@given(NEAR_LINES, EDGES, EDGES)
def test_blanks_around_do_not_count(line: bytes, before: bytes, after: bytes) -> None:
    """A line means the same whatever blanks surround it, unless they make it too long."""
    line = line.partition(b"\0")[0]
    assert parsed(before + line + after) == parsed(line)


@given(version=st.integers(0, 255), body=st.binary(max_size=40))
def test_struct_is_of_one_version_and_length(version: int, body: bytes) -> None:
    """A version other than 1 is EPROTONOSUPPORT at any length; version 1 is 16 bytes long, or EINVAL."""
    record = bytes([version]) + b"PMV" + body
    if version != 1:
        assert parsed(record) == errno.EPROTONOSUPPORT
    elif len(record) != 16:
        assert parsed(record) == errno.EINVAL
    else:
        assert isinstance(parsed(record), Request)


CGROUPS = st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), max_size=20)
PAGES = st.integers(0, 2**63 - 1)


@given(CGROUPS, PAGES, PAGES, st.none() | st.integers(0, PRIORITY_MAX))
def test_sample_round_trips(name: str, scanned: int, reclaimed: int, priority: int | None) -> None:
    """Pages, priority and cgroup written to inject are parsed unchanged, except for blanks at the end."""
    words = [f"{scanned} {reclaimed}", *([] if priority is None else [str(priority)]), f"/{name}"]
    record = os.fsencode(" ".join(words))
    cgroup = os.fsdecode(record[record.index(b"/") :].rstrip(b" \t\n\v\f\r\xa0"))
    assert parse_injection(record) == Injection(cgroup, None, scanned, reclaimed, priority)


@given(
    st.lists(
        st.sampled_from(
            [b"low", b"oom", b"512", b"13", b"12", b"9" * 19, b"9" * 20, b" ", b" ", b"/a", b"\n"]
        ),
        max_size=9,
    ).map(b"".join)
    | ANY_BYTES
)
def test_injection_is_a_level_or_pages(record: bytes) -> None:
    """An accepted injection is a level or pages within range, for one cgroup, in one line."""
    try:
        injection = parse_injection(record)
    except Refusal as refusal:
        assert refusal.number == (errno.E2BIG if len(record) > LINE_BYTES_MAX else errno.EINVAL)
        return
    pages = injection.scanned, injection.reclaimed, injection.priority
    if injection.level is None:
        assert 0 <= min(pages[:2]) <= max(pages[:2]) < 2**63
        assert injection.priority is None or 0 <= injection.priority <= PRIORITY_MAX
    else:
        assert (injection.level in Level, pages) == (True, (0, 0, None))
    assert injection.cgroup.startswith("/")
    assert not {"\n", "\0"}.intersection(injection.cgroup)
