# SPDX-License-Identifier: MIT
"""The grammar of a line that registers."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.errors import Refusal
from pressurefs.filesystem.debug_directory import parse_injection
from pressurefs.pressure.levels import Level, Mode
from pressurefs.registration.grammar import (
    LINE_BYTES_MAX,
    Request,
    Wish,
    parse_number,
    parse_request,
    parse_wish,
    parse_word,
)

LOW, MEDIUM, OOM = Level
BLANKS = [b" ", b"\t", b"\n", b"\v", b"\f", b"\r", b"\xa0"]
LEVEL_WORDS = {b"low": LOW, b"medium": MEDIUM, b"oom": OOM, b"critical": OOM}
MODE_WORDS = {b"default": Mode.DEFAULT, b"hierarchy": Mode.HIERARCHY, b"local": Mode.LOCAL}

# Bytes that are often almost a line of the grammar, and any other bytes.
LIKELY = st.lists(
    st.sampled_from(
        [
            *(b"52", b"51", b"0", b"-1", b" ", b"  ", b"\t", b"\n", b"\0", b"\xa0", b",", b"/a", b"low"),
            *(b"medium", b"oom", b"critical", b"local", b"default", b"hierarchy", b"9" * 30, b"x" * 4000),
        ]
    ),
    max_size=12,
).map(b"".join)
ANY_BYTES = LIKELY | st.binary(max_size=64)
EDGES = st.lists(st.sampled_from(BLANKS), max_size=4).map(b"".join)


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        (b"52 low", Request(52, None, b"low")),
        (b"52 51 low", Request(52, 51, b"low")),
        (b"52 oom", Request(52, None, b"oom")),
        (b"52 51 critical,local", Request(52, 51, b"critical,local")),
        (b"52 low,hierarchy", Request(52, None, b"low,hierarchy")),
        (b"0 0 low", Request(0, 0, b"low")),
        (b"0052 00051 low", Request(52, 51, b"low")),
        (b"52 51 low extra", Request(52, 51, b"low extra")),
        (b"52 51 low\n52 51 medium", Request(52, 51, b"low\n52 51 medium")),
        (b"52 51 53", Request(52, 51, b"53")),
        (b"52 51", Request(52, 51, b"")),
        (b"52 51 ", Request(52, 51, b"")),
        (b"52 51 low\0garbage", Request(52, 51, b"low")),
        (b"52 51 low\n\0", Request(52, 51, b"low")),
        (b"2147483647 1 low", Request(2**31 - 1, 1, b"low")),
        (b"2147483648 1 low", Request(-(2**31), 1, b"low")),
        (b"4294967295 1 low", Request(-1, 1, b"low")),
        (b"4294967296 1 low", Request(0, 1, b"low")),
        (b"4294967348 4294967347 low", Request(52, 51, b"low")),
        (b"18446744073709551668 51 low", Request(52, 51, b"low")),
        (b"1" + b"0" * 30 + b" 51 low", Request(10**30 % 2**32, 51, b"low")),
        (b"7" * 4000 + b" 51 low", Request(pow(10, 4000, 9 * 2**32) // 9 * 7 % 2**32, 51, b"low")),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_request(written: bytes, request_: Request) -> None:
    """A well-formed line gives the descriptors' numbers modulo 2^32, and its rest unparsed."""
    assert parse_request(written) == request_


@pytest.mark.parametrize(
    "written",
    [
        *(b"", b" ", b"\n", b"\0", b"low", b" low", b"52", b"52 ", b"52low", b"52 51low", b"52\t51 low"),
        *(b"52\nlow", b"52 51\tlow", b"52,51 low", b"-1 51 low", b"+52 51 low", b"0x34 51 low"),
    ],
    ids=lambda written: repr(written)[:30],
)
def test_malformed_request(written: bytes) -> None:
    """A line other than numbers, single spaces and a rest is refused with EINVAL and a reason."""
    with pytest.raises(Refusal) as refused:
        parse_request(written)
    assert (refused.value.number, refused.value.errno) == (errno.EINVAL, errno.EINVAL)
    assert "line" in refused.value.reason


@pytest.mark.parametrize("blank", BLANKS, ids=repr)
def test_blanks(blank: bytes) -> None:
    """Each of the seven blanks is ignored at both ends of a line, however many there are."""
    assert parse_request(blank * 3 + b"52 51 low" + blank * 2) == Request(52, 51, b"low")


@pytest.mark.parametrize("byte", [b"\x1c", b"\x1f", b"\x85", b"\xe2\x80\x83", b"_", b"\x7f"], ids=repr)
def test_what_is_no_blank(byte: bytes) -> None:
    """Space characters of other alphabets belong to the line."""
    assert parse_request(b"52 51 low" + byte).wish == b"low" + byte


