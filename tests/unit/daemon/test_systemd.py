# SPDX-License-Identifier: MIT
"""Messages to systemd, and the unit: it lets the daemon do its work."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs import exitcodes
from pressurefs.daemon.systemd import NOTIFY_VARIABLE, notify
from tests.support.confining import UNIT, read_settings

# The settings for which systemd gives a service its own mount namespace: see systemd.exec(5).
MAKES_NAMESPACE = re.compile(
    r"(Private|Protect|Root|Mount|Bind|Extension)\w+|ProcSubset|\w+Paths|TemporaryFileSystem|DynamicUser"
)


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """The socket of a service manager, not bound yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        yield one


def test_in_the_file_system(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is sent to a socket given by its path."""
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv(NOTIFY_VARIABLE, str(tmp_path / "notify"))
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_abstract(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that begins with @ is that of an abstract socket."""
    manager.bind(f"\0pressurefs-test-{os.getpid()}")
    monkeypatch.setenv(NOTIFY_VARIABLE, f"@pressurefs-test-{os.getpid()}")
    notify("STOPPING=1")
    assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@nobody-listens", "vsock:2:1", "relative"])
def test_nobody_listens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no manager, or it has another kind of socket, nothing is sent and nothing stays open."""
    if address is None:
        monkeypatch.delenv(NOTIFY_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(NOTIFY_VARIABLE, address)
    before = os.listdir("/proc/self/fd")
    notify("READY=1")
    assert os.listdir("/proc/self/fd") == before


def test_manager_that_does_not_read(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon does not wait for a manager whose queue is full."""
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv(NOTIFY_VARIABLE, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"x", path)
    notify("READY=1")
    assert manager.recv(100) == b"x"


def test_unit_is_well_made(tmp_path: Path) -> None:
    """systemd-analyze reports nothing about the unit, except for the path of the command."""
    unit = tmp_path / UNIT.name
    command = f"{sys.executable} -m pressurefs"
    unit.write_text(UNIT.read_text().replace("ExecStart=pressurefs ", f"ExecStart={command} "))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_makes_no_mount_namespace() -> None:
    """The unit makes no mount namespace: other processes would not see a mount inside it."""
    assert [name for name in read_settings() if MAKES_NAMESPACE.fullmatch(name)] == []


def test_unit_waits_until_the_mount_answers() -> None:
    """The unit is of type notify, and allows /dev/fuse.  Confined mounts test the other permissions."""
    assert read_settings()["Type"] == "notify"
    assert read_settings()["DeviceAllow"] == "/dev/fuse rw"


def test_unit_gives_up_where_nothing_will_change() -> None:
    """No restart follows an exit code that the next start would end with, too."""
    lasting = [
        exitcodes.USAGE,
        exitcodes.MOUNTPOINT_UNUSABLE,
        exitcodes.FUSE_UNAVAILABLE,
        exitcodes.SOURCE_UNAVAILABLE,
    ]
    lasting.append(exitcodes.COMPILED_MODULE_MISSING)
    assert read_settings()["RestartPreventExitStatus"].split() == [str(code) for code in lasting]
