"""``vmpressure.debug/``: what the kernel would hide behind CONFIG_DEBUG_VMPRESSURE.

No application may depend on anything here, and each write says so in the log: the one public
tunable is ``vmpressure_sensitivity``, and a need for more than that is something to report.
"""

import errno
import itertools
import logging
import os
import time
from collections.abc import Callable

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Exchange
from pressurefs.filesystem.injection import parse_injection
from pressurefs.filesystem.nodes import Access, Directory, File, Node
from pressurefs.pressure.levels import Thresholds
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.registration.grammar import parse_number

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

# Returns the lines of ``source``: which one is live, since when, why not a better one.
SourceReport = Callable[[], str]


def build_debug_directory(
    first_inode: int, exchange: Exchange, cgroups: CgroupRoot | None, source_report: SourceReport
) -> Directory:
    """Build the directory; its inode numbers count up from ``first_inode``."""
    inodes = itertools.count(first_inode)
    own_inode = next(inodes)

    def value_file(
        name: str, value: Callable[[Thresholds], int], setting: Callable[[Tunables, int], None]
    ) -> File:
        def write(access: Access, written: bytes) -> None:
            _warn(name, access)
            try:
                exchange.tune(setting, parse_number(written))
            except ValueError as error:
                raise Refusal(errno.EINVAL, str(error)) from None

        return File(next(inodes), 0o600, lambda: b"%d\n" % value(exchange.tuned()[1]), write)

    def inject(access: Access, written: bytes) -> None:
        _warn("inject", access)
        injection = parse_injection(written)
        _require_cgroup(cgroups, injection.cgroup)
        now = time.monotonic()
        if injection.level is not None:
            exchange.inject(Verdict(now, injection.cgroup, 0, 0, None, None, injection.level))
        else:
            pages = injection.scanned, injection.reclaimed, injection.priority
            exchange.feed([Sample(now, injection.cgroup, *pages)])

    tunables: dict[str, tuple[Callable[[Thresholds], int], Callable[[Tunables, int], None]]] = {
        "vmpressure_window": (lambda now: now.window_pages, Tunables.set_window),
        "vmpressure_level_medium": (lambda now: now.medium, Tunables.set_level_medium),
        "vmpressure_level_oom": (lambda now: now.oom, Tunables.set_level_oom),
        "vmpressure_level_oom_priority": (lambda now: now.oom_priority, Tunables.set_level_oom_priority),
    }
    children: dict[str, Node] = {
        "README": File(next(inodes), 0o400, README.encode),
        **{name: value_file(name, *accessors) for name, accessors in tunables.items()},
        "history": File(next(inodes), 0o400, lambda: render_history(exchange.history())),
        "registrations": File(next(inodes), 0o400, lambda: _render_registrations(exchange)),
        "source": File(next(inodes), 0o400, lambda: source_report().encode()),
        "inject": File(next(inodes), 0o200, write=inject),
    }
    return Directory(own_inode, 0o700, children)


def render_history(verdicts: list[Verdict]) -> bytes:
    """Return one line a window: time, cgroup, scanned, reclaimed, priority, index, level; "-" for unknown."""
    lines = [f"# {WARNING}; time cgroup scanned reclaimed priority index level"]
    for verdict in verdicts:
        priority = "-" if verdict.priority is None else verdict.priority
        percent = "-" if verdict.index_percent is None else verdict.index_percent
        pages = f"{verdict.scanned} {verdict.reclaimed} {priority} {percent}"
        lines.append(f"{verdict.time:.6f} {verdict.cgroup} {pages} {verdict.level.word}")
    return os.fsencode("\n".join(lines)) + b"\n"


def _render_registrations(exchange: Exchange) -> bytes:
    lines = []
    for one, signals_sent in exchange.listeners():
        who = f"{one.uid} {one.pid}"
        lines.append(f"{one.cgroup} {one.level.word} {one.mode.value} {who} {signals_sent}\n")
    return os.fsencode("".join(lines))


def _require_cgroup(cgroups: CgroupRoot | None, cgroup: str) -> None:
    """Refuse the name of a cgroup that is not there: a test would wait for an event that nobody hears."""
    if cgroup == MACHINE:
        return
    # Listeners are found by name, so a cgroup has just one: the kernel would take "/a//b/." for "/a/b".
    has_other_names = {"", ".", ".."}.intersection(cgroup.split("/")[1:])
    try:
        if cgroups is None or has_other_names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if cgroups.inode_of(cgroup) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    except OSError as error:
        # A plain tree may have a bound on names; cgroupfs only says that there is none.
        number = errno.ENOENT if error.errno == errno.ENAMETOOLONG else error.errno or errno.EIO
        raise Refusal(number, "inject names no cgroup") from None


def _warn(name: str, access: Access) -> None:
    _log.warning(
        "vmpressure.debug/%s written by uid %d, pid %d: please tell us why this was needed",
        name,
        access.caller.uid,
        access.caller.pid,
    )
