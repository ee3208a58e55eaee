# SPDX-License-Identifier: MIT
"""``vmpressure.debug/``: what the kernel would hide behind CONFIG_DEBUG_VMPRESSURE.

A class for each kind of file, and the grammar of ``inject``.  No application is allowed to depend on
anything here, and each write says so in the log: the one public tunable is ``vmpressure_sensitivity``, and
a need for more than that should be reported.  All files live as long as the mount.

Threading: the FUSE thread alone calls everything here.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.filesystem.control_files import set_tunable
from pressurefs.filesystem.nodes import Access, Directory, File, Node
from pressurefs.pressure.levels import PRIORITY_MAX, Level
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.registration.grammar import parse_number, parse_wish, parse_word

_log = logging.getLogger("pressurefs.filesystem.debug_directory")

WARNING = "for debugging only: no application may depend on anything in this directory"

README = f"""\
vmpressure.debug: {WARNING}.
It may change or go away with any version, and each write is logged with the request to tell why it
was needed.

vmpressure_window              scanned pages that make a window; overrides the sensitivity, until that
                               is written again
vmpressure_level_medium        the least index, in percent, that is medium
vmpressure_level_oom           the least index that is oom
vmpressure_level_oom_priority  the scan priority at or below which reclaim counts as failed (0 to 12)
history                        a line for each of the last windows, oldest first; "/a/" is a cgroup
                               below "/a" where nobody listens
registrations                  a line for each registration
source                         where the numbers come from, since when, and why not from a better place
inject                         write "<level> [/cgroup]" for a verdict,
                               or "<scanned> <reclaimed> [<priority>] [/cgroup]" for a sample
"""

_Setting = Callable[[Tunables, int], None]

# File, the field of ``Thresholds`` that it shows, and what sets that.
_TUNABLES: tuple[tuple[str, str, _Setting], ...] = (
    ("vmpressure_window", "window_pages", Tunables.set_window),
    ("vmpressure_level_medium", "medium", Tunables.set_level_medium),
    ("vmpressure_level_oom", "oom", Tunables.set_level_oom),
    ("vmpressure_level_oom_priority", "oom_priority", Tunables.set_level_oom_priority),
)


def build_debug_directory(
    inode: int, dispatcher: Dispatcher, cgroups: CgroupRoot | None, report_source: Callable[[], str]
) -> Directory:
    """Build the directory with number ``inode``; its files have the numbers after that, in order of listing.

    ``report_source`` returns the lines of ``source``: which source is live, since when, why not a better one.
    """
    files: dict[str, Node] = {"README": Readme(inode + 1)}
    for number, (name, field, setting) in enumerate(_TUNABLES, inode + 2):
        files[name] = TunableFile(number, dispatcher, name, field, setting)
    after = inode + 2 + len(_TUNABLES)
    files["history"] = History(after, dispatcher)
    files["registrations"] = Registrations(after + 1, dispatcher)
    files["source"] = SourceReport(after + 2, report_source)
    files["inject"] = Inject(after + 3, dispatcher, cgroups)
    return Directory(inode, 0o700, files)


class Readme(File):
    """``README``: what the other files are."""

    def __init__(self, inode: int) -> None:
        super().__init__(inode, 0o400)

    def read(self) -> bytes:
        """Return the text."""
        return README.encode()


class TunableFile(File):
    """A file that holds one number: one of the thresholds."""

    def __init__(self, inode: int, dispatcher: Dispatcher, name: str, field: str, setting: _Setting) -> None:
        """``field``: of ``Thresholds``, what is read.  ``setting``: of ``Tunables``, what a write calls."""
        super().__init__(inode, 0o600)
        self._dispatcher = dispatcher
        self._name = name
        self._field = field
        self._setting = setting

    def read(self) -> bytes:
        """Return the value in force."""
        _, thresholds = self._dispatcher.tuned()
        return b"%d\n" % getattr(thresholds, self._field)

    def write(self, access: Access, record: bytes) -> None:
        """Set the value; EINVAL where the record is no number of the range."""
        _warn(self._name, access)
        set_tunable(self._dispatcher, self._setting, record)


class History(File):
    """``history``: the last windows, oldest first.

    A line each: time, cgroup, scanned, reclaimed, priority, index, level; "-" for what is unknown.
    """

    def __init__(self, inode: int, dispatcher: Dispatcher) -> None:
        super().__init__(inode, 0o400)
        self._dispatcher = dispatcher

    def read(self) -> bytes:
        """Return the lines, below one that names their fields."""
        lines = [f"# {WARNING}; time cgroup scanned reclaimed priority index level"]
        for verdict in self._dispatcher.history():
            priority = "-" if verdict.priority is None else verdict.priority
            percent = "-" if verdict.index_percent is None else verdict.index_percent
            pages = f"{verdict.scanned} {verdict.reclaimed} {priority} {percent}"
            lines.append(f"{verdict.time:.6f} {verdict.cgroup} {pages} {verdict.level.word}")
        return os.fsencode("\n".join(lines)) + b"\n"


class Registrations(File):
    """``registrations``: a line each, in their order: cgroup, level, mode, uid, pid, signals sent."""

    def __init__(self, inode: int, dispatcher: Dispatcher) -> None:
        super().__init__(inode, 0o400)
        self._dispatcher = dispatcher

    def read(self) -> bytes:
        """Return the lines."""
        lines = []
        for registration, signals_sent in self._dispatcher.listeners():
            what = f"{registration.cgroup} {registration.level.word} {registration.mode.value}"
            lines.append(f"{what} {registration.uid} {registration.pid} {signals_sent}\n")
        return os.fsencode("".join(lines))


class SourceReport(File):
    """``source``: which source is live, since when, and why not a better one."""

    def __init__(self, inode: int, report_source: Callable[[], str]) -> None:
        super().__init__(inode, 0o400)
        self._report_source = report_source

    def read(self) -> bytes:
        """Return the report."""
        return self._report_source().encode()


class Inject(File):
    """``inject``: a test writes a sample or a level in place of the kernel's."""

    def __init__(self, inode: int, dispatcher: Dispatcher, cgroups: CgroupRoot | None) -> None:
        super().__init__(inode, 0o200)
        self._dispatcher = dispatcher
        self._cgroups = cgroups

    def write(self, access: Access, record: bytes) -> None:
        """Signal a level, or add a sample to the window; EINVAL for the text, ENOENT for the cgroup."""
        _warn("inject", access)
        injection = parse_injection(record)
        _require_cgroup(self._cgroups, injection.cgroup)
        now = time.monotonic()
        if injection.level is not None:
            self._dispatcher.inject(Verdict(now, injection.cgroup, 0, 0, None, None, injection.level))
        else:
            pages = injection.scanned, injection.reclaimed, injection.priority
            self._dispatcher.inject(Sample(now, injection.cgroup, *pages))


