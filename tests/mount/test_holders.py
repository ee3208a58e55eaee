# SPDX-License-Identifier: MIT
"""The fallback's scans for holders of an eventfd: what they find, and whom blocking them delays."""

import os
import signal
from pathlib import Path

import pytest

from pressurefs.signaller.writer import Caller
from tests.support.mounted import eventually, mounted
from tests.support.puppet import Puppet

NOBODY, SOMEBODY = 65534, 65533


class Keeper:
    """The fallback signaller, called as the daemon calls it, but as often as a test wants."""

    def __init__(self) -> None:
        from pressurefs.signaller.aio import AioSignaller  # noqa: PLC0415, a test may go without

        self._signaller = AioSignaller()
        self.kept: dict[int, object] = {}

    def keep(self, puppet: Puppet, event: str, uid: int = 0) -> int:
        """Register a puppet's eventfd; return the token."""
        token = len(self.kept) + 1
        self.kept[token] = self._signaller.keep(Caller(puppet.pid, uid, 0), puppet.do(event), token)
        return token

    def ask(self) -> set[int]:
        """Ask once which are closed, and drop those as the dispatcher does; return the remaining tokens."""
        for token in self._signaller.gone(set(self.kept)):
            self._signaller.drop(self.kept.pop(token))  # type: ignore[arg-type]
        return set(self.kept)

    def await_gone(self, token: int) -> None:
        """Ask until a registration has ended: that takes two complete scans."""
        eventually(lambda: token not in self.ask())


@pytest.fixture
def keeper(fuse: None, monkeypatch: pytest.MonkeyPatch) -> Keeper:  # noqa: ARG001
    """A signaller that scans again at once."""
    monkeypatch.setattr("pressurefs.signaller.aio.SCAN_SECONDS", 0.0)
    return Keeper()


def test_finds_every_one(keeper: Keeper, puppet: Puppet) -> None:
    """Of many eventfds exactly the closed ones are found closed, in whatever order they were opened."""
    puppet.do("events = [os.eventfd(0) for _ in range(99)]")
    tokens = [keeper.keep(puppet, f"events[{at}]") for at in range(99)]
    puppet.do("for event in events[::3]: os.close(event)")
    for token in tokens[::3]:
        keeper.await_gone(token)
    assert set(keeper.kept) == set(tokens) - set(tokens[::3])


def test_registered_twice(keeper: Keeper, puppet: Puppet) -> None:
    """An eventfd that is registered twice takes one descriptor, and both registrations end together."""
    puppet.do("event = os.eventfd(0)")
    first, second = keeper.keep(puppet, "event"), keeper.keep(puppet, "event")
    puppet.do("os.close(event)")
    keeper.await_gone(first)
    assert second not in keeper.kept


def test_thread_with_descriptors_of_its_own(keeper: Keeper, puppet: Puppet) -> None:
    """The only holder of an eventfd may be a thread with its own descriptor table."""
    puppet.do("import ctypes; event, other, ready, end = os.eventfd(0), os.eventfd(0), os.pipe(), os.pipe()")
    kept, closed = keeper.keep(puppet, "event"), keeper.keep(puppet, "other")
    puppet.do("""
def live_apart():
    assert ctypes.CDLL(None).unshare(0x400) == 0  # CLONE_FILES
    os.close(other)
    os.write(ready[1], b"x")
    os.read(end[0], 1)
thread = threading.Thread(target=live_apart)
thread.start()
os.read(ready[0], 1)
os.close(event)
os.close(other)
""")
    keeper.await_gone(closed)
    assert kept in keeper.kept
    puppet.do("os.write(end[1], b'x'); thread.join()")
    keeper.await_gone(kept)


def test_short_of_descriptors(
    keeper: Keeper, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A scan that could not be completed finds no eventfd closed."""
    puppet.do("event = os.eventfd(0)")
    kept = keeper.keep(puppet, "event")

    def fail(directory: str) -> None:
        raise OSError(24, "Too many open files", directory)

    with monkeypatch.context() as shortage:
        shortage.setattr("pressurefs.signaller.holders._numbers", fail)
        eventually(lambda: kept not in keeper.ask() or caplog.text.count("a scan failed") > 3)
    assert kept in keeper.kept


def test_trap(
    keeper: Keeper, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that blocks the scan delays only the cleanup of its own user's registrations.

    It calls execve(2) with a file open whose server does not answer the close.
    """
    monkeypatch.setattr("pressurefs.signaller.holders.BLOCKED_SECONDS", 1.0)
    with mounted(place) as server, Puppet(uid=NOBODY) as hostile, Puppet(uid=SOMEBODY) as bystander:
        hostile.do(f"closed = os.eventfd(0); file = os.open({server.vmpressure!r}, os.O_RDONLY)")
        bystander.do("closed, kept = os.eventfd(0), os.eventfd(0)")
        held_up = keeper.keep(hostile, "closed", NOBODY)
        ends, lives = (keeper.keep(bystander, event, SOMEBODY) for event in ("closed", "kept"))
        server.process.send_signal(signal.SIGSTOP)
        os.waitpid(server.process.pid, os.WUNTRACED)  # until all its threads are stopped
        try:
            # execve(2) closes the eventfd, which has the lower number, just before it hangs.
            hostile.send("os.execv('/bin/sleep', ['sleep', '60'])")
            told = f"a process of uid {NOBODY} lets nobody look"
            eventually(lambda: held_up in keeper.ask() and told in caplog.text)
            bystander.do("os.close(closed)")
            keeper.await_gone(ends)
            assert {held_up, lives} <= set(keeper.kept)
        finally:
            server.process.send_signal(signal.SIGCONT)
        keeper.await_gone(held_up)
        assert set(keeper.kept) == {lives}
