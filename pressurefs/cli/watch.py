"""Watches a mount for people: registers like any application, and shows what comes until the mount goes.

Reads and waits; what is shown is rendered in ``screen``.  One thread.  In a terminal, signals come in
through a pipe that is waited on together with the eventfds, so that none finds the screen half drawn.
"""

import contextlib
import errno
import locale
import os
import select
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TextIO

from pressurefs import client
from pressurefs.cli.screen import (
    HIGHEST_FIRST,
    Counts,
    Look,
    Separation,
    Tally,
    render_changes,
    render_lines,
    render_picture,
    render_summary,
)
from pressurefs.pressure.levels import Level

# From the first signal of a batch to its reading.  The daemon adds to thousands of eventfds within 5 ms, so
# by then an event has come to all three of ours; and this bounds the lines and pictures a second.
LINES_SETTLE_SECONDS = 0.02
SCREEN_SETTLE_SECONDS = 0.1

# The other screen, on which lines are not wrapped and no cursor blinks; and back to the shell's.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


class Listening:
    """An eventfd for each level.  Lives until ``close``."""

    def __init__(self, mount: str, cgroup: str | None) -> None:
        """Register; raises OSError as ``client.vmpressure_fd`` does."""
        self._control = client.control_path(mount, cgroup)
        self._separation = Separation()
        self._event_fds: dict[Level, int] = {}
        try:
            for level in Level:
                self._event_fds[level] = client.vmpressure_fd(level.word, cgroup, mount)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the registrations."""
        while self._event_fds:
            os.close(self._event_fds.popitem()[1])

    def descriptors(self) -> list[int]:
        """Return what becomes readable with an event."""
        return list(self._event_fds.values())

    def read(self, settle_seconds: float) -> tuple[Counts, bool]:
        """Return the events of a batch that has just begun, and whether it was the last one.

        The end signals each eventfd once more, and by then the path is gone; looked for in this order,
        it cannot be missed.
        """
        time.sleep(settle_seconds)
        told = self._separation.add(self._read())
        if not self._is_gone():
            return told, False
        time.sleep(settle_seconds)
        last = self._read()
        told = Counts(*map(sum, zip(told, self._separation.add(last), strict=True)))
        # The end is heard at every level, and so it looks like one more event at oom.
        return told._replace(oom=max(0, told.oom - 1)), True

    def _read(self) -> Counts:
        # The daemon adds to the lowest first.  Read the other way round, an event is not taken for a
        # higher one than it is.
        counts = {level: client.wait(self._event_fds[level], 0) or 0 for level in HIGHEST_FIRST}
        return Counts(*(counts[level] for level in Level))

    def _is_gone(self) -> bool:
        try:
            os.stat(self._control)
        except FileNotFoundError:
            return True
        except OSError:
            # A daemon that died gives no events; one that is started again may bring them back.
            return False
        return False


def watch(listening: Listening, output: TextIO, title: str) -> None:
    """Show what comes until the mount or the cgroup is gone; a BrokenPipeError where ``output`` is."""
    if output.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb"):
        _watch_on_screen(listening, output, title)
    else:
        _watch_in_lines(listening, output)


def _watch_in_lines(listening: Listening, output: TextIO) -> None:
    poll = _poll(listening, output)
    gone = False
    while not gone:
        _wait(poll, output, None)
        moment = datetime.now().astimezone()
        counts, gone = listening.read(LINES_SETTLE_SECONDS)
        _write(output, render_lines(moment, counts))


def _watch_on_screen(listening: Listening, output: TextIO, title: str) -> None:
    tally = Tally()
    gone = False
    poll = _poll(listening, output)
    try:
        with _signals() as signals_fd, _screen(output):
            poll.register(signals_fd, select.POLLIN)
            shown: list[str] = []
            while not gone:
                picture = _picture(tally, output, title)
                _write(output, render_changes(shown, picture))
                shown = picture
                # The clock is the one thing that moves by itself.
                ready = _wait(poll, output, 1 - time.time() % 1)
                if signals_fd in ready:
                    _obey(os.read(signals_fd, 4096), output)
                    shown = []
                if ready:
                    counts, gone = listening.read(SCREEN_SETTLE_SECONDS)
                    tally.add(time.monotonic(), counts)
    finally:
        # The picture has gone with its screen.
        _write(output, f"{title}: {render_summary(tally.total)}\n")


def _picture(tally: Tally, output: TextIO, title: str) -> list[str]:
    clock = datetime.now().astimezone().strftime("%H:%M:%S")
    return render_picture(tally, _read_look(output), title, clock, time.monotonic())


def _poll(listening: Listening, output: TextIO) -> select.poll:
    poll = select.poll()
    for event_fd in listening.descriptors():
        poll.register(event_fd, select.POLLIN)
    # No event is asked for: what comes unasked is that nobody is left to read.
    poll.register(output, 0)
    return poll


def _wait(poll: select.poll, output: TextIO, seconds: float | None) -> list[int]:
    """Return the descriptors that are ready."""
    ready = [fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]
    if output.fileno() in ready:
        raise BrokenPipeError
    return ready


def _read_look(output: TextIO) -> Look:
    columns, rows = os.get_terminal_size(output.fileno())
    # A terminal that was never told its size says 0.
    return Look(columns or 80, rows or 24, not os.environ.get("NO_COLOR"), _has_blocks(output))


def _has_blocks(output: TextIO) -> bool:
    # Python writes UTF-8 where the locale is C; what the terminal reads is better told by the locale.
    try:
        for encoding in (output.encoding, locale.getencoding()):
            "▁█".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Let signals come in at a descriptor; SIGTERM ends the watch as Ctrl-C does."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    wakeup_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    handlers = {
        signal.SIGWINCH: lambda *_: None,
        signal.SIGTSTP: lambda *_: None,
        signal.SIGTERM: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield read_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_fd)
        os.close(read_fd)
        os.close(write_fd)


def _obey(numbers: bytes, output: TextIO) -> None:
    """Do as the signals say, and leave the screen empty."""
    if signal.SIGTSTP in numbers:
        _stop(output)
    else:
        _write(output, "\x1b[2J")


def _stop(output: TextIO) -> None:
    """Stop as Ctrl-Z would, with the shell's screen in place, until somebody continues us."""
    _write(output, _LEAVE)
    # The kernel's own way: it does not stop whom nobody could continue.
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    _write(output, _ENTER)


@contextlib.contextmanager
def _screen(output: TextIO) -> Iterator[None]:
    _write(output, _ENTER)
    try:
        yield
    finally:
        _write(output, _LEAVE)


def _write(output: TextIO, text: str) -> None:
    try:
        output.write(text)
        output.flush()
    except OSError as error:
        if error.errno == errno.EIO:  # a terminal's way to say EPIPE
            raise BrokenPipeError from None
        raise
