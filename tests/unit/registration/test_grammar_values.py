# SPDX-License-Identifier: MIT
"""The grammar of the files that register nothing: an injection, and a number."""

import errno

import pytest

from pressurefs.errors import Refusal
from pressurefs.filesystem.debug_directory import Injection, parse_injection
from pressurefs.pressure.levels import Level
from pressurefs.registration.grammar import parse_number

LOW, MEDIUM, OOM = Level


@pytest.mark.parametrize(
    ("written", "injection"),
    [
        (b"low", Injection("/", LOW, 0, 0, None)),
        (b"medium\n", Injection("/", MEDIUM, 0, 0, None)),
        (b"critical /a/b", Injection("/a/b", OOM, 0, 0, None)),
        (b"oom /with blanks inside", Injection("/with blanks inside", OOM, 0, 0, None)),
        (b"low /\xc3\xa4", Injection("/\xe4", LOW, 0, 0, None)),
        (b"512 0", Injection("/", None, 512, 0, None)),
        (b"512 100 4", Injection("/", None, 512, 100, 4)),
        (b"0 0 0 /a", Injection("/a", None, 0, 0, 0)),
        (b" 512 100 /a\0/b", Injection("/a", None, 512, 100, None)),
        (b"9223372036854775807 0", Injection("/", None, 2**63 - 1, 0, None)),
    ],
    ids=repr,
)
def test_injection(written: bytes, injection: Injection) -> None:
    """An injection is a level, or pages and perhaps a priority, and a cgroup; without one, the machine."""
    assert parse_injection(written) == injection


@pytest.mark.parametrize(
    "written",
    [
        *(b"", b"/a", b"high", b"low,local", b"LOW", b"low a", b"low  /a", b"low /a\n/b", b"512", b"512 "),
        *(b"512 -1", b"-512 1", b"512 1 2 3", b"512 1 x", b"9223372036854775808 0", b"0 " + b"9" * 30),
    ],
    ids=repr,
)
def test_malformed_injection(written: bytes) -> None:
    """EINVAL: neither a level nor pages, a cgroup without a slash, or more pages than 64 bits hold."""
    with pytest.raises(Refusal) as refused:
        parse_injection(written)
    assert refused.value.number == errno.EINVAL


@pytest.mark.parametrize(
    ("written", "number"),
    [(b"0", 0), (b"100\n", 100), (b" 007 ", 7), (b"5\0x", 5), (b"9" * 19, 10**19 - 1)],
    ids=repr,
)
def test_number(written: bytes, number: int) -> None:
    """A value file takes a decimal number of up to 19 digits, with blanks or a NUL around it."""
    assert parse_number(written) == number


@pytest.mark.parametrize(
    "written", [b"", b"\n", b"-1", b"+1", b"1.0", b"0x10", b"1 2", b"1_0", b"\xb2", b"9" * 20, b"9" * 4096]
)
def test_malformed_number(written: bytes) -> None:
    """EINVAL: signs, fractions, other bases, two numbers, or more digits than any value has."""
    with pytest.raises(Refusal) as refused:
        parse_number(written)
    assert refused.value.number == errno.EINVAL
