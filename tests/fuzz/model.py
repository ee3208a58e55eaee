# SPDX-License-Identifier: MIT
"""What write(2) to ``vmpressure`` must answer, told from the contract alone.

Written apart from ``pressurefs.registration.grammar`` and importing nothing of pressurefs: where the two
disagree, one of them misreads the contract.  A line is read here as the kernel's
memcg_write_event_control() reads one, a digit at a time with numbers that wrap; the grammar uses one regular
expression.  That the model itself answers as a kernel did is test_model.py's claim.

The order of the checks is the contract's: length, text, event_fd, control_fd, level and mode.  Reasons that
the kernel does not have come where no earlier answer could tell a set-uid program's secrets: the opener
(EPERM) before any descriptor is looked at, an open file that is polled already (EBUSY) and the quota
(EDQUOT) after all else.
"""

import errno
from collections.abc import Mapping
from typing import NamedTuple

LENGTH_MAX = 4096
QUOTA = 1024  # of an ordinary user
BLANKS = b" \t\n\v\f\r\xa0"
LEVELS = {b"low": "low", b"medium": "medium", b"oom": "oom", b"critical": "oom"}
MODES = {b"default": "default", b"hierarchy": "hierarchy", b"local": "local"}
NOTIFY_LEVELS = {0: "low", 1: "medium", 2: "oom"}
MODE_NOT_GIVEN = "local"  # at the top, as in the RFC


class Descriptor(NamedTuple):
    """What the writer has open under a number."""

    eventfd: bool = False
    control: bool = False  # this directory's vmpressure
    path_only: bool = False  # opened with O_PATH, which counts as closed
    readable: bool = True  # the writer may read the inode


class Writer(NamedTuple):
    """Who writes: the descriptors that are open (all others are closed), user, and what it holds."""

    descriptors: Mapping[int, Descriptor]
    uid: int = 0
    is_opener: bool = True  # or root opened the file
    is_polled: bool = False
    registrations: int = 0


class Registered(NamedTuple):
    """What a write brought about."""

    level: str
    mode: str
    event_fd: int | None  # None: the open file is polled


class Answer(NamedTuple):
    """The errno, 0 where the whole record is taken, and what was registered."""

    number: int
    registered: Registered | None = None


class _Line(NamedTuple):
    event_fd: int | None
    control_fd: int | None
    level_and_mode: bytes | int


def answer(record: bytes, writer: Writer) -> Answer:  # noqa: PLR0911, one for each answer
    """Return what one write(2) of ``record`` must answer."""
    if not record:
        return Answer(0)
    if len(record) > LENGTH_MAX:
        return Answer(errno.E2BIG)
    line = _read_struct(record) if record[1:4] == b"PMV" else _read_line(record)
    if isinstance(line, int):
        return Answer(line)
    if not writer.is_opener:
        return Answer(errno.EPERM)
    wrong = _look_at_descriptors(line, writer.descriptors)
    if wrong:
        return Answer(wrong)
    wanted = _read_level_and_mode(line.level_and_mode)
    if wanted is None:
        return Answer(errno.EINVAL)
    if line.event_fd is None and writer.is_polled:
        return Answer(errno.EBUSY)
    if writer.uid != 0 and writer.registrations >= QUOTA:
        return Answer(errno.EDQUOT)
    return Answer(0, Registered(*wanted, line.event_fd))


def _read_struct(record: bytes) -> _Line | int:
    if record[0] != 1:
        return errno.EPROTONOSUPPORT
    if len(record) != 16:
        return errno.EINVAL
    level = int.from_bytes(record[4:8], "little")
    event_fd = int.from_bytes(record[8:12], "little", signed=True)
    control_fd = int.from_bytes(record[12:16], "little", signed=True)
    return _Line(event_fd, None if control_fd == -1 else control_fd, level)


def _read_line(record: bytes) -> _Line | int:
    end = record.find(b"\0")
    text = (record if end < 0 else record[:end]).strip(BLANKS)
    if text[:5] == b"poll ":
        return _Line(None, None, text[5:])
    event_fd, at = _read_number(text, 0)
    if at == 0 or text[at : at + 1] != b" ":
        return errno.EINVAL
    control_fd, after = _read_number(text, at + 1)
    if after == at + 1:
        return _Line(event_fd, None, text[after:])
    if after < len(text) and text[after : after + 1] != b" ":
        return errno.EINVAL
    return _Line(event_fd, control_fd, text[after + 1 :])


def _read_number(text: bytes, at: int) -> tuple[int, int]:
    """Read digits from ``at`` on into an unsigned int, which wraps; return it and where they end."""
    number = 0
    while at < len(text) and 0x30 <= text[at] <= 0x39:
        number = (number * 10 + text[at] - 0x30) & 0xFFFFFFFF
        at += 1
    return number, at


def _look_at_descriptors(line: _Line, descriptors: Mapping[int, Descriptor]) -> int:  # noqa: PLR0911, likewise
    if line.event_fd is None:
        return 0
    event = descriptors.get(line.event_fd)
    if event is None or event.path_only:
        return errno.EBADF
    if not event.eventfd:
        return errno.EINVAL
    if line.control_fd is None:
        return 0
    control = descriptors.get(line.control_fd)
    if control is None or control.path_only:
        return errno.EBADF
    if not control.readable:
        return errno.EACCES
    return 0 if control.control else errno.EINVAL


def _read_level_and_mode(wanted: bytes | int) -> tuple[str, str] | None:
    if isinstance(wanted, int):
        level = NOTIFY_LEVELS.get(wanted)
        return None if level is None else (level, MODE_NOT_GIVEN)
    fields = wanted.split(b",")
    level = LEVELS.get(fields[0])
    mode = MODES.get(fields[1]) if len(fields) > 1 else MODE_NOT_GIVEN
    return None if level is None or mode is None else (level, mode)
