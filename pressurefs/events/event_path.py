# SPDX-License-Identifier: MIT
"""The Python face of the event path in C: who listens goes in, what was judged comes out.

native/event_path.c has the facts.  Nothing here decides: each method is a call of C or two.

Threads: callers exclude each other by the dispatcher's lock; C's lock for the event path lies below that.
``Reader`` has a thread in C.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pressurefs._native import ffi, lib
from pressurefs.errors import Refusal
from pressurefs.pressure.levels import PRIORITY_MAX, Level, Mode, Thresholds, rfc_scale_pages
from pressurefs.pressure.window import Sample, Verdict

if TYPE_CHECKING:
    from pressurefs._native import Aio, EventPathInC, JudgedInC, Pages
    from pressurefs.events.listeners import Listener
    from pressurefs.signaller.target import Target

# As many as can be registered, whatever a machine has of descriptors: 25 MB of address space, memory where
# they are used.
LISTENERS_MAX = 2**18

NOBODY = 2**64 - 1  # no cgroup's inode number

_MODES = {Mode.DEFAULT: lib.PFS_DEFAULT, Mode.HIERARCHY: lib.PFS_HIERARCHY, Mode.LOCAL: lib.PFS_LOCAL}

WINDOWS = 4096  # that history keeps
_READ_AT_ONCE = 256
_PAGES_MAX = 2**63 - 1  # of a window; what fills it at the latest
_NANOSECONDS = 1_000_000_000


class Judged(NamedTuple):
    """A window that was judged, as history has it.

    ``cgroup``: the number of the target of the reclaim.  ``listening``: that of the nearest listened cgroup.
    ``verdict``: its own ``cgroup`` is empty, since C knows no paths.  ``is_sampled``: ``add_sample`` filled
    the window, and not the BPF program.  ``was_walked``: the nearest cgroup still had listeners.
    ``has_silenced``: a ``default`` listener was left out because one below it was signalled.
    """

    cgroup: int
    listening: int
    verdict: Verdict
    is_sampled: bool
    was_walked: bool
    has_silenced: bool


class EventPath:
    """Listeners, windows and history in C.  Lives until closed.

    ``top``: the inode number of the cgroup tree's root, 0 where no cgroup can be listened to.
    """

    def __init__(self, top: int, listeners_max: int = LISTENERS_MAX) -> None:
        """Raise OSError where there is no memory for it."""
        self._path: EventPathInC = lib.pfs_event_path_open(top, listeners_max)
        if self._path == ffi.NULL:
            raise _last_error()
        # Each row with its target, whose memory C points to.
        self._rows: dict[int, tuple[int, Target]] = {}
        self._record = ffi.new("struct pfs_listener *")
        self._read = ffi.new("struct pfs_judged[]", _READ_AT_ONCE)
        self._from = ffi.new("uint64_t *")
        self._lost_error = ffi.new("int *")

    def close(self) -> None:
        """Free the memory; no thread uses the path any more."""
        lib.pfs_event_path_close(self._path)

    def tune(self, thresholds: Thresholds) -> None:
        """Judge by these from here on."""
        window = min(thresholds.window_pages, _PAGES_MAX)
        levels = thresholds.medium, thresholds.oom, thresholds.oom_priority
        is_rfc = thresholds.scale_pages is rfc_scale_pages
        lib.pfs_event_path_tune(self._path, ffi.new("struct pfs_thresholds *", [window, *levels, is_rfc]))

    def use_aio(self, aio: Aio | None) -> None:
        """Signal listeners by AIO through this; None: there are none any more."""
        lib.pfs_event_path_use_aio(self._path, ffi.NULL if aio is None else aio)

    def add(self, listener: Listener, parent: int) -> None:
        """Let a listener hear from here on; Refusal, ENOMEM or ENFILE, where there is no room.

        ``parent``: the number of the nearest listened cgroup above its own, or its own number.
        """
        target = listener.handle.target
        # One record serves all: to make one takes longer than to add it.
        record = self._record
        record.token, record.cgroup = listener.token, listener.birth
        record.level, record.mode = listener.level, _MODES[listener.mode]
        record.uid, record.pid = listener.uid, listener.pid
        record.target, record.fd = target.kind, target.fd
        row = lib.pfs_listeners_add(self._path, record, target.pointer, parent)
        if row < 0:
            raise Refusal(ffi.errno, "no more listeners, or cgroups with listeners, have room")
        self._rows[listener.token] = row, target

    def drop(self, token: int) -> None:
        """Let a listener hear nothing more; its handle is not used any more."""
        row, _target = self._rows.pop(token)
        lib.pfs_listeners_drop(self._path, row, token)

    def end(self, token: int) -> None:
        """Signal a listener for the last time, and drop it: nothing comes between."""
        row, _target = self._rows.pop(token)
        lib.pfs_listeners_end(self._path, row, token)

    def bury(self, token: int) -> None:
        """Let a listener, whose eventfd is closed, hear nothing and silence nobody until it is dropped."""
        lib.pfs_listeners_bury(self._path, self._rows[token][0], token)

    def signals_sent(self, token: int) -> int:
        """Return how often a listener was signalled."""
        return lib.pfs_listeners_signals_sent(self._path, self._rows[token][0], token)

    def set_parent(self, cgroup: int, parent: int) -> None:
        """Say which listened cgroup is the nearest above another; its own number: none."""
        lib.pfs_places_set_parent(self._path, cgroup, parent)

    def warm(self) -> None:
        """Have the kernel allocate what the calling thread needs to signal those who came lately."""
        lib.pfs_event_path_warm(self._path)

    def add_sample(self, pages: Pages, listening: int, sample: Sample, *, is_inherited: bool) -> bool:
        """Add a sample to a cgroup's window, and judge and signal if that is full; return whether it was.

        ``listening``: the number of the nearest listened cgroup, or NOBODY; ``is_inherited``: an ancestor.
        """
        priority = lib.PFS_NO_PRIORITY if sample.priority is None else min(sample.priority, PRIORITY_MAX)
        pages_seen = min(sample.scanned, _PAGES_MAX), min(sample.reclaimed, _PAGES_MAX)
        counted = *pages_seen, priority, _nanoseconds(sample.time)
        return bool(lib.pfs_windows_add(self._path, pages, listening, is_inherited, *counted))

    def inject(self, number: int, listening: int, verdict: Verdict, *, is_inherited: bool) -> None:
        """Signal a level that no window was judged for; ``number`` is the cgroup's in history."""
        judged = verdict.level.value, _nanoseconds(verdict.time)
        lib.pfs_windows_inject(self._path, number, listening, is_inherited, *judged)

    def head(self) -> int:
        """Return the number that the next window in history will have; the first had 0."""
        return lib.pfs_history_head(self._path)

    def read(self, start: int) -> tuple[list[Judged], int]:
        """Return the windows from a number on, oldest first, and the number after the last of them.

        The last 4,096 are there; a number before these means the oldest.
        """
        self._from[0] = start
        judged: list[Judged] = []
        count = _READ_AT_ONCE
        while count == _READ_AT_ONCE:
            count = lib.pfs_history_read(self._path, self._from, self._read, _READ_AT_ONCE)
            judged += map(_judged, self._read[0:count])
        return judged, self._from[0]

    def read_all(self) -> list[Judged]:
        """Return all windows that history has, oldest first; callers need not exclude each other."""
        whole = ffi.new("struct pfs_judged[]", WINDOWS)
        count = lib.pfs_history_read(self._path, ffi.new("uint64_t *"), whole, WINDOWS)
        return [_judged(one) for one in whole[0:count]]

    def walk_again(self, start: int) -> None:
        """Signal those whom buried listeners have silenced in the windows from a number on."""
        lib.pfs_walk_again(self._path, start)

    def take_lost(self) -> tuple[int, str] | None:
        """Return how many signals were lost since the last call, and why the last one was; None: none."""
        lost = lib.pfs_event_path_take_lost(self._path, self._lost_error)
        return (lost, os.strerror(self._lost_error[0])) if lost else None

    def attach(self, listening_fd: int, shared: int) -> None:
        """Keep a BPF program informed, by a map and by memory at an address."""
        if lib.pfs_event_path_attach(self._path, listening_fd, ffi.cast("void *", shared)) < 0:
            raise _last_error()

    def detach(self) -> None:
        """Inform it no more."""
        lib.pfs_event_path_detach(self._path)

    def open_reader(self, map_fd: int, ring_bytes: int, wait_fd: int | None = None) -> Reader:
        """Take windows from a BPF ring buffer from here on; tests poll ``wait_fd`` in its place."""
        return Reader(self._path, map_fd, map_fd if wait_fd is None else wait_fd, ring_bytes)


