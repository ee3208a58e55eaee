# SPDX-License-Identifier: MIT
"""What /proc says of a process, whatever the name of the process and however many groups it has."""

import os

import pytest

from pressurefs.signaller import writer
from tests.support.lanes import leave_out
from tests.support.puppet import Puppet

PR_SET_NAME = 15


@pytest.fixture
def chooser() -> Puppet:
    """A process that sets its name and its groups."""
    if os.geteuid() != 0:
        leave_out("fuse", "a process that chooses its groups takes root")
    return Puppet()


@pytest.mark.parametrize("name", [b"a\rb", b"\rGroups:\t0", b"x\nGroups:\t0", b"\x85\xff"])
def test_name_is_no_field(chooser: Puppet, name: bytes) -> None:
    """A process whose name reads like a line of /proc/PID/status gains no group by it."""
    with chooser:
        chooser.do(f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_NAME}, {name!r}, 0, 0, 0)")
        chooser.do("os.setgroups([7, 9])")
        assert writer.read_groups(chooser.pid) == {7, 9}
        assert writer.read_thread_group(chooser.pid) == chooser.pid


def test_many_groups(chooser: Puppet) -> None:
    """Groups that fill more than a page are all read, and no others."""
    groups = set(range(100_000, 103_000))
    with chooser:
        chooser.do(f"os.setgroups({sorted(groups)!r})")
        assert writer.read_groups(chooser.pid) == groups
