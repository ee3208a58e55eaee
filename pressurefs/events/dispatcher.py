"""Events on one side, listeners on the other: everything that the one lock guards.

The lock is held for table look-ups, for signals and for lines of log, none of which ever blocks; never
while /proc is read or a descriptor is taken.  Four threads meet here: the FUSE loop (registrations, the
debug directory), the pump (samples), that of removals, and the main thread (sweeps, the end).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pressurefs.cgroups.paths import MACHINE
from pressurefs.events.engine import Engine
from pressurefs.events.listeners import Holdings, Place, Registration, Registry
from pressurefs.pressure.tunables import Tunables
from pressurefs.pressure.window import Sample, Verdict
from pressurefs.signaller.poll import Poller

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from pressurefs.events.fanout import Fanout
    from pressurefs.pressure.levels import Thresholds
    from pressurefs.signaller.signaller import Signaller

_log = logging.getLogger("pressurefs.events.dispatcher")

# A sweep of a thousand registrations takes half a millisecond: this often is 0.5 % of a core, under pressure.
FRESH_SECONDS = 0.1

# So long after an event the fan-out's word of it has surely come.
REMEMBERED_SECONDS = 2.0


class Listener(NamedTuple):
    """A registration and how often it was signalled, for people to read."""

    registration: Registration
    signals_sent: int


class Exchange:
    """Connects verdicts with registrations.  Lives as long as the mount."""

    def __init__(
        self,
        profile: Thresholds,
        signaller: Signaller,
        on_sampled: Callable[[], None] = lambda: None,
        fanout: Fanout | None = None,
    ) -> None:
        """``on_sampled`` is called when samples of another cgroup are wanted; it must not block.

        ``fanout`` is told of each registration, where there is a source that signals through it.
        """
        self._fanout = fanout
        self._buried: list[tuple[float, Registration]] = []  # the dead of late, and when that was seen
        self._on_sampled = on_sampled
        self._swept = float("-inf")
        self._sampled: frozenset[Place] | None = None  # where what was returned last is not true any more
        self._lock = threading.Lock()
        self._signaller = signaller
        self._tunables = Tunables(profile)
        self._registry = Registry()
        self._engine = Engine(self._registry, self._tunables)
        if fanout is not None:
            fanout.tune(profile)

    def feed(self, seen: Sequence[Sample | Verdict]) -> None:
        """Judge what a source saw, and signal; verdicts were judged, and told by the fan-out."""
        samples = [one for one in seen if isinstance(one, Sample)]
        verdicts = [one for one in seen if isinstance(one, Verdict)]
        if verdicts:
            self._note_told(verdicts)
        if samples:
            self._judge(samples)

    def _judge(self, samples: list[Sample]) -> None:
        if self._is_stale(sample.cgroup for sample in samples):
            self._try_to_sweep()
        with self._lock:
            for sample in samples:
                self._signal(self._engine.feed(sample))

    def _note_told(self, verdicts: list[Verdict]) -> None:
        """Take note of what the fan-out has judged and told, and tell those whom it cannot.

        It cannot see that a listener is dead.  Where such a one has kept ``default`` ones above it from
        hearing, they hear now, whoever has buried it meanwhile.
        """
        with self._lock:
            is_stale = any(one.time > self._swept and self._engine.silences(one) for one in verdicts)
        if is_stale:
            self._try_to_sweep()
        with self._lock:
            for verdict in verdicts:
                audience = self._engine.judge(verdict)
                dead = [one for time_of_death, one in self._buried if time_of_death > verdict.time]
                heard = self._engine.audience(verdict, dead) if dead else audience
                told = {one.token for one in heard if self._is_told_in_c(one)}
                self._signal([one for one in audience if one.token not in told])

    def inject(self, verdict: Verdict) -> None:
        """Signal a verdict that nobody judged: a person wrote it."""
        if self._is_stale([verdict.cgroup]):
            self._try_to_sweep()
        with self._lock:
            self._signal(self._engine.judge(verdict))

    def add(self, registration: Registration) -> None:
        """Let a registration hear from here on."""
        with self._lock:
            cgroups = len(self._registry.sampled())
            if self._fanout is not None:
                try:
                    self._fanout.add(registration)
                except OSError:
                    self._let_go_of(registration)
                    raise
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

    def held_by(self, uid: int) -> Holdings:
        """Return what a user holds, dead registrations that were not swept included."""
        with self._lock:
            return self._registry.held_by(uid)

    def sweep(self) -> int:
        """End the registrations whose eventfd has no holder left; return how many live on."""
        looked = time.monotonic()
        with self._lock:
            known = {one.token for one in self._registry if not isinstance(one.handle, Poller)}
            known |= self._registry.lingering()
        # Not under the lock: with thousands of rows this takes milliseconds.
        gone = self._signaller.gone(known)
        with self._lock:
            # Not before it is in the books: an event meanwhile has to look for itself.
            self._swept = max(self._swept, looked)
            self._end_gone(gone)
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
                self._end_with_a_signal(removed)

    def end_all(self) -> None:
        """Signal every registration once, and end them: what the kernel does when a cgroup goes."""
        with self._lock:
            self._end_with_a_signal(list(self._registry))

    def tune(self, setting: Callable[[Tunables, int], None], value: int) -> None:
        """Turn one of the tunables; ValueError where the value is out of range."""
        with self._lock:
            setting(self._tunables, value)
            if self._fanout is not None:
                self._fanout.tune(self._tunables.thresholds)

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

    def _is_stale(self, cgroups: Iterable[str]) -> bool:
        """Tell whether an event needs a fresh look at who is dead; the machine's needs none.

        A dead listener would be taken for one that heard, and keep ``default`` ones above it from hearing.
        """
        is_old = time.monotonic() - self._swept > FRESH_SECONDS
        return is_old and any(cgroup != MACHINE for cgroup in cgroups)

    def _try_to_sweep(self) -> None:
        try:
            self.sweep()
        except OSError as error:
            _log.warning("sweep: %s", error.strerror)
            self._swept = time.monotonic()  # not again at each event

    def _end_gone(self, gone: set[int]) -> None:
        ended = self._drop(gone, with_eventfd=True)
        self._registry.let_go(gone)
        if self._fanout is not None:
            now = time.monotonic()
            self._buried = [(at, one) for at, one in self._buried if now - at < REMEMBERED_SECONDS]
            self._buried += [(now, one) for one in ended]

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

    def _end_with_a_signal(self, registrations: list[Registration]) -> None:
        """As the kernel does when a cgroup goes: nothing comes any more, then one signal, the last."""
        if self._fanout is not None:
            for one in registrations:
                self._fanout.drop(one)
        self._signal(registrations)
        self._forget(one.token for one in registrations)

    def _is_told_in_c(self, registration: Registration) -> bool:
        return self._fanout is not None and self._fanout.tells(registration)

    def _drop(self, tokens: Iterable[int], *, with_eventfd: bool = False) -> list[Registration]:
        if self._fanout is not None:
            tokens = list(tokens)
            for one in filter(None, map(self._registry.find, tokens)):
                self._fanout.drop(one)
        return self._forget(tokens, with_eventfd=with_eventfd)

    def _forget(self, tokens: Iterable[int], *, with_eventfd: bool = False) -> list[Registration]:
        """End registrations that the fan-out does not know any more."""
        cgroups = len(self._registry.sampled())
        ended = self._registry.remove(tokens)
        if len(self._registry.sampled()) != cgroups:
            self._sampled = None
        for cgroup in {one.cgroup for one in ended} - {MACHINE}:
            if not self._registry.births(cgroup):
                self._engine.forget(cgroup)
        for registration in ended:
            self._let_go_of(registration, with_eventfd=with_eventfd)
        return ended

    def _let_go_of(self, registration: Registration, *, with_eventfd: bool = False) -> None:
        if isinstance(registration.handle, Poller):
            registration.handle.end()
        elif self._signaller.drop(registration.handle) and not with_eventfd:
            self._registry.linger(registration)
