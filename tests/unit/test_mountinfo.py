# SPDX-License-Identifier: MIT
"""Parsing mountinfo, and which mount is taken when none is named."""

import errno
import os
from pathlib import Path

import pytest

from pressurefs import mountinfo
from pressurefs.mountinfo import Mount, find_pressurefs, is_dead, parse_mountinfo, read_mountinfo, topmost

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 0:28 / /mnt rw shared:2 - tmpfs tmpfs rw,mode=755
32 31 0:29 /sub /mnt/a\040b\011c\012d\134e rw master:7 propagate_from:2 unbindable - fuse.sshfs who@host:/ rw
40 31 0:40 / /mnt/p rw,nosuid shared:9 - fuse.pressurefs pressurefs rw,user_id=0
41 40 0:41 / /mnt/p rw - tmpfs - rw
50 31 0:50 / /mnt/q rw - fuse.pressurefs pressurefs rw
"""


@pytest.fixture
def seen_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see the mounts above, and no mount in its environment."""
    monkeypatch.setattr(mountinfo, "read_mountinfo", lambda: parse_mountinfo(MOUNTINFO))
    monkeypatch.delenv(mountinfo.MOUNT_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("number", "mount"),
    [
        pytest.param(0, Mount(22, "0:21", "/proc", "proc"), id="no optional field"),
        pytest.param(2, Mount(31, "0:28", "/mnt", "tmpfs"), id="one optional field"),
        pytest.param(3, Mount(32, "0:29", "/mnt/a b\tc\nd\\e", "fuse.sshfs"), id="three, and escapes"),
        pytest.param(5, Mount(41, "0:41", "/mnt/p", "tmpfs"), id="a source that is a dash"),
    ],
)
def test_rows(number: int, mount: Mount) -> None:
    """A row gives number, device, unescaped mountpoint, and the type after the lone dash."""
    assert parse_mountinfo(MOUNTINFO)[number] == mount


def test_each_row_once() -> None:
    """Rows keep their order, each once; empty text has no mounts."""
    assert [mount.mount_id for mount in parse_mountinfo(MOUNTINFO)] == [22, 27, 31, 32, 40, 41, 50]
    assert parse_mountinfo("") == []


@pytest.mark.parametrize(
    ("escaped", "mountpoint"),
    [(r"/a\134040", r"/a\040"), (r"/\043x", "/#x"), ("/\u00e4\udcff", "/\u00e4\udcff"), ("/-", "/-")],
    ids=["escaped backslash", "hash", "no UTF-8", "dash"],
)
def test_odd_mountpoints(escaped: str, mountpoint: str) -> None:
    """An escape is decoded once, and other bytes are kept."""
    (mount,) = parse_mountinfo(f"36 35 98:0 / {escaped} rw - ext4 /dev/root rw\n")
    assert mount.mountpoint == mountpoint


@pytest.mark.parametrize("character", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_only_newline_ends_a_row(character: str) -> None:
    """The kernel escapes only the newline: other line ends belong to the mountpoint."""
    (mount,) = parse_mountinfo(f"36 35 98:0 / /mnt/a{character}b rw - ext4 /dev/root rw\n")
    assert mount.mountpoint == f"/mnt/a{character}b"


def test_topmost() -> None:
    """Of several mounts on one path the last is the topmost; a path without a mount has none."""
    rows = parse_mountinfo(MOUNTINFO)
    assert topmost(rows, "/mnt/p") == Mount(41, "0:41", "/mnt/p", "tmpfs")
    assert topmost(rows, "/mnt/p/") is None
    assert topmost([], "/") is None


@pytest.mark.usefixtures("seen_mounts")
def test_first_mount_is_found() -> None:
    """If none is named, the first mount of our type in mountinfo is taken."""
    assert find_pressurefs() == "/mnt/p"


@pytest.mark.usefixtures("seen_mounts")
def test_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable takes precedence over mountinfo; if it is set but empty, it names no mount."""
    monkeypatch.setenv("PRESSUREFS_MOUNT", "/elsewhere")
    assert find_pressurefs() == "/elsewhere"
    monkeypatch.setenv("PRESSUREFS_MOUNT", "")
    assert find_pressurefs() == "/mnt/p"


@pytest.mark.usefixtures("seen_mounts")
def test_no_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing is mounted and nothing named, the error is ENOENT and says what was searched for."""
    others = [row for row in parse_mountinfo(MOUNTINFO) if row.filesystem_type != mountinfo.FILESYSTEM_TYPE]
    monkeypatch.setattr(mountinfo, "read_mountinfo", lambda: others)
    with pytest.raises(FileNotFoundError, match=r"fuse\.pressurefs.*PRESSUREFS_MOUNT") as refused:
        find_pressurefs()
    assert refused.value.errno == errno.ENOENT


@pytest.mark.parametrize("pid", ["self", os.getpid()], ids=["self", "pid"])
def test_own_mounts(pid: int | str) -> None:
    """This process's own mountinfo is read completely, also by its process id: /proc is a proc."""
    mounted = topmost(read_mountinfo(pid), "/proc")
    assert mounted is not None
    assert mounted.filesystem_type == "proc"


def test_what_answers_is_not_dead(tmp_path: Path) -> None:
    """A directory that answers is not dead; neither is a path that does not exist."""
    assert not is_dead(str(tmp_path))
    assert not is_dead(str(tmp_path / "missing"))
