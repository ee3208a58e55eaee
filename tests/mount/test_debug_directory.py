# SPDX-License-Identifier: MIT
"""The debug directory: each file works, each write is warned of, and nothing grows without bound."""

import errno
import os

import pytest

from tests.support.mounted import Mounted, eventually
from tests.support.puppet import Puppet


def write(mount: Mounted, name: str, text: str) -> int:
    """Write to a debug file; return the errno, 0 for none."""
    fd = os.open(mount.path / "vmpressure.debug" / name, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        assert error.errno is not None
        return error.errno
    finally:
        os.close(fd)
    return 0


RANGES = [
    ("vmpressure_window", ("1", "512", "1000000"), ("0", "-1", "x", "1.5")),
    ("vmpressure_level_medium", ("0", "60", "99"), ("100", "101", "-1")),
    ("vmpressure_level_oom", ("60", "99", "100"), ("59", "101", "x")),
    ("vmpressure_level_oom_priority", ("0", "12", "4"), ("13", "-1")),
]


@pytest.mark.parametrize(("name", "right", "wrong"), RANGES, ids=[name for name, _, _ in RANGES])
def test_tunables(mount: Mounted, name: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    """A value in range is set and read back; a value out of range is EINVAL and changes nothing."""
    for value in right:
        assert write(mount, name, f"{value}\n") == 0
        assert mount.debug(name) == f"{value}\n"
    before = mount.debug(name)
    for value in wrong:
        assert write(mount, name, value) == errno.EINVAL
        assert mount.debug(name) == before


def test_each_write_is_warned_of(mount: Mounted) -> None:
    """Each write logs who wrote, and asks why it was needed; reads are not logged."""
    for name, text in (("vmpressure_window", "512"), ("inject", "low"), ("inject", "nonsense")):
        before = mount.said().count("please tell us why this was needed")
        write(mount, name, text)
        mount.await_said("please tell us why this was needed", before + 1)
        assert f"vmpressure.debug/{name} written by uid 0, pid {os.getpid()}" in mount.said()
    mount.await_said("refused uid 0: EINVAL")
    told = mount.said()
    assert [mount.debug(name) for name in ("README", "history", "registrations", "source")]
    assert mount.said() == told


def test_no_abi(mount: Mounted) -> None:
    """README and the first line of history say that no application may depend on the debug directory."""
    for name in ("README", "history"):
        assert "no application may depend on anything in this directory" in mount.debug(name).splitlines()[0]


def test_window_override(mount: Mounted) -> None:
    """The window can be set, and lasts until the sensitivity is written."""
    write(mount, "vmpressure_window", "7")
    assert mount.debug("vmpressure_window") == "7\n"
    (mount.path / "vmpressure_sensitivity").write_text("60\n")
    assert mount.debug("vmpressure_window") == "256\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("low", "/ 0 0 - - low"),
        ("oom /a/b", "/a/b 0 0 - - oom"),
        ("600 300", "/ 600 300 - 50 low"),
        ("0 0 3", "/ 512 0 3 100 oom"),
        ("512 0 /a", "/a 512 0 - 100 oom"),
    ],
)
def test_inject(mount: Mounted, text: str, line: str) -> None:
    """A level or a sample is injected, for the machine or for a cgroup, and history shows the window."""
    assert write(mount, "inject", text) == 0
    assert mount.debug("history").splitlines()[-1].split(" ", 1)[1] == line


@pytest.mark.parametrize(
    "text", ["", "high", "low low", "1", "1 2 3 4", "-1 0", "1 0 a", "1 0 13", "low a", "9" * 20 + " 0"]
)
def test_inject_nonsense(mount: Mounted, text: str) -> None:
    """Bytes in neither form are EINVAL, and make no window."""
    assert write(mount, "inject", text or "\n") == errno.EINVAL
    assert len(mount.debug("history").splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["/nowhere", "/a/nowhere", "/link", "/..", "/a/../../mount", "//", "/a/", "/a//b", "/a/.", "/a/../a"],
)
def test_inject_no_cgroup(mount: Mounted, name: str) -> None:
    """Only an existing cgroup can have an event, by its own name: no link is followed, no name leads out."""
    (mount.path.parent / "cgroups" / "link").symlink_to("a")
    assert write(mount, "inject", f"low {name}") == errno.ENOENT
    assert len(mount.debug("history").splitlines()) == 1


def test_inject_a_name_that_is_no_text(mount: Mounted) -> None:
    """A cgroup's name is bytes; history shows them unchanged."""
    os.mkdir(os.fsencode(mount.path.parent) + b"/cgroups/\xff")
    (mount.path / "vmpressure.debug" / "inject").write_bytes(b"low /\xff")
    assert b" /\xff 0 0 - - low\n" in (mount.path / "vmpressure.debug" / "history").read_bytes()


def test_history_is_bounded(mount: Mounted) -> None:
    """History keeps the last 4,096 windows."""
    fd = os.open(mount.path / "vmpressure.debug" / "inject", os.O_WRONLY)
    for number in range(4200):
        os.write(fd, f"{512 + number} 0".encode())
    os.close(fd)
    lines = mount.debug("history").splitlines()[1:]
    assert len(lines) == 4096
    assert [int(line.split()[2]) for line in (lines[0], lines[-1])] == [512 + 4200 - 4096, 512 + 4199]


def test_registrations(mount: Mounted, puppet: Puppet) -> None:
    """Each registration is a line: cgroup, level, mode, user, process, number of signals."""
    puppet.do("os.setgid(1000); os.setuid(1000); event = os.eventfd(0)")
    puppet.do(f"write({mount.vmpressure!r}, f'{{event}} medium,hierarchy')")
    mount.inject("oom /a")
    mount.inject("low")
    assert mount.registrations() == [["/", "medium", "hierarchy", "1000", str(puppet.pid), "1"]]
    puppet.do("os.close(event)")
    eventually(lambda: mount.registrations() == [])


def test_source(mount: Mounted) -> None:
    """The current source and the signaller are named, with their limits."""
    lines = dict(line.split(" ", 1) for line in mount.debug("source").splitlines())
    assert lines["source"] == "vmstat"
    assert lines["signaller"] == "io_uring"
    assert set(lines) == {"source", "since", "limits", "fuse", "signaller", "signaller_limits"}


def test_registrations_are_of_one_moment(mount: Mounted, puppet: Puppet) -> None:
    """Who reads the file in pieces gets whole rows, all of the moment of the first piece."""
    puppet.do("events = [os.eventfd(0) for _ in range(300)]")
    puppet.do(f"for event in events: write({mount.vmpressure!r}, f'{{event}} low')")
    expected = (mount.path / "vmpressure.debug" / "registrations").read_bytes()
    assert expected.count(b"\n") == 300
    fd = os.open(mount.path / "vmpressure.debug" / "registrations", os.O_RDONLY)
    pieces = [os.read(fd, 1000)]
    puppet.do("for event in events[:200]: os.close(event)")
    mount.await_registrations(100)
    while pieces[-1]:
        pieces.append(os.read(fd, 1000))
    assert b"".join(pieces) == expected
    assert os.pread(fd, 1000, 0) == mount.debug("registrations").encode()[:1000]
    os.close(fd)
