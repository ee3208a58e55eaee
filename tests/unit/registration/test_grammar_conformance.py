# SPDX-License-Identifier: MIT
"""The grammar, compared row by row with what a kernel's cgroup.event_control answered.

Here a descriptor is only a number: 52 is a valid eventfd, 51 the valid control file, all others are closed.
"""

import errno
import re

import pytest

from pressurefs.errors import Refusal
from pressurefs.pressure.levels import Level
from pressurefs.registration.grammar import parse_request, parse_wish
from tests.conformance.table import Row, bytes_of, read_rows

EVENT_FD, CONTROL_FD = 52, 51

# Rows that the text alone does not decide, by the name of their case, with what decides them.  The rows in
# which nothing is written are not decided by it either: they are about other system calls.
NOT_THE_GRAMMARS = {
    r"efd = .*|cfd = .*": "what kind of file the descriptor is",
    r"pressure_level fd of a removed cgroup.*": "whether the cgroup is there",
    r"fd numbers valid only in another process|event_control fd inherited.*": "whose table is looked in",
    r"(same|root), pressure_level chmod 0000.*": "who may read the control file",
    r"record split.*|pwrite.*|writev.*": "how bytes came to be one write",
}

# Lines that the common grammar of both control files accepts and the kernel refused.
DEPARTURES = {
    "unknown level oom": "oom is the level's name in vmpressure; cgroup.event_control itself refuses it"
}


def answer(written: bytes) -> int:
    """Return what the write would: the byte count, or a negative errno."""
    try:
        request = parse_request(written)
        if request.control_fd is None:
            return -errno.EINVAL  # this file's lines have both descriptors
        if (request.event_fd, request.control_fd) != (EVENT_FD, CONTROL_FD):
            return -errno.EBADF
        parse_wish(request.wish)
    except Refusal as refusal:
        return -refusal.number
    return len(written)


ROWS = read_rows()
GRAMMAR_ROWS = [
    row for row in ROWS if row.written and not any(re.fullmatch(one, row.case) for one in NOT_THE_GRAMMARS)
]


@pytest.mark.parametrize("row", GRAMMAR_ROWS, ids=lambda row: row.case)
def test_answers_as_the_kernel(row: Row) -> None:
    """The grammar answers a line as the kernel did, except for the departures listed here."""
    if row.case in DEPARTURES:
        assert answer(bytes_of(row.written)) == len(bytes_of(row.written))
        return
    expected = -getattr(errno, row.result[1:]) if row.result.startswith("-") else int(row.result)
    assert answer(bytes_of(row.written)) == expected


def test_rows_are_sorted_out_by_name() -> None:
    """Each exception and departure names an existing row, and the grammar decides all other lines."""
    cases = [row.case for row in ROWS]
    assert all(any(re.fullmatch(one, case) for case in cases) for one in NOT_THE_GRAMMARS)
    assert set(DEPARTURES) <= {row.case for row in GRAMMAR_ROWS}
    assert len(GRAMMAR_ROWS) == 95


def test_oom_is_critical() -> None:
    """The level that cgroup.event_control refuses is the level that it calls critical."""
    assert parse_wish(b"oom") == parse_wish(b"critical")
    assert parse_wish(b"oom").level is Level.OOM
