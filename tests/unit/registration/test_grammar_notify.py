# SPDX-License-Identifier: MIT
"""struct vmpressure_notify: sixteen bytes in place of a line."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.errors import Refusal
from pressurefs.pressure.levels import Level
from pressurefs.registration.grammar import Request, Wish, parse_request, parse_wish

MAGIC = 0x564D5001
S32 = st.integers(-(2**31), 2**31 - 1)
U32 = st.integers(0, 2**32 - 1)


def notify(magic: int, level: int, event_fd: int, control_fd: int) -> bytes:
    """Return the bytes of the struct as documented: two unsigned, two signed, little-endian."""
    unsigned = magic.to_bytes(4, "little") + level.to_bytes(4, "little")
    return (
        unsigned + event_fd.to_bytes(4, "little", signed=True) + control_fd.to_bytes(4, "little", signed=True)
    )


@given(level=U32, event_fd=S32, control_fd=S32)
def test_round_trip(level: int, event_fd: int, control_fd: int) -> None:
    """Each struct of the right magic and length is parsed as it was laid out; -1 means no control file."""
    control = None if control_fd == -1 else control_fd
    assert parse_request(notify(MAGIC, level, event_fd, control_fd)) == Request(event_fd, control, level)


@pytest.mark.parametrize(("number", "level"), [(0, Level.LOW), (1, Level.MEDIUM), (2, Level.OOM)])
def test_levels(number: int, level: Level) -> None:
    """The enums are plain numbers, and give no mode."""
    assert parse_wish(number) == Wish(level, None)


@pytest.mark.parametrize("number", [3, 2**31, 2**32 - 1])
def test_wrong_level(number: int) -> None:
    """Any other number is EINVAL."""
    with pytest.raises(Refusal) as refused:
        parse_wish(number)
    assert refused.value.number == errno.EINVAL


@pytest.mark.parametrize("version", [0, 2, 255])
def test_unknown_version(version: int) -> None:
    """An unknown version is EPROTONOSUPPORT, whatever its length."""
    for length in (4, 16, 20):
        written = notify(0x564D5000 | version, 0, 3, -1).ljust(20, b"\0")[:length]
        with pytest.raises(Refusal) as refused:
            parse_request(written)
        assert refused.value.number == errno.EPROTONOSUPPORT


@pytest.mark.parametrize("length", [4, 8, 15, 17, 32, 4096, 4097])
def test_wrong_length(length: int) -> None:
    """A struct of another length is EINVAL; if it is too long for any write, E2BIG."""
    with pytest.raises(Refusal) as refused:
        parse_request(notify(MAGIC, 0, 3, -1).ljust(length, b"\0")[:length])
    assert refused.value.number == (errno.E2BIG if length > 4096 else errno.EINVAL)


@given(st.binary(max_size=64).filter(lambda written: written[1:4] != b"PMV"))
def test_told_apart(written: bytes) -> None:
    """Bytes without the magic are never parsed as a struct."""
    try:
        assert not isinstance(parse_request(written).wish, int)
    except Refusal as refusal:
        assert refusal.number != errno.EPROTONOSUPPORT


def test_layout() -> None:
    """The layout is that of the C struct on a little-endian machine."""
    assert notify(MAGIC, 2, 5, -1) == struct.pack("<IIii", MAGIC, 2, 5, -1)
