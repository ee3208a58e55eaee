# SPDX-License-Identifier: MIT
"""The application's part: find the mount, register, wait; tested without a mount."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pressurefs import client, mountinfo


@pytest.fixture
def event_fd() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("cgroup", "path"),
    [
        (None, "/m/vmpressure"),
        ("/", "/m/vmpressure"),
        ("/a/b", "/m/a/b/vmpressure"),
        ("a/b/", "/m/a/b/vmpressure"),
    ],
)
def test_control_path(cgroup: str | None, path: str) -> None:
    """The control file of a cgroup is below the mount, with or without slashes around the name."""
    assert client.control_path("/m", cgroup) == Path(path)


def test_control_path_of_the_mount_that_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no mount is given, the mount that the environment names is taken."""
    monkeypatch.setenv(mountinfo.MOUNT_VARIABLE, "/found")
    assert client.control_path() == Path("/found/vmpressure")


def test_register_writes_one_line(tmp_path: Path) -> None:
    """Registering writes descriptor and wish, and leaves no descriptor open."""
    control = tmp_path / "vmpressure"
    control.touch()
    before = os.listdir("/proc/self/fd")
    client.register(52, "low,local", control)
    assert control.read_bytes() == b"52 low,local"
    assert os.listdir("/proc/self/fd") == before


def test_register_makes_no_file(tmp_path: Path) -> None:
    """If there is no control file, registering fails as open(2) does, and makes no file."""
    with pytest.raises(FileNotFoundError):
        client.register(52, "low", tmp_path / "vmpressure")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 7, 2**64 - 2])
@pytest.mark.parametrize("timeout", [None, 0.0, 10.0])
def test_wait_takes_the_count(event_fd: int, count: int, timeout: float | None) -> None:
    """A nonzero count is returned at once, and reset."""
    os.eventfd_write(event_fd, count)
    assert client.wait(event_fd, timeout) == count
    assert client.wait(event_fd, 0.0) is None


def test_wait_in_vain(event_fd: int) -> None:
    """If nothing comes in time, None is returned, not 0."""
    assert client.wait(event_fd, 0.001) is None
