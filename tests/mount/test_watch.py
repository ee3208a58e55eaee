# SPDX-License-Identifier: MIT
"""watch, on a real mount: lines in a pipe, a picture in a terminal, and a clean end in both."""

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Self

import pyte
import pytest

from pressurefs.mountinfo import MOUNT_VARIABLE
from tests.support.mounted import DEADLINE_SECONDS, Mounted, eventually, readable

WATCH = [sys.executable, "-m", "pressurefs", "watch"]


@contextlib.contextmanager
def watching(mount: Mounted) -> Iterator[subprocess.Popen[str]]:
    """Run a watch that writes into a pipe, from when it has registered; its stderr is a pipe, too."""
    # An empty $PYTHONUNBUFFERED is none: it is the command that must not hold lines back.
    environment = os.environ | {MOUNT_VARIABLE: str(mount.path), "PYTHONUNBUFFERED": ""}
    pipe = subprocess.PIPE
    with subprocess.Popen(WATCH, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            eventually(lambda: len(mount.registrations()) == 3)
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> list[str]:
    """Return the fields of the next line, which must come at once and not when a buffer is full."""
    assert process.stdout is not None
    assert readable(process.stdout.fileno())
    line = process.stdout.readline()
    assert line.endswith("\n")
    return line.split()


@pytest.mark.parametrize("level", ["low", "medium", "oom"])
def test_each_event_once(mount: Mounted, level: str) -> None:
    """An event is one line, at its own level, though up to three eventfds heard it, with the time it came."""
    with watching(mount) as process:
        before = datetime.now().astimezone() - timedelta(milliseconds=1)
        mount.inject(level)
        moment, *told = read_line(process)
        assert before <= datetime.fromisoformat(moment) <= datetime.now().astimezone()
        assert told == [level, "+1"]


def test_no_event_is_lost(mount: Mounted) -> None:
    """However events fall into batches, the lines add up to what came, and oom stands before low."""
    with watching(mount) as process:
        for _ in range(50):
            mount.inject("low")
            mount.inject("oom")
        mount.inject("medium")
        mount.process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 7
        assert process.stdout is not None
        lines = [line.split() for line in process.stdout]
    assert mount.process.wait(DEADLINE_SECONDS) == 0
    sums = {
        level: sum(int(count) for _, one, count in lines if one == level)
        for level in ("low", "medium", "oom")
    }
    assert sums == {"low": 50, "medium": 1, "oom": 50}
    order = ["oom", "medium", "low"]
    keys = [(moment, order.index(level)) for moment, level, _ in lines]
    assert keys == sorted(set(keys))


def test_unmount_ends_it(mount: Mounted) -> None:
    """The end of the mount is no event: it is said on stderr, and by the exit code."""
    with watching(mount) as process:
        mount.process.terminate()
        assert process.communicate() == ("", f"pressurefs: {mount.path}: was unmounted\n")
        assert process.returncode == 7
    assert mount.process.wait(DEADLINE_SECONDS) == 0


def test_interrupt_ends_it(mount: Mounted) -> None:
    """Ctrl-C is how a watch ends."""
    with watching(mount) as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
        assert process.returncode == 0
    mount.await_registrations(0)


def test_reader_ends_it(mount: Mounted) -> None:
    """A watch whose reader is gone ends at once, and not only at the next event."""
    with watching(mount) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_SECONDS) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_no_such_cgroup(mount: Mounted) -> None:
    """A cgroup that is not there is the file's own error, and nothing stays registered."""
    environment = os.environ | {MOUNT_VARIABLE: str(mount.path)}
    done = subprocess.run(
        [*WATCH, "--cgroup", "/nowhere"], capture_output=True, text=True, env=environment, check=False
    )
    why = f"pressurefs: register in {mount.path}/nowhere/vmpressure: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, why)


class Terminal:
    """A terminal in which a watch runs: what it shows now, and all that was sent.  Lives in a with block."""

    def __init__(self, mount: Mounted, through: Sequence[str] = (), **environment: str) -> None:
        """Start; ``through`` is a command that runs the watch, such as a shell."""
        columns, rows = 80, 24
        self.screen = pyte.Screen(columns, rows)
        self.sent = b""
        self._stream = pyte.ByteStream(self.screen)
        self._fd, inner = os.openpty()
        self._set_size(columns, rows)
        named = {"TERM": "xterm-256color", MOUNT_VARIABLE: str(mount.path)}
        # A session of its own, so that Ctrl-C and a new size come as from a real terminal.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *through, *WATCH],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "NO_COLOR": "", "PYTHONUNBUFFERED": "", **named, **environment},
        )
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def type(self, key: bytes) -> None:
        """Type a key."""
        os.write(self._fd, key)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def rows(self) -> list[str]:
        """Return what the screen shows."""
        while select.select([self._fd], [], [], 0)[0]:
            try:
                sent = os.read(self._fd, 65536)
            except OSError:  # EIO: nobody has the other end open
                break
            self.sent += sent
            self._stream.feed(sent)
        return [row.rstrip() for row in self.screen.display]

    def await_row(self, pattern: str) -> None:
        """Wait until some row matches."""
        eventually(lambda: any(re.search(pattern, row) for row in self.rows()))

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def assert_restored(terminal: Terminal) -> None:
    """The shell's screen, its cursor and its line wrapping are back."""
    for mode in (b"?1049", b"?25", b"?7"):
        last = re.findall(rb"\x1b\[" + re.escape(mode) + rb"([hl])", terminal.sent)[-1]
        assert last == (b"l" if mode == b"?1049" else b"h")


