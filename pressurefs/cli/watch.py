# SPDX-License-Identifier: MIT
"""``watch``: show events as they come, until the mount or the cgroup ends.

Registers like any application, an eventfd for each level, waits and reads.  What is shown is rendered in
``screen``; the state of a terminal is in ``terminal``.

One thread.  In a terminal, signals come in through a pipe that is waited on together with the eventfds, so
that no signal finds the screen half drawn.
"""

from __future__ import annotations

import os
import select
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

from pressurefs import client, exitcodes
from pressurefs.cli import screen, terminal
from pressurefs.cli.mounts import end_of, find_mount
from pressurefs.cli.tally import HIGHEST_FIRST, LevelCounts, Separation, Tally
from pressurefs.exitcodes import or_exit
from pressurefs.pressure.levels import Level

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

    from pressurefs.cli.arguments import Subparsers

_DESCRIPTION = """
Show events as they come, each once, at its own level.  In a terminal: a live picture.  In a pipe or a file:
a line "TIME LEVEL +COUNT" for each level that had events in the last 20 ms, the highest level first; TIME
is ISO 8601 with milliseconds and without blanks.  It ends at Ctrl-C with exit code 0, at the unmount with
7.  Whoever watches a cgroup listens to it, so its ancestors' listeners of mode default then hear less.
"""

# From the first signal of a batch until it is read.  The daemon adds to thousands of eventfds within 5 ms, so
# by then an event has come to all three of ours.  It also bounds the lines and the pictures per second.
_LINES_SETTLE_SECONDS = 0.02
_SCREEN_SETTLE_SECONDS = 0.1


def add_parsers(subparsers: Subparsers) -> None:
    """Add the parser of watch."""
    parser = subparsers.add_parser("watch", help="show events as they come", description=_DESCRIPTION)
    parser.set_defaults(command=watch)
    parser.add_argument("--cgroup", metavar="/C", help="default: the whole machine")


def watch(parsed: argparse.Namespace) -> int:
    """Show events until Ctrl-C or SIGTERM, then return DONE.

    Raises Exit: NOT_A_PRESSUREFS_MOUNT where there is no mount or at its unmount, UNEXPECTED where a
    registration is refused or at the removal of the cgroup.  Raises BrokenPipeError where nobody reads
    stdout any more.
    """
    mount = find_mount()
    control = client.control_path(mount, parsed.cgroup)
    try:
        with or_exit(exitcodes.UNEXPECTED, f"register in {control}"):
            listeners = Listeners(mount, parsed.cgroup)
        if terminal.can_show_pictures(sys.stdout):
            _watch_on_screen(listeners, sys.stdout, str(control.parent))
        else:
            _watch_in_lines(listeners, sys.stdout)
    except KeyboardInterrupt:
        return exitcodes.DONE
    raise end_of(mount, control)


class Listeners:
    """An eventfd for each level, registered.  Lives until ``close``."""

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

    def event_fds(self) -> list[int]:
        """Return the eventfds, which an event or the end makes readable."""
        return list(self._event_fds.values())

    def read(self, settle_seconds: float) -> tuple[LevelCounts, bool]:
        """Return the events of a batch that has just begun, and whether it was the last batch.

        The end signals each eventfd once more, and the path is gone before that signal.  So the path is
        checked after a reading, and if it is gone the eventfds are read once more: the end cannot be missed.
        """
        time.sleep(settle_seconds)
        events = self._separation.add(self._read())
        if not self._is_gone():
            return events, False
        time.sleep(settle_seconds)
        last = self._separation.add(self._read())
        events = LevelCounts(*map(sum, zip(events, last, strict=True)))
        # The end signals all three eventfds, as an oom event does: it is no event.
        return events._replace(oom=max(0, events.oom - 1)), True

    def _read(self) -> LevelCounts:
        # The daemon adds to the lowest level first.  Read from the highest down, so that an event is never
        # taken for an event of a higher level.
        counts = {level: client.wait(self._event_fds[level], 0) or 0 for level in HIGHEST_FIRST}
        return LevelCounts(*(counts[level] for level in Level))

    def _is_gone(self) -> bool:
        try:
            os.stat(self._control)
        except FileNotFoundError:
            return True
        except OSError:
            # For example ENOTCONN: the daemon died and signals nothing.  It may be started again.
            return False
        return False


def _watch_in_lines(listeners: Listeners, output: TextIO) -> None:
    """Write lines until the mount or the cgroup is gone."""
    poll = _poll(listeners, output)
    gone = False
    while not gone:
        _wait(poll, output, None)
        moment = datetime.now().astimezone()
        counts, gone = listeners.read(_LINES_SETTLE_SECONDS)
        terminal.write(output, screen.render_lines(moment, counts))


def _watch_on_screen(listeners: Listeners, output: TextIO, title: str) -> None:
    """Draw pictures until the mount or the cgroup is gone; at any end write a line of the totals."""
    tally = Tally()
    gone = False
    poll = _poll(listeners, output)
    try:
        with terminal.signal_pipe() as signals_fd, terminal.other_screen(output):
            poll.register(signals_fd, select.POLLIN)
            shown: list[str] = []
            while not gone:
                picture = _picture(tally, output, title)
                terminal.write(output, screen.render_changes(shown, picture))
                shown = picture
                # Until the next full second: without an event only the clock changes.
                ready = _wait(poll, output, 1 - time.time() % 1)
                if signals_fd in ready:
                    terminal.obey_signals(os.read(signals_fd, 4096), output)
                    shown = []
                if ready:
                    counts, gone = listeners.read(_SCREEN_SETTLE_SECONDS)
                    tally.add(time.monotonic(), counts)
    finally:
        # The picture was on the other screen, which is gone.
        terminal.write(output, f"{title}: {screen.render_summary(tally.total)}\n")


def _picture(tally: Tally, output: TextIO, title: str) -> list[str]:
    clock = time.strftime("%H:%M:%S")
    return screen.render_picture(tally, terminal.read_terminal(output), title, clock, time.monotonic())


def _poll(listeners: Listeners, output: TextIO) -> select.poll:
    poll = select.poll()
    for event_fd in listeners.event_fds():
        poll.register(event_fd, select.POLLIN)
    # No event is asked for.  POLLERR and POLLHUP are reported in any case: nobody reads the output any more.
    poll.register(output, 0)
    return poll


def _wait(poll: select.poll, output: TextIO, seconds: float | None) -> list[int]:
    """Return the descriptors that are ready; raise BrokenPipeError where nobody reads ``output`` any more."""
    ready = [fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]
    if output.fileno() in ready:
        raise BrokenPipeError
    return ready
