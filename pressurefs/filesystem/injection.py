"""The grammar of what is written to ``vmpressure.debug/inject``.  As in protocol.py, bytes in, values out."""

import errno
import os
import re
from typing import NamedTuple

from pressurefs.errors import Refusal
from pressurefs.pressure.levels import PRIORITY_MAX, Level
from pressurefs.registration.grammar import parse_number, parse_wish, parse_word


class Injection(NamedTuple):
    """What a test puts in place of the kernel: a level at once, or pages for the window."""

    cgroup: str
    level: Level | None
    scanned: int
    reclaimed: int
    priority: int | None


#   injection = ( level | scanned SP reclaimed [ SP priority ] ) [ SP "/" cgroup ]
_INJECTION = re.compile(rb"(?:([a-z]+)|([0-9]+) ([0-9]+)(?: ([0-9]+))?)(?: (/[^\n]*))?")
_PAGES_MAX = 2**63 - 1


def parse_injection(written: bytes) -> Injection:
    """Read what is written to ``inject``; refuse with EINVAL."""
    match = _INJECTION.fullmatch(parse_word(written))
    if match is None:
        raise Refusal(
            errno.EINVAL, "not '<level> [/cgroup]' nor '<scanned> <reclaimed> [<priority>] [/cgroup]'"
        )
    word, scanned, reclaimed, priority, cgroup = match.groups()
    path = os.fsdecode(cgroup or b"/")
    if word is not None:
        return Injection(path, parse_wish(word).level, 0, 0, None)
    pages = parse_number(scanned), parse_number(reclaimed)
    if max(pages) > _PAGES_MAX:
        raise Refusal(errno.EINVAL, "that many pages no machine has")
    tried = None if priority is None else parse_number(priority)
    if tried is not None and tried > PRIORITY_MAX:
        raise Refusal(errno.EINVAL, f"a scan priority is 0 to {PRIORITY_MAX}")
    return Injection(path, None, *pages, tried)