def test_picture(mount: Mounted) -> None:
    """A terminal gets a picture with the numbers and the columns, in colour, until Ctrl-C."""
    with Terminal(mount) as terminal:
        terminal.await_row(r"^low +0 +0 +0 +-$")
        for level in ("low", "low", "oom"):
            mount.inject(level)
        terminal.await_row(r"^oom +\d +1 +1 ")
        terminal.await_row(r"^low +\d +2 +2 ")
        terminal.await_row(r"^oom +▁ *$")
        assert str(mount.path) in terminal.rows()[0]
        assert "red" in {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
        terminal.type(b"\x03")
        assert terminal.process.wait(DEADLINE_SECONDS) == 0
        terminal.rows()
        assert f"{mount.path}: 1 oom, 0 medium, 2 low\r\n".encode() in terminal.sent
        assert_restored(terminal)


def test_quiet_picture(mount: Mounted) -> None:
    """Where nothing happens only the row with the clock is sent again."""
    with Terminal(mount) as terminal:
        terminal.await_row("^low")
        begun = len(terminal.sent)
        eventually(lambda: bool(terminal.rows()) and terminal.sent.count(b"\x1b[K", begun) >= 2)
        assert set(re.findall(rb"\x1b\[(\d+);1H", terminal.sent[begun:])) == {b"1"}


def test_busy_picture(mount: Mounted) -> None:
    """However many events come, the picture is drawn ten times a second, and once more for the clock."""
    with Terminal(mount) as terminal:
        terminal.await_row("^low")
        begun, started = len(terminal.sent), time.monotonic()
        for _ in range(300):
            mount.inject("low")
        terminal.await_row(r"^low +\d+ +300 ")
        pictures = len(re.findall(rb"\x1b\[6;1H", terminal.sent[begun:]))
        assert pictures <= 3 + 11 * (time.monotonic() - started)


def test_resize(mount: Mounted) -> None:
    """A terminal of another size gets another picture."""
    with Terminal(mount) as terminal:
        terminal.await_row("last minute")
        terminal.resize(44, 9)
        terminal.await_row(r"1 s +1 min +total")
        assert all(row for row in terminal.rows())


def test_stop_and_continue(mount: Mounted) -> None:
    """Ctrl-Z gives the shell its screen back, and what comes while it is stopped is counted after that."""
    shell = ["bash", "-mc", '"$@"; echo "the shell got $?"; read; fg', "bash"]
    with Terminal(mount, through=shell) as terminal:
        terminal.await_row("^low")
        terminal.type(b"\x1a")
        terminal.await_row(f"the shell got {128 + signal.SIGTSTP}")
        assert_restored(terminal)
        mount.inject("medium")
        terminal.type(b"\n")
        terminal.await_row(r"^medium +\d +1 +1 ")
        assert terminal.sent.count(b"\x1b[?1049h") == 2
        terminal.type(b"\x03")
        assert terminal.process.wait(DEADLINE_SECONDS) == 0


def test_stop_where_nobody_could_continue(mount: Mounted) -> None:
    """Ctrl-Z does nothing to a watch that no shell has started."""
    with Terminal(mount) as terminal:
        terminal.await_row("^low")
        terminal.type(b"\x1a")
        eventually(lambda: bool(terminal.rows()) and terminal.sent.count(b"\x1b[?1049h") == 2)
        mount.inject("medium")
        terminal.await_row(r"^medium +\d +1 +1 ")


@pytest.mark.parametrize("how", ["SIGTERM", "unmount"])
def test_end_restores_the_terminal(mount: Mounted, how: str) -> None:
    """Whatever ends it, the terminal is as before."""
    with Terminal(mount) as terminal:
        terminal.await_row("^low")
        (terminal.process if how == "SIGTERM" else mount.process).terminate()
        assert terminal.process.wait(DEADLINE_SECONDS) == (0 if how == "SIGTERM" else 7)
        terminal.rows()
        assert_restored(terminal)
        assert (b"was unmounted" in terminal.sent) is (how == "unmount")
    assert how != "unmount" or mount.process.wait(DEADLINE_SECONDS) == 0


def test_dumb_terminal(mount: Mounted) -> None:
    """A terminal that cannot move its cursor gets lines."""
    with Terminal(mount, TERM="dumb") as terminal:
        eventually(lambda: len(mount.registrations()) == 3)
        mount.inject("oom")
        terminal.await_row(r"^\S+ oom \+1$")
        assert b"\x1b" not in terminal.sent


def test_no_colour_no_utf8(mount: Mounted) -> None:
    """$NO_COLOR takes the colours away, and a locale without UTF-8 all that is not ASCII."""
    with Terminal(mount, NO_COLOR="1", LC_ALL="C") as terminal:
        terminal.await_row("^low")
        mount.inject("low")
        terminal.await_row(r"^low +\.$")
        assert terminal.sent.isascii()
        assert not re.search(rb"\x1b\[[\d;]*m", terminal.sent)
