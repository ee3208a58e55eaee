# SPDX-License-Identifier: MIT
"""Notices that a cgroup was removed, and tells its listeners: one signal each, and the end.

Only cgroups with registrations are watched, each by its parent: inotify says nothing of a directory that
is itself removed, and in the parent it comes at once.  What an event says is a hint; the tree decides.
By the time that a listener is awake the path is gone here, too, since look-ups ask that tree.

Threads: ``follow`` and ``end_if_gone`` are the FUSE thread's, ``run`` has a thread of its own, ``prune`` is
the main thread's.
"""

import contextlib
import ctypes
import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from pressurefs.cgroups.paths import MACHINE, parent_of
from pressurefs.cgroups.tree import Cgroup, CgroupRoot
from pressurefs.errors import Refusal, refusal_of
from pressurefs.events.dispatcher import Dispatcher

_log = logging.getLogger("pressurefs.events.cgroup_removals")

_IN_MOVED_FROM = 0x40
_IN_DELETE = 0x200
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x1000000
_WATCHED = _IN_DELETE | _IN_MOVED_FROM | _IN_ONLYDIR

_EVENT = struct.Struct("=iIII")  # struct inotify_event: wd, mask, cookie, length of the name
_READ_BYTES = 65536

# A watch that nobody needs is kept so long: whoever has just asked for it registers a moment later.
_LINGER_SECONDS = 10.0


class _Watch(NamedTuple):
    """A directory that is watched for its children, and when that was last asked for."""

    parent: str
    followed: float


class Removals:
    """The watches on a cgroup tree.  Lives as long as the mount."""

    def __init__(self, cgroups: CgroupRoot, dispatcher: Dispatcher) -> None:
        """Raise OSError where the user has no inotify instance left."""
        self._cgroups = cgroups
        self._dispatcher = dispatcher
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_CLOEXEC)
        if self._fd < 0:
            raise _last_error("inotify")
        self._lock = threading.Lock()
        self._watches: dict[int, _Watch] = {}
        self._by_parent: dict[str, int] = {}
        self._unsure: set[str] = set()

    def fileno(self) -> int:
        """Return the descriptor that is read."""
        return self._fd

    def require(self, cgroup: Cgroup) -> None:
        """Refuse with ENODEV what was removed, even if the name is used again."""
        try:
            inode = self._cgroups.inode_of(cgroup.path)
        except OSError as error:
            raise refusal_of(error) from None
        if inode != cgroup.inode:
            raise _removed()

    def follow(self, cgroup: Cgroup) -> None:
        """Watch a cgroup from here on; refuse with ENODEV what was removed, or with our own shortage."""
        parent = parent_of(cgroup.path)
        try:
            fd = self._cgroups.open(parent, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            raise _removed() from None
        except OSError as error:
            raise refusal_of(error) from None
        try:
            with self._lock:
                watch = self._libc.inotify_add_watch(self._fd, f"/proc/self/fd/{fd}".encode(), _WATCHED)
                if watch < 0:
                    raise _watch_refusal()
                self._watches[watch] = _Watch(parent, time.monotonic())
                # The directory that had this name before tells nothing of its own removal.
                before = self._by_parent.get(parent, watch)
                if before != watch:
                    self._give_up(before)
                self._by_parent[parent] = watch
        finally:
            os.close(fd)

    def end_if_gone(self, path: str) -> None:
        """End the registrations of this name that are not of the cgroup which has it now.

        Of those that were there before the look, since one that comes later may be with a cgroup that is
        newer than the look.  OSError where nothing can be seen.
        """
        known = self._dispatcher.births(path)
        gone = known - {self._cgroups.inode_of(path)} if known else known
        if gone:
            self._dispatcher.end_removed(path, gone)

    def end_where_nothing_is_heard(self) -> None:
        """End the listeners of cgroups whose reclaim no source counts any more, as if they were removed."""
        for path in self._dispatcher.listened() - {MACHINE}:
            with contextlib.suppress(OSError):
                if not self._cgroups.look_up(path).has_reclaim:
                    self._dispatcher.end_removed(path, self._dispatcher.births(path))

    def run(self) -> None:
        """Wait for removals, for ever."""
        while True:
            events = os.read(self._fd, _READ_BYTES)
            at = 0
            while at < len(events):
                watch, mask, _, length = _EVENT.unpack_from(events, at)
                at += _EVENT.size
                name = events[at : at + length].rstrip(b"\0")
                at += length
                self._note(watch, mask, os.fsdecode(name))

    def prune(self, listened: AbstractSet[str], now: float) -> None:
        """Give up the watches that no listened cgroup needs.  ``now``: monotonic seconds.

        Also looks again where a removal could not be told before.
        """
        for path in [self._unsure.pop() for _ in range(len(self._unsure))]:
            self._end_if_seen_gone(path)
        needed = {parent_of(path) for path in listened}
        with self._lock:
            for watch, (parent, followed) in list(self._watches.items()):
                if parent not in needed and now - followed > _LINGER_SECONDS:
                    self._give_up(watch)

    def _note(self, watch: int, mask: int, name: str) -> None:
        if mask & _IN_Q_OVERFLOW:
            for path in self._dispatcher.listened():
                self._end_if_seen_gone(path)
            return
        with self._lock:
            known = self._watches.get(watch)
            if known is not None and mask & _IN_IGNORED:
                self._give_up(watch)  # a plain directory that is gone; the kernel has given it up already
        if known is None or not name:
            return
        path = f"{known.parent.rstrip('/')}/{name}"
        self._end_if_seen_gone(path)

    def _end_if_seen_gone(self, path: str) -> None:
        try:
            self.end_if_gone(path)
        except OSError as error:
            _log.warning("%s: cannot be looked at: %s", path, error.strerror)
            self._unsure.add(path)

    def _give_up(self, watch: int) -> None:
        self._libc.inotify_rm_watch(self._fd, watch)
        parent = self._watches.pop(watch).parent
        if self._by_parent.get(parent) == watch:
            del self._by_parent[parent]


def _removed() -> Refusal:
    return Refusal(errno.ENODEV, "the cgroup was removed")


def _watch_refusal() -> OSError:
    error = _last_error("inotify")
    if error.errno == errno.ENOSPC:
        return Refusal(errno.ENOMEM, "fs.inotify.max_user_watches is used up")
    return error


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
