# SPDX-License-Identifier: MIT
"""Who hears what: an event adds exactly one to each eventfd at its level or lower, and waits for nobody."""

import os
import select

import pytest

from tests.support.mounted import Mounted, readable
from tests.support.puppet import Puppet

FULL = 2**64 - 2  # the largest count that write(2) can make


def register(mount: Mounted, wish: str, flags: int = os.EFD_NONBLOCK) -> int:
    """Register an eventfd of this process."""
    event = os.eventfd(0, flags)
    with open(mount.vmpressure, "w") as file:
        file.write(f"{event} {wish}")
    return event


def count(event: int) -> int:
    """Return an eventfd's count, 0 where it was not signalled."""
    try:
        return os.eventfd_read(event)
    except BlockingIOError:
        return 0


@pytest.mark.parametrize(("level", "heard"), [("low", (1, 0, 0)), ("medium", (1, 1, 0)), ("oom", (1, 1, 1))])
def test_levels(mount: Mounted, level: str, heard: tuple[int, int, int]) -> None:
    """An event is heard by who asked for its level or a lower one."""
    events = [register(mount, wish) for wish in ("low", "medium", "oom")]
    mount.inject(level)
    assert tuple(count(event) for event in events) == heard
    for event in events:
        os.close(event)


@pytest.mark.parametrize(
    ("sample", "heard"),
    [
        ("511 0", (0, 0, 0)),
        ("512 512", (1, 0, 0)),
        ("512 205", (1, 0, 0)),
        ("512 204", (1, 1, 0)),
        ("512 6", (1, 1, 0)),
        ("512 5", (1, 1, 1)),
        ("512 600", (1, 0, 0)),
        ("5120 0", (1, 1, 1)),
        ("0 0 4", (1, 1, 1)),
        ("0 0 5", (0, 0, 0)),
    ],
)
def test_samples(mount: Mounted, sample: str, heard: tuple[int, int, int]) -> None:
    """Pages scanned and reclaimed become the event that the arithmetic says."""
    events = [register(mount, wish) for wish in ("low", "medium", "oom")]
    mount.inject(sample)
    assert tuple(count(event) for event in events) == heard
    for event in events:
        os.close(event)


def test_sensitivity(mount: Mounted) -> None:
    """The one public tunable shrinks and grows the window."""
    event = register(mount, "low")
    knob = mount.path / "vmpressure_sensitivity"
    for sensitivity, window in ((100, 16), (60, 256), (50, 512), (0, 16384)):
        knob.write_text(f"{sensitivity}\n")
        assert knob.read_text() == f"{sensitivity}\n"
        mount.inject(f"{window - 1} 0")
        assert count(event) == 0
        mount.inject("1 0")
        assert count(event) == 1
    for wrong in ("101", "-1", "fifty", "", "5 0", "1" * 30):
        with pytest.raises(OSError, match="Invalid argument"), open(knob, "wb", buffering=0) as file:
            file.write(wrong.encode() or b"\n")
    assert knob.read_text() == "0\n"
    os.close(event)


def test_nothing_is_merged(mount: Mounted) -> None:
    """A thousand events nobody read are a thousand in the counter."""
    event = register(mount, "low")
    for _ in range(1000):
        mount.inject("low")
    assert count(event) == 1000
    os.close(event)


def test_registered_twice(mount: Mounted) -> None:
    """An eventfd registered twice is signalled twice, at whatever levels."""
    event = register(mount, "low")
    for wish in ("low", "medium"):
        with open(mount.vmpressure, "w") as file:
            file.write(f"{event} {wish}")
    mount.inject("low")
    assert count(event) == 2
    mount.inject("medium")
    assert count(event) == 3
    os.close(event)


def test_semaphore(mount: Mounted) -> None:
    """A semaphore eventfd gives its events one by one."""
    event = register(mount, "low", os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
    mount.inject("low")
    mount.inject("low")
    assert [count(event) for _ in range(3)] == [1, 1, 0]
    os.close(event)


def test_full_counter(mount: Mounted) -> None:
    """A holder that fills its counter blocks nobody; it overflows as the kernel's own signals do."""
    full, other = register(mount, "low", 0), register(mount, "low")
    os.eventfd_write(full, FULL)
    for _ in range(10):
        mount.inject("low")
    assert count(other) == 10
    poll = select.poll()
    poll.register(full, select.POLLIN)
    assert poll.poll(0) == [(full, select.POLLIN | select.POLLERR)]
    assert os.eventfd_read(full) == 2**64 - 1
    os.close(full)
    os.close(other)


def test_modes_at_the_top(mount: Mounted) -> None:
    """At the top, no mode means local: the machine's own reclaim, and no cgroup's limit."""
    plain, default, hierarchy = (register(mount, wish) for wish in ("low", "low,default", "low,hierarchy"))
    mount.inject("low /a/b")
    assert (count(plain), count(default), count(hierarchy)) == (0, 1, 1)
    mount.inject("low")
    assert (count(plain), count(default), count(hierarchy)) == (1, 1, 1)
    for event in (plain, default, hierarchy):
        os.close(event)


def test_final_unmount(mount: Mounted, puppet: Puppet) -> None:
    """The end of the mount signals each registration once, after the path is gone."""
    puppet.do(f"path = {mount.vmpressure!r}; event = os.eventfd(0); write(path, f'{{event}} oom')")
    puppet.do("keeps_it_busy = os.open(path, os.O_WRONLY)")
    puppet.send("select.select([event], [], [], 10), os.path.exists(path), os.eventfd_read(event)")
    mount.process.terminate()
    assert puppet.receive()["value"][1:] == [False, 1]
    assert mount.process.wait(10) == 0


def test_unmounted_by_somebody(mount: Mounted) -> None:
    """umount(8) ends the daemon in the same way."""
    event = register(mount, "low")
    os.system(f"umount {mount.path}")  # noqa: S605
    assert mount.process.wait(10) == 0
    assert readable(event)
    assert os.eventfd_read(event) == 1
    os.close(event)
