# SPDX-License-Identifier: MIT
"""The grammar of a registration: bytes that were written become a request.

Rules for this file: bytes in, values or ``Refusal`` out; nothing here reads /proc or uses a descriptor.
The kernel's cgroup v1 parses a line in two steps and checks the descriptors between them, and that order
decides which errno a line with two faults gets.  So there are two functions here, ``parse_request`` and
``parse_wish``.

Threading: pure functions; their caches are safe in any thread.
"""

import errno
import functools
import re
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pressurefs.errors import Refusal
from pressurefs.pressure.levels import Level, Mode

LINE_BYTES_MAX = 4096  # a longer write is refused whole, as by kernfs, which buffers one page

# The kernel's strstrip() uses its ctype table, where Latin-1's no-break space is a space.
_BLANKS = b" \t\n\v\f\r\xa0"


class Request(NamedTuple):
    """What the first step gives: descriptor numbers of the writer, and the rest, not yet parsed.

    ``event_fd``: None where the open file itself is to be polled.  ``control_fd``: None where the line has
    none.  ``wish``: text, or the number of a level that a binary registration has in its place.
    """

    event_fd: int | None
    control_fd: int | None
    wish: bytes | int


class Wish(NamedTuple):
    """What the second step gives: from which level on, and in which mode, to signal.

    ``mode``: None where the line has none.
    """

    level: Level
    mode: Mode | None


#   line     = event_fd SP [ control_fd SP ] wish           SP is exactly one space
#   line     = event_fd SP control_fd                       well-formed; its empty wish is refused later
#   line     = "poll" SP wish                               no eventfd: the open file is polled
#   wish     = level [ "," mode [ "," anything ] ]
#   level    = "low" | "medium" | "oom" | "critical"        critical is cgroup v1's name of oom
#   mode     = "default" | "hierarchy" | "local"
#
# A number is decimal digits and no sign, modulo 2^32 like the kernel's unsigned int.  No wish begins with
# a digit, so a second number is always a descriptor.
_LINE = re.compile(rb"([0-9]+) (?:([0-9]+)(?: (.*))?|([^0-9].*))", re.DOTALL)

_POLL = b"poll "

# cgroup v1's file requires both descriptors.  The kernel reads a second number without digits as 0, so two
# blanks after the first number mean descriptor 0.
_EVENT_CONTROL_LINE = re.compile(rb"([0-9]+) ([0-9]*)(?: (.*))?", re.DOTALL)

#   struct vmpressure_notify, little-endian:  u32 magic  u32 level  s32 event_fd  s32 control_fd
#
# The magic's low byte is the version; the three bytes after it, "PMV", distinguish a struct from a line.
_NOTIFY = struct.Struct("<BxxxIii")
_NOTIFY_MARK = b"PMV"
_NOTIFY_VERSION = 1
_NO_CONTROL_FD = -1

# Lines are short but can have a page of blanks: a cache of a megabyte at most.
_LINES_REMEMBERED = 256

_LEVELS = {
    b"low": Level.LOW,
    b"medium": Level.MEDIUM,
    b"oom": Level.OOM,
    b"critical": Level.OOM,
}
_EVENT_CONTROL_LEVELS = {
    b"low": Level.LOW,
    b"medium": Level.MEDIUM,
    b"critical": Level.OOM,
}
_MODES = {mode.value.encode(): mode for mode in Mode}


@functools.lru_cache(_LINES_REMEMBERED)
def parse_request(written: bytes) -> Request:
    """Parse the descriptors of a line or a struct; refuse with E2BIG, EINVAL or EPROTONOSUPPORT.

    The line ends at the first NUL; blanks around it do not count.  Results are cached: descriptor numbers
    are small and levels few, so most lines were parsed before.
    """
    line = parse_word(written)
    if written[1:4] == _NOTIFY_MARK:
        return _parse_notify(written)
    if line.startswith(_POLL):
        return Request(None, None, line.removeprefix(_POLL))
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refusal(
            errno.EINVAL,
            "the line is not '<event_fd> [<control_fd>] <level>[,<mode>]' nor 'poll <level>[,<mode>]'",
        )
    event_fd, control_fd, wish_after_control, wish = match.groups()
    if control_fd is None:
        return Request(_descriptor_number(event_fd), None, wish)
    return Request(_descriptor_number(event_fd), _descriptor_number(control_fd), wish_after_control or b"")