@pytest.mark.parametrize("filling", [b" ", b"\0", b"\n"], ids=repr)
def test_longest_line(filling: bytes) -> None:
    """4096 bytes are parsed; 4097 are refused as a whole with E2BIG, whatever the bytes are."""
    assert parse_request(b"52 51 low".ljust(LINE_BYTES_MAX, filling)) == Request(52, 51, b"low")
    with pytest.raises(Refusal) as refused:
        parse_request(b"52 51 low".ljust(LINE_BYTES_MAX + 1, filling))
    assert (LINE_BYTES_MAX, refused.value.number) == (4096, errno.E2BIG)


@pytest.mark.parametrize("word", LEVEL_WORDS)
def test_levels(word: bytes) -> None:
    """Each level has its word, and critical is cgroup v1's word for oom; without a mode the wish has none."""
    assert parse_wish(word) == Wish(LEVEL_WORDS[word], None)


@pytest.mark.parametrize("rest", [b"", b",", b",junk", b",local,x y"], ids=repr)
@pytest.mark.parametrize("mode", MODE_WORDS)
def test_modes(mode: bytes, rest: bytes) -> None:
    """The mode follows the first comma; what follows the second comma is ignored."""
    assert parse_wish(b"medium," + mode + rest) == Wish(MEDIUM, MODE_WORDS[mode])


@pytest.mark.parametrize(
    "wish",
    [
        *(b"", b"lo", b"lowx", b"LOW", b"Low", b"0", b'"low"', b" low", b"low ", b"low extra", b"high"),
        *(b"low,", b"low,LOCAL", b"low,loc", b"low, local", b"low,,local", b",low", b"local", b"local,low"),
        *(b"critical,hierarchyX", b"low,local x", b"low\0", b"low\xa0", b"low;local"),
    ],
    ids=repr,
)
def test_malformed_wish(wish: bytes) -> None:
    """A level or mode that is not exactly one of the words is refused with EINVAL."""
    with pytest.raises(Refusal) as refused:
        parse_wish(wish)
    assert refused.value.number == errno.EINVAL


@given(
    fds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=2),
    level=st.sampled_from(sorted(LEVEL_WORDS)),
    mode=st.none() | st.sampled_from(sorted(MODE_WORDS)),
    wraps=st.integers(0, 2**40),
    edges=st.tuples(EDGES, EDGES | EDGES.map(lambda blanks: blanks + b"\0anything")),
)
def test_well_formed_line_round_trips(
    fds: list[int],
    level: bytes,
    mode: bytes | None,
    wraps: int,
    edges: tuple[bytes, bytes],
) -> None:
    """What a well-formed line was made from is parsed from it, whatever blanks and bytes surround it."""
    wish = level if mode is None else level + b"," + mode
    line = edges[0] + b" ".join([*(b"%d" % (fd + wraps * 2**32) for fd in fds), wish]) + edges[1]
    assert parse_request(line) == Request(fds[0], fds[1] if len(fds) == 2 else None, wish)
    assert parse_wish(wish) == Wish(LEVEL_WORDS[level], None if mode is None else MODE_WORDS[mode])


@given(ANY_BYTES)
def test_any_bytes_are_read_or_refused(written: bytes) -> None:
    """Any bytes at all give a value or a Refusal with EINVAL or E2BIG, and nothing else."""
    for parse in (parse_request, parse_wish, parse_injection, parse_number, parse_word):
        try:
            parse(written)
        except Refusal as refusal:
            too_long = len(written) > LINE_BYTES_MAX and parse is not parse_wish
            is_struct = written[1:4] == b"PMV" and parse is parse_request
            wrong = (errno.EINVAL, errno.EPROTONOSUPPORT) if is_struct else (errno.EINVAL,)
            assert refusal.number in ((errno.E2BIG,) if too_long else wrong)
            assert refusal.reason


@given(ANY_BYTES)
def test_request_numbers_fit_32_bits(written: bytes) -> None:
    """A descriptor of a parsed line is a 32-bit int, and the rest never contains a NUL."""
    try:
        request = parse_request(written)
    except Refusal:
        return
    if isinstance(request.wish, int):
        return
    assert request.event_fd is None or -(2**31) <= request.event_fd < 2**31
    assert request.control_fd is None or -(2**31) <= request.control_fd < 2**31
    assert b"\0" not in request.wish


@pytest.mark.parametrize("wish", [b"low", b"oom,hierarchy", b"nonsense", b""])
def test_poll_line(wish: bytes) -> None:
    """A line that begins with "poll " names no descriptor, and its rest is the wish."""
    line = b" poll " + wish
    if wish:
        assert parse_request(line) == Request(None, None, wish)
    else:
        with pytest.raises(Refusal):
            parse_request(line)
