# SPDX-License-Identifier: MIT
"""cgroup.event_control and memory.pressure_level against what a kernel answered, row by row.

Every row is performed by the system calls that it names, in a cgroup of a mount, and its answer is compared
whole.  Where ours differs, the departure stands here with our answer and the reason.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.table import Row, bytes_of, read_rows
from tests.support.cgroupfs import make_cgroup
from tests.support.mounted import Mounted
from tests.support.puppet import Puppet

ROOT = Path(__file__).parents[2]
CGROUP = "parent/child"

# The files of cgroup v1 that rows name as control_fd: here they are plain ones in the cgroup's directory.
OTHER_FILES = (
    *("cgroup.procs", "tasks", "memory.failcnt", "memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
    *("memory.oom_control", "memory.usage_in_bytes", "memory.memsw.usage_in_bytes"),
)

NO_SUCH_EVENT = "only memory.pressure_level can be listened to here"
FOR_EVERYBODY = "event_control is 0222, as before 2025, so that ordinary users can register"

DEPARTURES = {
    "cfd = memory.oom_control + 'low'": ("-EINVAL", NO_SUCH_EVENT),
    "cfd = memory.oom_control, no arg": ("-EINVAL", NO_SUCH_EVENT),
    "cfd = memory.oom_control, arg ''": ("-EINVAL", NO_SUCH_EVENT),
    "cfd = memory.usage_in_bytes + '32M'": ("-EINVAL", NO_SUCH_EVENT),
    "cfd = memory.usage_in_bytes, no arg": ("-EINVAL", NO_SUCH_EVENT),
    "cfd = memory.memsw.usage_in_bytes + '32M'": ("-EINVAL", NO_SUCH_EVENT),
    "stat cgroup.event_control": (
        "mode=0o100222 uid=0 gid=0 size=0 blksize=4096 blocks=0 nlink=1",
        FOR_EVERYBODY,
    ),
    "uid 65534 open(cgroup.event_control, O_WRONLY)": ("ok", FOR_EVERYBODY),
    "uid 65534 open(cgroup.event_control, O_WRONLY|O_TRUNC)": ("ok", FOR_EVERYBODY),
    "uid 65534 access(event_control, W_OK)": ("True", FOR_EVERYBODY),
}


@pytest.fixture(scope="module")
def actor(shared: Mounted) -> Iterator[Puppet]:
    """A process that performs the rows in a cgroup."""
    own = make_cgroup(shared.path.parent / "cgroups" / CGROUP)
    shutil.copy(own / "memory.stat", own.parent)
    for name in OTHER_FILES:
        (own / name).touch()
    with Puppet() as puppet:
        puppet.do(f"sys.path.insert(0, {str(ROOT)!r})")
        puppet.do("from tests.conformance.acting import Actor")
        puppet.do(f"actor = Actor({str(shared.path / CGROUP)!r}, {str(own)!r})")
        yield puppet


def perform(actor: Puppet, row: Row) -> str:
    """Return what came of a row."""
    return str(actor.do(f"actor.perform({row.case!r}, {bytes_of(row.written)!r})"))


def test_rows(actor: Puppet, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is answered as the kernel did, or as the departure says that is named for it."""
    rows = read_rows()
    answers = {row: perform(actor, row) for row in rows}
    agreeing = [row for row in rows if answers[row] == row.result]
    with capsys.disabled():
        print(f"\n{len(answers)} rows ran, {len(agreeing)} agree, {len(DEPARTURES)} depart as named:")
        for case, (answer, why) in DEPARTURES.items():
            print(f"    {case}: {answer}; {why}")
    differing = {row.case: answers[row] for row in rows if row not in agreeing}
    assert differing == {case: answer for case, (answer, _) in DEPARTURES.items()}
    assert len(agreeing) == len(rows) - len(DEPARTURES)


# Accepted, but its eventfd is not the actor's and has gone with its process.
GONE_AT_ONCE = "event_control fd inherited, eventfd exists only in the writing child"


def test_accepted_is_heard(shared: Mounted, actor: Puppet) -> None:
    """A line whose answer is its length registered its eventfd once; any other registered nothing."""
    for row in read_rows():
        accepted = perform(actor, row).isdigit() and row.written and row.case != GONE_AT_ONCE
        shared.inject(f"oom /{CGROUP}")
        assert actor.do("actor.signals()") == int(bool(accepted)), row.case
