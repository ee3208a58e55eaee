# SPDX-License-Identifier: MIT
"""How the rows of the epoll set are read."""

import os
from collections.abc import Iterator

import pytest

from pressurefs.signaller.writer import Caller

ROWS = 1000


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size that each pread(2) asked for."""
    asked: list[int] = []
    pread = os.pread

    def noting_pread(fd: int, size: int, offset: int) -> bytes:
        asked.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", noting_pread)
    return asked


@pytest.fixture
def events() -> Iterator[list[int]]:
    """Eventfds of this process, closed at the end of the test."""
    listed = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(ROWS)]
    yield listed
    for event in listed:
        os.close(event)


def test_read_once(native: None, sizes: list[int], events: list[int]) -> None:  # noqa: ARG001
    """With a thousand rows that nobody asks about, one read returns all rows from the second call on."""
    from pressurefs.signaller.uring import UringSignaller  # noqa: PLC0415, a test may go without

    signaller = UringSignaller()
    for token, event in enumerate(events, start=1):
        signaller.drop(signaller.keep(Caller(os.getpid(), 0, 0), event, token))
    assert not signaller.gone({1})
    assert len(sizes) > 1
    sizes.clear()
    assert signaller.gone({1, ROWS + 1}) == {ROWS + 1}
    assert len(sizes) == 1
    for_all = sizes[0]
    while len(events) > 1:
        os.close(events.pop())
    assert signaller.gone({1, 2}) == {2}
    sizes.clear()
    assert not signaller.gone({1})
    signaller.close()
    assert sizes[0] < for_all, "what was needed once is not asked for for ever"
