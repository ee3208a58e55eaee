# SPDX-License-Identifier: MIT
"""The terminal that ``watch`` draws on: its size, its other screen, and the signals that concern it.

Owns escape sequences that change the state of the terminal, and what a signal does to it.  What stands on the
screen is in ``screen``.

Threading: the main thread alone, as Python requires of handlers of signals.
"""

from __future__ import annotations

import contextlib
import errno
import locale
import os
import signal
from typing import TYPE_CHECKING, TextIO

from pressurefs.cli.screen import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

# To the terminal's other screen, on which lines are not wrapped and the cursor is hidden; and back to the
# shell's screen.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


def can_show_pictures(output: TextIO) -> bool:
    """Return whether ``output`` is a terminal that understands escape sequences, as $TERM says."""
    return output.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def read_terminal(output: TextIO) -> Terminal:
    """Return what the terminal can show at this moment; $NO_COLOR, if not empty, forbids colours."""
    columns, rows = os.get_terminal_size(output.fileno())
    # A terminal whose size was never set reports 0.
    return Terminal(columns or 80, rows or 24, not os.environ.get("NO_COLOR"), _has_blocks(output))


def _has_blocks(output: TextIO) -> bool:
    # Python writes UTF-8 where the locale is C; the locale is the better sign of what the terminal reads.
    try:
        for encoding in (output.encoding, locale.getencoding()):
            "▁█".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def other_screen(output: TextIO) -> Iterator[None]:
    """Switch to the terminal's other screen, empty; back to the shell's at the end of the with block."""
    write(output, _ENTER)
    try:
        yield
    finally:
        write(output, _LEAVE)


@contextlib.contextmanager
def signal_pipe() -> Iterator[int]:
    """Open a pipe from which the numbers of SIGWINCH, SIGTSTP and others are read, a byte each.

    It can be waited on together with the eventfds, so that no signal acts while a picture is half drawn.
    SIGTERM raises KeyboardInterrupt, as Ctrl-C does.  At the end of the with block handlers are as before.
    """
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


def obey_signals(numbers: bytes, output: TextIO) -> None:
    """Do what the signals ask for: stop at SIGTSTP; leave the screen empty in any case."""
    if signal.SIGTSTP in numbers:
        _stop(output)
    else:
        write(output, "\x1b[2J")


def _stop(output: TextIO) -> None:
    """Stop as Ctrl-Z does, with the shell's screen in place, until SIGCONT."""
    write(output, _LEAVE)
    # By the kernel's default action: it does not stop a process that nobody could continue.
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    write(output, _ENTER)


def write(output: TextIO, text: str) -> None:
    """Write and flush; raises BrokenPipeError where nobody reads any more, and other errors of write(2)."""
    try:
        output.write(text)
        output.flush()
    except OSError as error:
        if error.errno == errno.EIO:  # what a terminal answers where a pipe answers EPIPE
            raise BrokenPipeError from None
        raise
