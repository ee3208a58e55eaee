# SPDX-License-Identifier: MIT
"""Samples on one side, listeners on the other: all that the one lock guards.

The lock is held for table look-ups, for calls of the event path in C and for lines of log, none of which ever
blocks; never while /proc is read or an eventfd is taken.  Four threads meet here: the FUSE thread
(registrations, the debug directory), the source's, the one that waits for removed cgroups, and the main one
(sweeps, the end).  The thread in C that reads the BPF program's windows does not: it takes only C's lock.

This file is longer than others because each method that takes the lock is here; what they do under it is in
``windows``, ``listeners``, ``listened_cgroups``, ``history`` and ``event_path``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pressurefs.events.event_path import WINDOWS
from pressurefs.events.history import History
from pressurefs.events.listened_cgroups import ListenedCgroups
from pressurefs.events.listeners import Holdings, Listener, Listeners, Place
from pressurefs.events.windows import Windows
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.signaller.poll import Poller

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from pressurefs.cgroups.tree import CgroupRoot
    from pressurefs.events.event_path import EventPath
    from pressurefs.pressure.levels import Thresholds
    from pressurefs.signaller.signaller import Signaller

_log = logging.getLogger("pressurefs.dispatcher")

# A sweep of a thousand listeners takes half a millisecond.  Where events want one it comes at once, and the
# next after this many times as long as it took: 1 % of a core at most, under pressure.
REST_PER_SWEEP = 100

_RETRY_SECONDS = 1.0  # a sweep that failed is not tried again at each event


class Listening(NamedTuple):
    """A listener and how often it was signalled, for people to read."""

    listener: Listener
    signals_sent: int


class Dispatcher:
    """Connects samples with listeners.  Lives as long as the mount."""

    def __init__(
        self,
        profile: Thresholds,
        event_path: EventPath,
        signaller: Signaller,
        cgroups: CgroupRoot | None = None,
        on_sampled: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_sampled`` is called when samples of another cgroup are wanted; it must not block.

        ``cgroups``: the tree by which windows of cgroups without listeners get their paths.
        """
        self._event_path = event_path
        self._signaller = signaller
        self._on_sampled = on_sampled
        self._lock = threading.Lock()
        self._tunables = Tunables(profile)
        self._listeners = Listeners()
        self._listened = ListenedCgroups()
        self._history = History(event_path, self._listened, cgroups)
        self._windows = Windows(event_path, self._listened, self._history)
        self._sampled: frozenset[Place] | None = None  # None: not what was returned last
        self._filled: deque[Verdict] = deque(maxlen=WINDOWS)  # by the BPF program; for a trace
        self._sweep_at = 0.0  # not before this time, if only events want a sweep
        self._swept_windows = 0  # windows before this one were judged before the last sweep
        self._is_doubtful = False  # a default listener was left out, maybe for a dead one below it
        event_path.tune(profile)
        event_path.use_aio(signaller.aio)

    def feed(self, samples: Iterable[Sample]) -> None:
        """Add samples to the windows of their cgroups, and signal where that fills them.

        ``take_windows`` does what has time until then.
        """
        with self._lock:
            for sample in samples:
                self._windows.feed(sample)

    def inject(self, injected: Sample | Verdict) -> None:
        """Feed a sample, or signal a verdict that nobody judged: a person wrote it."""
        with self._lock:
            if isinstance(injected, Sample):
                self._windows.feed(injected)
            else:
                self._windows.inject(injected)
        self._examine()

    def take_windows(self) -> list[Verdict]:
        """Return the windows that the BPF program filled since the last call, oldest first."""
        self._examine()
        with self._lock:
            windows = list(self._filled)
            self._filled.clear()
            return windows

    def next_sweep(self) -> float:
        """Return the monotonic time of the next sweep that an event wants, infinity where none does."""
        return self._sweep_at if self._is_doubtful else math.inf

    def warm(self) -> None:
        """Prepare the calling thread, which feeds, for those who came lately."""
        self._event_path.warm()

    def add(self, listener: Listener) -> None:
        """Let a listener hear from here on; Refusal where there is no room for it."""
        with self._lock:
            changes = self._listeners.changes
            path, number = listener.cgroup, listener.birth
            is_known = self._listened.is_known(path, number)
            parent = number if is_known else self._listened.parent_of(path, number)
            try:
                self._event_path.add(listener, parent)
            except OSError:
                self._let_go_of(listener)
                raise
            self._listened.count(number)
            if not is_known:
                self._listened.name(path, number)
                self._event_path.set_parent(number, parent)
                for below, above in self._listened.parents_below(path):
                    self._event_path.set_parent(below, above)
            self._listeners.add(listener)
            if self._listeners.changes == changes:
                return
            self._sampled = None
        self._on_sampled()

    def sampled(self) -> frozenset[Place]:
        """Return the cgroups whose limits a listener hears of; "/" stands for the limits of all others.

        It is the same object until a cgroup comes or goes.
        """
        with self._lock:
            if self._sampled is None:
                self._sampled = frozenset(self._listeners.sampled())
            return self._sampled

    def held_by(self, uid: int) -> Holdings:
        """Return what a user holds, dead listeners that were not swept included."""
        with self._lock:
            return self._listeners.held_by(uid)

    def sweep(self) -> int:
        """End the listeners whose eventfd has no holder left; return how many live on."""
        began = time.thread_time()
        with self._lock:
            known = {one.token for one in self._listeners if not isinstance(one.handle, Poller)}
            known |= self._listeners.lingering()
            windows = self._event_path.head()
            self._is_doubtful = False
        # Not under the lock: with thousands of rows this takes milliseconds.
        try:
            gone = self._signaller.gone(known)
        except OSError:
            self._is_doubtful = True
            raise
        with self._lock:
            self._end_dead(gone)
            self._swept_windows = windows
            self._sweep_at = time.monotonic() + REST_PER_SWEEP * (time.thread_time() - began)
            return len(self._listeners)

    def end(self, token: int) -> None:
        """End one listener, whose open file was closed."""
        with self._lock:
            listener = self._listeners.find(token)
            if listener is not None:
                self._drop(listener)

    def listened(self) -> frozenset[str]:
        """Return the paths of the cgroups that have listeners."""
        with self._lock:
            return self._listeners.cgroups()

    def births(self, cgroup: str) -> set[int]:
        """Return the inode numbers of the cgroups of this path that have listeners."""
        with self._lock:
            return self._listeners.births(cgroup)

    def end_removed(self, cgroup: str, births: Container[int]) -> None:
        """Signal once, and end, the listeners of the cgroups that had this path and these numbers."""
        with self._lock:
            removed = self._listeners.born(cgroup, births)
            if removed:
                self._windows.forget(cgroup)
                self._end_with_a_signal(removed)

    def end_all(self) -> None:
        """Signal every listener once, and end it: what the kernel does when a cgroup goes."""
        with self._lock:
            self._end_with_a_signal(list(self._listeners))

    def tune(self, setting: Callable[[Tunables, int], None], value: int) -> None:
        """Change one of the tunables; ValueError where the value is out of range."""
        with self._lock:
            setting(self._tunables, value)
            self._event_path.tune(self._tunables.thresholds)

    def tuned(self) -> tuple[int, Thresholds]:
        """Return the sensitivity and the thresholds in force."""
        with self._lock:
            return self._tunables.sensitivity, self._tunables.thresholds

    def history(self) -> list[Verdict]:
        """Return the last verdicts, oldest first."""
        with self._lock:
            self._take_in()
        return self._history.read()

    def listeners(self) -> list[Listening]:
        """Return the listeners, in the order of registration."""
        with self._lock:
            return [Listening(one, self._event_path.signals_sent(one.token)) for one in self._listeners]

    def _examine(self) -> None:
        """Do what the windows since the last time ask for: a trace, a report of lost signals, a sweep."""
        with self._lock:
            self._take_in()
            lost = self._event_path.take_lost()
        if lost is not None:
            _log.error("%d signals were lost: %s", *lost)
        if self._is_doubtful and self._sweep_at <= time.monotonic():
            self._try_to_sweep()

    def _take_in(self) -> None:
        """Take note of the windows since the last time; the lock is held.

        Where a window's listened cgroup had gone before, the window is judged once more, for the next above.
        """
        for one in self._history.take():
            self._is_doubtful = self._is_doubtful or one.has_silenced
            if one.is_sampled:
                continue
            self._filled.append(one.verdict)
            if not one.was_walked:
                self._windows.feed_again(one)

    def _try_to_sweep(self) -> None:
        try:
            self.sweep()
        except OSError as error:
            _log.warning("sweep: %s", error.strerror)
            self._sweep_at = time.monotonic() + _RETRY_SECONDS

    def _end_dead(self, gone: set[int]) -> None:
        dead = [one for one in map(self._listeners.find, gone) if one is not None]
        if dead and self._event_path.head() > self._swept_windows:
            # A dead listener counted as one that heard, and kept events from `default` ones above it.
            for one in dead:
                self._event_path.bury(one.token)
            self._event_path.walk_again(self._swept_windows)
        for one in dead:
            self._drop(one, with_eventfd=True)
        self._listeners.let_go(gone)

    def _end_with_a_signal(self, listeners: Sequence[Listener]) -> None:
        for one in listeners:
            self._event_path.end(one.token)
            self._forget(one)

    def _drop(self, listener: Listener, *, with_eventfd: bool = False) -> None:
        self._event_path.drop(listener.token)
        self._forget(listener, with_eventfd=with_eventfd)

    def _forget(self, ended: Listener, *, with_eventfd: bool = False) -> None:
        """Strike a listener off the books; the event path does not know it any more."""
        changes = self._listeners.changes
        self._listeners.remove(ended.token)
        if self._listeners.changes != changes:
            self._sampled = None
        self._listened.remove(ended.birth)
        if not self._listeners.has(ended.cgroup):
            self._windows.forget(ended.cgroup)
        self._let_go_of(ended, with_eventfd=with_eventfd)

    def _let_go_of(self, listener: Listener, *, with_eventfd: bool = False) -> None:
        if isinstance(listener.handle, Poller):
            return
        if self._signaller.drop(listener.handle) and not with_eventfd:
            self._listeners.linger(listener)
