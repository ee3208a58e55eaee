"""What /proc says of a process, whatever that process calls itself and however much there is to say."""

import os

import pytest

from pressurefs import caller
from tests.lanes import leave_out
from tests.puppet import Puppet

PR_SET_NAME = 15


@pytest.fixture
def writer() -> Puppet:
    """A process that may choose its groups."""
    if os.geteuid() != 0:
        leave_out("fuse", "a process that chooses its groups takes root")
    return Puppet()


@pytest.mark.parametrize("name", [b"a\rb", b"\rGroups:\t0", b"x\nGroups:\t0", b"\x85\xff"])
def test_name_is_no_field(writer: Puppet, name: bytes) -> None:
    """A process cannot name itself into another group."""
    with writer:
        writer.do(f"import ctypes; ctypes.CDLL(None).prctl({PR_SET_NAME}, {name!r}, 0, 0, 0)")
        writer.do("os.setgroups([7, 9])")
        assert caller.read_groups(writer.pid) == {7, 9}
        assert caller.read_thread_group(writer.pid) == writer.pid


def test_many_groups(writer: Puppet) -> None:
    """Groups that fill more than a page are all there, and no other."""
    groups = set(range(100_000, 103_000))
    with writer:
        writer.do(f"os.setgroups({sorted(groups)!r})")
        assert caller.read_groups(writer.pid) == groups