def _parse_notify(written: bytes) -> Request:
    if written[0] != _NOTIFY_VERSION:
        raise Refusal(errno.EPROTONOSUPPORT, "the version of struct vmpressure_notify is not 1")
    if len(written) != _NOTIFY.size:
        raise Refusal(errno.EINVAL, f"struct vmpressure_notify is {_NOTIFY.size} bytes long")
    _, level, event_fd, control_fd = _NOTIFY.unpack(written)
    return Request(event_fd, None if control_fd == _NO_CONTROL_FD else control_fd, level)


@functools.lru_cache(_LINES_REMEMBERED)
def parse_event_control_request(written: bytes) -> Request:
    """Parse the descriptors of a line of cgroup.event_control; refuse with E2BIG or EINVAL."""
    match = _EVENT_CONTROL_LINE.fullmatch(parse_word(written))
    if match is None:
        raise Refusal(errno.EINVAL, "the line is not '<event_fd> <control_fd> <level>[,<mode>]'")
    event_fd, control_fd, wish = match.groups()
    return Request(_descriptor_number(event_fd), _descriptor_number(control_fd or b"0"), wish or b"")


@functools.lru_cache(_LINES_REMEMBERED)
def parse_event_control_wish(wish: bytes | int) -> Wish:
    """Parse level and mode in cgroup v1's words; refuse with EINVAL."""
    return _parse_wish(wish, _EVENT_CONTROL_LEVELS)


@functools.lru_cache(_LINES_REMEMBERED)
def parse_wish(wish: bytes | int) -> Wish:
    """Parse level and mode; refuse with EINVAL."""
    return _parse_wish(wish, _LEVELS)


def _parse_wish(wish: bytes | int, levels: Mapping[bytes, Level]) -> Wish:
    if isinstance(wish, int):
        if wish not in tuple(Level):
            raise Refusal(errno.EINVAL, "the level is not VM_PRESSURE_LOW, _MEDIUM or _OOM")
        return Wish(Level(wish), None)
    level_word, comma, rest = wish.partition(b",")
    mode_word = rest.partition(b",")[0]
    level = levels.get(level_word)
    if level is None:
        words = ", ".join(word.decode() for word in levels)
        raise Refusal(errno.EINVAL, f"the level is not one of {words}")
    if not comma:
        return Wish(level, None)
    mode = _MODES.get(mode_word)
    if mode is None:
        raise Refusal(errno.EINVAL, "the mode is not default, hierarchy or local")
    return Wish(level, mode)


class Grammar(NamedTuple):
    """The two steps in which a record of one control file is parsed."""

    parse_request: Callable[[bytes], Request]
    parse_wish: Callable[[bytes | int], Wish]


VMPRESSURE = Grammar(parse_request, parse_wish)
EVENT_CONTROL = Grammar(parse_event_control_request, parse_event_control_wish)


def require_length(written: bytes) -> None:
    """Refuse with E2BIG a record of more than ``LINE_BYTES_MAX`` bytes."""
    if len(written) > LINE_BYTES_MAX:
        raise Refusal(errno.E2BIG, f"more than {LINE_BYTES_MAX} bytes in one write")


def parse_word(written: bytes) -> bytes:
    """Return the text of a record: up to the first NUL, without blanks around it; E2BIG where too long."""
    require_length(written)
    return written.partition(b"\0")[0].strip(_BLANKS)


def parse_number(written: bytes) -> int:
    """Parse the decimal number of a value file; refuse with EINVAL, or E2BIG where too long."""
    digits = parse_word(written)
    # No value here has more than 19 digits; a signed 64-bit number has no more either.
    if re.fullmatch(rb"[0-9]{1,19}", digits) is None:
        raise Refusal(errno.EINVAL, "not a decimal number")
    return int(digits)


def _descriptor_number(digits: bytes) -> int:
    """Wrap as the kernel does: simple_strtoul() wraps at 2^64, the unsigned int it is assigned to at 2^32.

    System calls take an int, which has no upper half of that range: such a number becomes negative here.
    No descriptor has such a number, as unsigned int or as int.

    The value modulo 2^32 depends on the last 32 digits alone, since 2^32 divides 10^32.  Python converts the
    4,096 digits of a full line slowly, and not at all where its limit on digits (4,300) was lowered.
    """
    return (int(digits[-32:]) + 2**31) % 2**32 - 2**31
