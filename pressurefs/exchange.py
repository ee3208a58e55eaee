"""Events on one side, listeners on the other: everything that the one lock guards.

The lock is held for table look-ups, for signals and for lines of log, none of which ever blocks; never
while /proc is read or a descriptor is taken.  Three threads meet here: the FUSE loop (registrations, the
debug directory), the source's thread (samples) and the main thread (the end).
"""

import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

from pressurefs.engine import MACHINE, Engine
from pressurefs.levels import Thresholds
from pressurefs.poller import Poller
from pressurefs.protocol import Injection
from pressurefs.registry import Place, Registration, Registry
from pressurefs.signaller import Signaller
from pressurefs.tunables import Tunables
from pressurefs.window import Sample, Verdict

_log = logging.getLogger("pressurefs.exchange")

# A sweep of a thousand registrations takes half a millisecond: this often is 0.5 % of a core, under pressure.
FRESH_SECONDS = 0.1


class Listener(NamedTuple):
    """A registration and how often it was signalled, for people to read."""

    registration: Registration
    signals_sent: int


class Exchange:
    """Connects verdicts with registrations.  Lives as long as the mount."""

    def __init__(
        self, profile: Thresholds, signaller: Signaller, on_sampled: Callable[[], None] = lambda: None
    ) -> None:
        """``on_sampled`` is called when samples of another cgroup are wanted; it must not block."""
        self._on_sampled = on_sampled
        self._swept = float("-inf")
        self._sampled: frozenset[Place] | None = None  # where what was returned last is not true any more
        self._lock = threading.Lock()
        self._signaller = signaller
        self._tunables = Tunables(profile)
        self._registry = Registry()
        self._engine = Engine(self._registry, self._tunables)

    def feed(self, samples: Sequence[Sample]) -> None:
        """Judge what a source saw, and signal."""
        self._bury_the_dead(sample.cgroup for sample in samples)
        with self._lock:
            for sample in samples:
                self._signal(self._engine.feed(sample))

    def inject(self, injection: Injection, now: float) -> None:
        """Judge what a person wrote in place of the kernel, and signal.  ``now``: monotonic seconds."""
        if injection.level is None:
            pages = injection.scanned, injection.reclaimed, injection.priority
            self.feed([Sample(now, injection.cgroup, *pages)])
            return
        verdict = Verdict(now, injection.cgroup, 0, 0, None, None, injection.level)
        self._bury_the_dead([verdict.cgroup])
        with self._lock:
            self._signal(self._engine.judge(verdict))

    def add(self, registration: Registration) -> None:
        """Let a registration hear from here on."""
        with self._lock:
            cgroups = len(self._registry.sampled())
            self._registry.add(registration)
            if len(self._registry.sampled()) == cgroups:
                return
            self._sampled = None
        self._on_sampled()

    def sampled(self) -> frozenset[Place]:
        """Return the cgroups whose limits somebody hears of; "/" stands for the limits of all others.

        It is the same object until a cgroup comes or goes.
        """
        with self._lock:
            if self._sampled is None:
                self._sampled = frozenset(self._registry.sampled())
            return self._sampled

    def held_by(self, uid: int) -> int:
        """Return how many registrations a user holds, dead ones that were not swept included."""
        with self._lock:
            return self._registry.held_by(uid)

    def sweep(self) -> int:
        """End the registrations whose eventfd has no holder left; return how many live on."""
        with self._lock:
            known = {one.token for one in self._registry if not isinstance(one.handle, Poller)}
            known |= self._registry.lingering()
        self._swept = time.monotonic()
        if not known:
            return 0
        # Not under the lock: with thousands of rows this takes milliseconds.
        gone = self._signaller.gone(known)
        with self._lock:
            self._drop(gone, with_eventfd=True)
            self._registry.let_go(gone)
            return len(self._registry)

    def end(self, token: int) -> None:
        """End one registration, whose file was closed."""
        with self._lock:
            self._drop([token])

    def listened(self) -> frozenset[str]:
        """Return the cgroups that have registrations."""
        with self._lock:
            return self._registry.cgroups()

    def births(self, cgroup: str) -> set[int]:
        """Return the inode numbers of the cgroups that were registered with under a name."""
        with self._lock:
            return self._registry.births(cgroup)

    def end_removed(self, cgroup: str, births: Container[int]) -> None:
        """Signal once, and end, the registrations with the cgroups that had this name and these numbers."""
        with self._lock:
            removed = self._registry.born(cgroup, births)
            if removed:
                self._engine.forget(cgroup)
                self._signal(removed)
                self._drop(one.token for one in removed)

    def end_all(self) -> None:
        """Signal every registration once, and end them: what the kernel does when a cgroup goes."""
        with self._lock:
            self._signal(list(self._registry))
            self._drop(self._registry.tokens())

    def tune(self, setting: Callable[[Tunables, int], None], value: int) -> None:
        """Turn one of the tunables; ValueError where the value is out of range."""
        with self._lock:
            setting(self._tunables, value)

    def tuned(self) -> tuple[int, Thresholds]:
        """Return the sensitivity and the thresholds in force."""
        with self._lock:
            return self._tunables.sensitivity, self._tunables.thresholds

    def history(self) -> list[Verdict]:
        """Return the last verdicts, oldest first."""
        with self._lock:
            return list(self._engine.history)

    def listeners(self) -> list[Listener]:
        """Return who listens, in the order of registration."""
        with self._lock:
            return [Listener(one, self._signals_sent(one.handle)) for one in self._registry]

    def _bury_the_dead(self, cgroups: Iterable[str]) -> None:
        """Sweep before an event of a cgroup, if none was just now.

        A dead listener would be taken for one that heard, and keep ``default`` ones above it from hearing.
        """
        if any(cgroup != MACHINE for cgroup in cgroups) and time.monotonic() - self._swept > FRESH_SECONDS:
            try:
                self.sweep()
            except OSError as error:
                _log.warning("sweep: %s", error.strerror)

    def _signals_sent(self, handle: Any) -> int:
        return handle.signals_sent if isinstance(handle, Poller) else self._signaller.signals_sent(handle)

    def _signal(self, registrations: list[Registration]) -> None:
        rings = []
        for registration in registrations:
            if isinstance(registration.handle, Poller):
                registration.handle.signal()
            else:
                rings.append(registration.handle)
        if rings:
            self._signaller.signal(rings)

    def _drop(self, tokens: Iterable[int], *, with_eventfd: bool = False) -> None:
        cgroups = len(self._registry.sampled())
        ended = self._registry.remove(tokens)
        if len(self._registry.sampled()) != cgroups:
            self._sampled = None
        for cgroup in {one.cgroup for one in ended} - {MACHINE}:
            if not self._registry.births(cgroup):
                self._engine.forget(cgroup)
        for registration in ended:
            if isinstance(registration.handle, Poller):
                registration.handle.end()
            elif self._signaller.drop(registration.handle) and not with_eventfd:
                self._registry.linger(registration)
