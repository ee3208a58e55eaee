# SPDX-License-Identifier: MIT
"""The thread in C that reads a BPF ring buffer, fed by a file with the layout of the kernel's map."""

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from pressurefs.events.event_path import EventPath
from pressurefs.pressure.levels import RFC
from pressurefs.pressure.window import Verdict
from tests.support.listeners import TOP, listener
from tests.support.mounted import eventually, readable

PAGE = mmap.PAGESIZE
RING_BYTES = 4096
BUSY, DISCARDED = 1 << 31, 1 << 30  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT

# struct pfs_window: time, cgroup, listening, scanned, reclaimed, priority, injected.
WINDOW = struct.Struct("=QQQIIiI")
HEADER = struct.Struct("=II")
POSITION = struct.Struct("=Q")


class RingBuffer:
    """A map as the kernel makes one: the reader's position, the writer's, and the records, seen twice."""

    def __init__(self) -> None:
        self.map_fd = os.memfd_create("ring buffer")
        os.ftruncate(self.map_fd, 2 * PAGE + 2 * RING_BYTES)
        self.wait_fd = os.eventfd(0)
        self._memory = mmap.mmap(self.map_fd, 0)
        self._at = 0
        self.last = 0

    def consumed(self) -> int:
        """Return how far the reader has read, in bytes."""
        position: int = POSITION.unpack_from(self._memory, 0)[0]
        return position

    def put(self, record: bytes, flags: int = 0) -> None:
        """Write a record, and wake the reader."""
        whole = HEADER.pack(len(record) | flags, 0) + record
        whole += b"\0" * (-len(whole) % 8)
        self.last = self._at
        for at, byte in enumerate(whole):
            self._poke((self._at + at) % RING_BYTES, byte)
        self._at += len(whole)
        POSITION.pack_into(self._memory, PAGE, self._at)
        os.eventfd_write(self.wait_fd, 1)

    def commit(self) -> None:
        """Take the flags off the last record, and wake the reader."""
        (length,) = struct.unpack_from("=I", self._memory, 2 * PAGE + self.last % RING_BYTES)
        for at, byte in enumerate(struct.pack("=I", length & ~(BUSY | DISCARDED))):
            self._poke((self.last + at) % RING_BYTES, byte)
        os.eventfd_write(self.wait_fd, 1)

    def close(self) -> None:
        """Give up what is open."""
        self._memory.close()
        os.close(self.map_fd)
        os.close(self.wait_fd)

    def _poke(self, at: int, byte: int) -> None:
        for copy in (0, RING_BYTES):
            self._memory[2 * PAGE + copy + at] = byte


def window(scanned: int, cgroup: int = 11) -> bytes:
    """Return a record: a window of which nothing was reclaimed."""
    return WINDOW.pack(10**9, cgroup, cgroup, scanned, 0, -1, 0)


@pytest.fixture
def path() -> Iterator[EventPath]:
    opened = EventPath(TOP)
    opened.tune(RFC)
    opened.add(listener(1, "/a"), 11)
    yield opened
    opened.close()


@pytest.fixture
def ring_buffer() -> Iterator[RingBuffer]:
    opened = RingBuffer()
    yield opened
    opened.close()


def scanned(path: EventPath) -> list[int]:
    """Return the pages of each window that was judged."""
    return [one.verdict.scanned for one in path.read(0)[0]]


def test_record_is_a_window(path: EventPath, ring_buffer: RingBuffer) -> None:
    """A record is judged, its listeners are signalled, and the reader says so."""
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    ring_buffer.put(window(512))
    assert readable(reader.told_fd)
    assert reader.was_told()
    assert not reader.was_told()
    ((judged,), _) = path.read(0)
    assert judged.verdict == Verdict(1.0, "", 512, 0, None, 100, judged.verdict.level)
    assert path.signals_sent(1) == 1
    reader.close()


def test_what_was_there_before(path: EventPath, ring_buffer: RingBuffer) -> None:
    """Records that were written before the reader began are read."""
    for pages in (600, 700):
        ring_buffer.put(window(pages))
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    eventually(lambda: scanned(path) == [600, 700])
    reader.close()


def test_a_record_that_is_being_written(path: EventPath, ring_buffer: RingBuffer) -> None:
    """The reader waits for a record that is not committed, and reads on from there."""
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    ring_buffer.put(window(600))
    eventually(lambda: scanned(path) == [600])
    before = ring_buffer.consumed()
    ring_buffer.put(window(700), BUSY)
    # It is not read, whether the reader has been woken for it yet or not.
    assert scanned(path) == [600]
    assert ring_buffer.consumed() == before
    ring_buffer.commit()
    eventually(lambda: scanned(path) == [600, 700])
    reader.close()


@pytest.mark.parametrize(
    ("record", "flags"),
    [(window(1), DISCARDED), (window(1)[:-4], 0), (window(1) + b"\0" * 8, 0), (b"", 0)],
    ids=["discarded", "too short", "too long", "empty"],
)
def test_no_window(path: EventPath, ring_buffer: RingBuffer, record: bytes, flags: int) -> None:
    """A record that was given up, or that is no window, is passed over; the next is read."""
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    ring_buffer.put(record, flags)
    ring_buffer.put(window(700))
    eventually(lambda: scanned(path) == [700])
    reader.close()


def test_round_and_round(path: EventPath, ring_buffer: RingBuffer) -> None:
    """Records go round the buffer many times, across its end, and each is whole."""
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    for number in range(1, 500):
        ring_buffer.put(window(number))
        if number % 50 == 0:
            eventually(lambda last=number: scanned(path)[-1:] == [last])  # type: ignore[misc]
    eventually(lambda: scanned(path) == list(range(1, 500)))
    assert path.signals_sent(1) == 499
    reader.close()


def test_end_with_records_left(path: EventPath, ring_buffer: RingBuffer) -> None:
    """A reader that is closed while a record is being written ends at once."""
    reader = path.open_reader(ring_buffer.map_fd, RING_BYTES, ring_buffer.wait_fd)
    ring_buffer.put(window(600), BUSY)
    reader.close()
    assert scanned(path) == []


def test_no_map(path: EventPath) -> None:
    """A descriptor that cannot be mapped or polled is refused, and nothing is left open."""
    before = os.listdir("/proc/self/fd")
    for map_fd in (-1, os.open("/", os.O_PATH)):
        with pytest.raises(OSError, match=r"\w"):
            path.open_reader(map_fd, RING_BYTES)
        if map_fd >= 0:
            os.close(map_fd)
    assert os.listdir("/proc/self/fd") == before