class Injection(NamedTuple):
    """What was written to ``inject``: a level, or None and the pages of a sample with their scan priority."""

    cgroup: str
    level: Level | None
    scanned: int
    reclaimed: int
    priority: int | None


#   injection = ( level | scanned SP reclaimed [ SP priority ] ) [ SP "/" cgroup ]
_INJECTION = re.compile(rb"(?:([a-z]+)|([0-9]+) ([0-9]+)(?: ([0-9]+))?)(?: (/[^\n]*))?")
_PAGES_MAX = 2**63 - 1


def parse_injection(record: bytes) -> Injection:
    """Read a record of ``inject``; refuse with EINVAL, or with E2BIG what is longer than a line can be."""
    match = _INJECTION.fullmatch(parse_word(record))
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
        raise Refusal(errno.EINVAL, "no machine has that many pages")
    tried = None if priority is None else parse_number(priority)
    if tried is not None and tried > PRIORITY_MAX:
        raise Refusal(errno.EINVAL, f"a scan priority is 0 to {PRIORITY_MAX}")
    return Injection(path, None, *pages, tried)


def _require_cgroup(cgroups: CgroupRoot | None, cgroup: str) -> None:
    """Refuse the name of a cgroup that does not exist: a test would wait for an event that never comes."""
    if cgroup == MACHINE:
        return
    # Listeners are found by name, so each cgroup must have one name: the kernel would accept "/a//b/." for
    # "/a/b".
    has_other_names = {"", ".", ".."}.intersection(cgroup.split("/")[1:])
    try:
        if cgroups is None or has_other_names or cgroups.inode_of(cgroup) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    except OSError as error:
        # A plain directory tree can limit the length of names (ENAMETOOLONG); cgroupfs answers ENOENT.
        number = errno.ENOENT if error.errno == errno.ENAMETOOLONG else error.errno or errno.EIO
        raise Refusal(number, "inject names no cgroup") from None


def _warn(name: str, access: Access) -> None:
    _log.warning(
        "vmpressure.debug/%s written by uid %d, pid %d: please tell us why this was needed",
        name,
        access.caller.uid,
        access.caller.pid,
    )