class Reader:
    """The thread in C that reads a ring buffer.  Lives until closed."""

    def __init__(self, path: EventPathInC, map_fd: int, wait_fd: int, ring_bytes: int) -> None:
        """Raise OSError where it cannot begin.  ``told_fd`` is readable once windows were judged."""
        self.told_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reader = lib.pfs_reader_open(path, map_fd, wait_fd, ring_bytes, self.told_fd)
        if self._reader == ffi.NULL:
            error = _last_error()
            os.close(self.told_fd)
            raise error

    def was_told(self) -> bool:
        """Tell whether windows were judged since the last call."""
        with contextlib.suppress(BlockingIOError):
            return os.eventfd_read(self.told_fd) > 0
        return False

    def close(self) -> None:
        """End the thread."""
        lib.pfs_reader_close(self._reader)
        os.close(self.told_fd)


def new_pages(number: int) -> Pages:
    """Return an empty window; ``number`` is the cgroup's in history."""
    return ffi.new("struct pfs_pages *", [number, 0, 0])


def _judged(one: JudgedInC) -> Judged:
    flags = one.flags
    verdict = Verdict(
        one.time_ns / _NANOSECONDS,
        "",
        one.scanned,
        one.reclaimed,
        None if one.priority == lib.PFS_NO_PRIORITY else one.priority,
        None if one.index_percent == lib.PFS_NO_INDEX else one.index_percent,
        Level(one.level),
        one.injected,
    )
    return Judged(
        one.cgroup,
        one.listening,
        verdict,
        bool(flags & lib.PFS_SAMPLED),
        bool(flags & lib.PFS_WALKED),
        bool(flags & lib.PFS_SILENCED),
    )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANOSECONDS)


def _last_error() -> OSError:
    number = ffi.errno or errno.ENOMEM
    return OSError(number, os.strerror(number))
