"""The registrations once more, as the event path in C keeps them, and the windows that it has told.

Where the source is the kernel, a full window goes to the eventfds through fanout.c and reader.c alone.
Python would come too late: under the pressure that is reported, its turn and its memory are what is missing.

Threads: ``Fanout`` is guarded by the exchange's lock, and C's own mutex lies below that.  ``Reader`` has a
thread in C; ``take`` is the source's thread's.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

from pressurefs._native import ffi, lib
from pressurefs.cgroups.paths import MACHINE, upwards
from pressurefs.errors import Refusal
from pressurefs.events.listeners import Place, Registration
from pressurefs.pressure.levels import Level, Mode, Thresholds, rfc_scale_pages
from pressurefs.signaller.poll import Poller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pressurefs._native import FanoutInC, ListenerInC, PlaceInC

_MODES = {Mode.DEFAULT: lib.PFS_DEFAULT, Mode.HIERARCHY: lib.PFS_HIERARCHY, Mode.LOCAL: lib.PFS_LOCAL}

_TAKEN_AT_ONCE = 256


class Told(NamedTuple):
    """A window that was judged, and told to whoever C can tell.

    ``cgroup``: the inode number of the target of the reclaim, 0 for the machine.  ``listening``: that of the
    nearest cgroup that is listened to.  ``time``: monotonic seconds.  ``priority``: None where that was no
    reason.  ``injected``: of the pages scanned, what stands for the priority.  ``is_told``: not where nobody
    listened there any more when it was to be told.
    """

    time: float
    cgroup: int
    listening: int
    scanned: int
    reclaimed: int
    priority: int | None
    index_percent: int
    level: Level
    injected: int
    is_told: bool


class Fanout:
    """Who listens where, as C sees it.  Lives as long as the process: it has no end."""

    def __init__(self, top: int, *, signals_rings: bool) -> None:
        """``top``: the inode number of the cgroup tree's root, 0 where there is none to listen to.

        ``signals_rings``: whether registrations' handles are rings, which C can signal.
        """
        self._fanout = lib.pfs_fanout_open(top)
        if self._fanout == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        self._signals_rings = signals_rings
        self._places: dict[Place, PlaceInC] = {}
        self._paths: dict[int, str] = {}
        self._by_path: dict[str, PlaceInC] = {}  # of several that had a name, the youngest
        self._listeners: dict[int, ListenerInC] = {}

    def tells(self, registration: Registration) -> bool:
        """Tell whether C signals this one; the others are Python's."""
        return self._signals_rings and not isinstance(registration.handle, Poller)

    def add(self, registration: Registration) -> None:
        """Let a registration hear from here on; Refusal where there is no room for it."""
        ring = registration.handle if self.tells(registration) else ffi.NULL
        key = Place(registration.cgroup, registration.birth)
        is_new = key not in self._places
        place = self._place(key)
        level, mode = registration.level.value, _MODES[registration.mode]
        listener = lib.pfs_place_add(self._fanout, place, ring, level, mode)
        if listener == ffi.NULL:
            if is_new:
                self._leave(key)
            raise Refusal(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._listeners[registration.token] = listener

    def drop(self, registration: Registration) -> None:
        """End it; its handle is not used any more."""
        if not lib.pfs_listener_drop(self._fanout, self._listeners.pop(registration.token)):
            self._leave(Place(registration.cgroup, registration.birth))

    def tune(self, thresholds: Thresholds) -> None:
        """Judge by these from here on."""
        window = min(thresholds.window_pages, lib.PFS_PAGES_MAX)  # 8 TiB: nobody waits for more
        levels = thresholds.medium, thresholds.oom, thresholds.oom_priority
        is_rfc = thresholds.scale_pages is rfc_scale_pages
        lib.pfs_fanout_tune(self._fanout, ffi.new("struct pfs_thresholds *", [window, *levels, is_rfc]))

    def attach(self, listening_fd: int, shared: int) -> None:
        """Keep a BPF program told, by a map and by memory at an address."""
        if lib.pfs_fanout_attach(self._fanout, listening_fd, ffi.cast("void *", shared)) < 0:
            raise OSError(ffi.errno, os.strerror(ffi.errno))

    def detach(self) -> None:
        """Say nothing more to it."""
        lib.pfs_fanout_detach(self._fanout)

    def open_reader(self, ring_fd: int, ring_bytes: int) -> Reader:
        """Tell what comes through a BPF ring buffer, from here on."""
        return Reader(self._fanout, ring_fd, ring_bytes)

    def path_of(self, number: int) -> str | None:
        """Return the path of a cgroup that is listened to, by its number."""
        return self._paths.get(number)

    def _place(self, key: Place) -> PlaceInC:
        place = self._places.get(key)
        if place is not None:
            return place
        place = lib.pfs_fanout_place(self._fanout, key.birth, self._nearest_above(key.cgroup))
        if place == ffi.NULL:
            number = errno.ENOMEM if ffi.errno == errno.ENOMEM else errno.ENFILE
            raise Refusal(number, "no more cgroups can be listened to")
        self._places[key] = self._by_path[key.cgroup] = place
        self._paths[key.birth] = key.cgroup
        self._arrange_below(key.cgroup)
        return place

    def _leave(self, key: Place) -> None:
        place = self._places.pop(key)
        del self._paths[key.birth]
        if self._by_path[key.cgroup] == place:
            del self._by_path[key.cgroup]
        self._arrange_below(key.cgroup)
        lib.pfs_fanout_drop_place(self._fanout, place)

    def _arrange_below(self, cgroup: str) -> None:
        prefix = cgroup.rstrip("/") + "/"
        for key, place in self._places.items():
            if key.cgroup.startswith(prefix) and key.cgroup != cgroup:
                lib.pfs_fanout_set_parent(place, self._nearest_above(key.cgroup))

    def _nearest_above(self, cgroup: str) -> PlaceInC | object:
        above = itertools.islice(upwards(cgroup), 1, None)
        return next((self._by_path[one] for one in above if one in self._by_path), ffi.NULL)


def open_for_all(top: int, thresholds: Thresholds) -> Fanout:
    """Return a fan-out that listens to everything and signals nobody: for who only writes down."""
    fanout = Fanout(top, signals_rings=False)
    fanout.tune(thresholds)
    fanout.add(Registration(1, MACHINE, Level.LOW, Mode.HIERARCHY, os.getuid(), os.getpid(), None))
    return fanout


class Reader:
    """The thread in C that waits for a BPF program.  Lives until closed."""

    def __init__(self, fanout: FanoutInC, ring_fd: int, ring_bytes: int) -> None:
        """Raise OSError where it cannot begin.  ``told_fd`` is readable when there is something to take."""
        self.told_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._taken = ffi.new("struct pfs_told[]", _TAKEN_AT_ONCE)
        self._reader = lib.pfs_reader_open(fanout, ring_fd, ring_bytes, self.told_fd)
        if self._reader == ffi.NULL:
            number = ffi.errno
            os.close(self.told_fd)
            raise OSError(number, os.strerror(number))

    def take(self) -> Iterator[Told]:
        """Yield what was told since the last call, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.told_fd)
        while count := lib.pfs_reader_take(self._reader, self._taken, _TAKEN_AT_ONCE):
            for told in self._taken[0:count]:
                window = told.window
                priority = None if window.priority == lib.PFS_NO_PRIORITY else window.priority
                yield Told(
                    window.time_ns / 1e9,
                    window.cgroup,
                    window.listening,
                    window.scanned,
                    window.reclaimed,
                    priority,
                    told.index_percent,
                    Level(told.level),
                    window.injected,
                    bool(told.is_told),
                )

    def close(self) -> None:
        """End the thread."""
        lib.pfs_reader_close(self._reader)
        os.close(self.told_fd)
