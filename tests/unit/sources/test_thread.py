# SPDX-License-Identifier: MIT
"""The thread looks when it is asked to, and never takes more than its share of a processor."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import EventPath
from pressurefs.events.listeners import Place
from pressurefs.pressure.levels import RFC
from pressurefs.pressure.window import Sample
from pressurefs.sources.thread import REST_PER_WORK, SourceThread
from tests.support.listeners import TOP, Graveyard, listener
from tests.support.mounted import readable
from tests.support.sources import Chosen

LOOKS = 5
LOOK_SECONDS = 0.01


class Scripted:
    """A source whose every look is one call of ``look``.  Its alarm rings all the time if it has one."""

    name = "scripted"
    limits = ""
    hears_cgroup_v1 = False

    def __init__(
        self, look: Callable[[], list[Sample]], due: float | None, *, has_alarm: bool = False
    ) -> None:
        self._look = look
        self._due = due
        self.alarm_fd = os.eventfd(1) if has_alarm else None
        self.sampled: list[frozenset[Place]] = []

    def start(self, now: float) -> None:
        """Have nothing to do."""

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Note."""
        self.sampled.append(cgroups)

    def read(self, _now: float) -> list[Sample]:
        """Do what the test says."""
        return self._look()

    def next_read(self) -> float | None:
        """Always say the same."""
        return self._due

    def close(self) -> None:
        """Close the alarm."""
        if self.alarm_fd is not None:
            os.close(self.alarm_fd)


@pytest.fixture
def dispatcher() -> Dispatcher:
    """One without a signaller, since all listen by poll."""
    return Dispatcher(RFC, EventPath(TOP), Graveyard())


@pytest.mark.parametrize("due", [0.0, None])
@pytest.mark.parametrize("has_alarm", [True, False])
def test_rests_as_long_as_it_works(dispatcher: Dispatcher, due: float | None, *, has_alarm: bool) -> None:
    """However often it is called, by the source, its alarm or others, it rests as long as a look took."""
    worked: list[float] = []

    def work() -> list[Sample]:
        began = time.thread_time()
        while time.thread_time() - began < LOOK_SECONDS:
            pass
        worked.append(time.thread_time() - began)
        (thread.stop if len(worked) == LOOKS else thread.awaken)()
        return []

    thread = SourceThread(Chosen(Scripted(work, due, has_alarm=has_alarm)), None)
    began = time.monotonic()
    thread.run(dispatcher)
    assert len(worked) == LOOKS
    assert time.monotonic() - began >= sum(worked) * (1 + REST_PER_WORK)


@pytest.fixture
def looked() -> Iterator[int]:
    """An eventfd."""
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


def test_awakened(dispatcher: Dispatcher, looked: int) -> None:
    """A thread with nothing to look at until the end of time is awakened by a change, and by its end."""

    def look() -> list[Sample]:
        os.eventfd_write(looked, 1)
        return []

    source = Scripted(look, None)
    thread = SourceThread(Chosen(source), None)
    runner = threading.Thread(target=thread.run, args=[dispatcher])
    runner.start()
    assert readable(looked)
    os.eventfd_read(looked)
    dispatcher.add(listener(1, "/a"))
    thread.awaken()
    assert readable(looked)
    thread.stop()
    runner.join()
    assert source.sampled == [frozenset(), {Place("/a", 11)}]


def test_feeds(dispatcher: Dispatcher) -> None:
    """What a look saw is judged."""

    def look() -> list[Sample]:
        thread.stop()
        return [Sample(1.0, "/", 512, 512)]

    thread = SourceThread(Chosen(Scripted(look, 0.0)), None)
    thread.run(dispatcher)
    assert [verdict.time for verdict in dispatcher.history()] == [1.0]
