# SPDX-License-Identifier: MIT
"""The daemon: connects the parts, starts and stops their threads, and reports when it is ready.

Threading: four threads do the work.  The FUSE thread answers file operations.  The source thread reads the
source and feeds the dispatcher.  The third waits for the removal of cgroups.  The main thread waits on one
queue, into which the other threads and the signal handlers put what happened, and ends the listeners whose
eventfds are closed once a second.  They share one lock, the dispatcher's.  Beside them run the threads that
write log and trace, and the C thread that reads the BPF ring buffer.
"""

import contextlib
import ctypes
import logging
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from pressurefs import exitcodes, mountinfo
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.daemon import mountpoint, self_protection, systemd
from pressurefs.events.cgroup_removals import Removals
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import EventPath
from pressurefs.exitcodes import Exit, or_exit
from pressurefs.filesystem.fuse import Loop
from pressurefs.filesystem.fuse.selection import open_binding
from pressurefs.filesystem.top_directory import TopDirectory
from pressurefs.pressure.levels import Thresholds
from pressurefs.registration.checks import Registrar
from pressurefs.signaller.signaller import Signaller, open_signaller
from pressurefs.sources import Source, SourceUnavailable
from pressurefs.sources.origin import Origin, Roots
from pressurefs.sources.recorder import TraceWriter
from pressurefs.sources.selection import Selection
from pressurefs.sources.thread import SourceThread

_log = logging.getLogger("pressurefs.daemon.daemon")

# The interval between sweeps, which end dead registrations.  Reading thousands of epoll rows takes
# milliseconds, so with many of them the interval grows, up to ten times, to stay at this share of one core.
SWEEP_SECONDS = 1.0
SWEEP_SECONDS_MAX = 10.0
SWEEP_CORE_SHARE = 0.0003

# How long a Python thread that computes keeps the interpreter (the GIL) before another thread gets it; the
# default of 5 ms would delay the signal of a full window.
SWITCH_SECONDS = 0.0005

# libfuse's descriptor of /dev/fuse, and our duplicate of it: see filesystem/poll_notify.py.
_CONNECTION_FDS = 2

_READY_TIMEOUT_SECONDS = 20.0


class Settings(NamedTuple):
    """What the command line asked for: the options of ``pressurefs mount``."""

    mountpoint: str
    source: str
    profile: Thresholds
    debug: bool
    cgroup: str | None
    roots: Roots
    options: dict[str, str | bool]
    ready_fd: int | None
    record: Path | None


class Daemon:
    """One mount, from the first check to the last signal.  Lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        """Open everything that can be missing, before anything is mounted; raise Exit."""
        self._settings = settings
        self._low_fds = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_CONNECTION_FDS)]
        # The end of a thread needs this library, and loading it needs a descriptor, which can be short then.
        ctypes.CDLL("libgcc_s.so.1")
        self._mountpoint = os.path.realpath(settings.mountpoint)
        _raise_descriptor_limit()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._binding = _open_binding()
        self._cgroups = cgroups = _open_cgroups(settings.cgroup)
        self._signaller = _open_signaller()
        event_path = _open_event_path(cgroups)
        self._selection = _open_selection(settings, Origin(settings.roots, cgroups, event_path))
        self._hear_cgroup_v1(self._selection.source)
        self._trace = (
            None if settings.record is None else _open_trace(settings.record, self._selection.source)
        )
        self._source_thread = SourceThread(self._selection, self._trace, self._fall_back_to)
        self._dispatcher = Dispatcher(
            settings.profile, event_path, self._signaller, cgroups, self._source_thread.awaken
        )
        self._removals = None if cgroups is None else _open_removals(cgroups, self._dispatcher)
        self._registrar = Registrar(self._dispatcher, self._signaller, self._removals)
        source_report = self._report_source if settings.debug else None
        self._top = TopDirectory(self._dispatcher, self._registrar, cgroups, source_report)
        self._happened: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._fault: Exit | None = None

    def run(self) -> None:
        """Mount, serve until a signal or an unmount, and clean up; raise Exit on a fault."""
        mountpoint.prepare(self._mountpoint, self._settings.options)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Set before libfuse does: its own handlers would end its loop without the daemon's knowledge.
            signal.signal(number, lambda *_: self._happened.put(_Event.ASKED_TO_STOP))
        # The connection gets their numbers, which must be low: see Taker.
        for fd in self._low_fds:
            os.close(fd)
        self._start("fuse", self._serve)
        try:
            first = self._wait(_READY_TIMEOUT_SECONDS)
            if first is _Event.ANSWERS:
                self_protection.spare_collector()
                self_protection.lock_memory()
                self_protection.avoid_oom_killer()
                self._start("source", self._read_source)
                if self._removals is not None:
                    self._start("removals", self._removals.run)
                if self._settings.source == "auto":
                    _log.info("source %s: limits: %s", self._selection.source.name, self._selection.limits)
                _say_ready(self._settings.ready_fd)
                systemd.notify("READY=1")
                self._await_end()
            elif first is _Event.ASKED_TO_STOP:
                # The mount must be complete before it can be unmounted.
                self._wait(_READY_TIMEOUT_SECONDS)
            elif first is None:
                why = f"the kernel has not answered for {_READY_TIMEOUT_SECONDS:.0f} s"
                self._fault = Exit(exitcodes.FUSE_UNAVAILABLE, "mount", why)
        finally:
            systemd.notify("STOPPING=1")
            self._unmount()
            self._top.end()
            self._source_thread.stop()
            # The path is gone: a listener that wakes up and looks it up gets ENOENT, as after the removal of
            # a cgroup.
            self._dispatcher.end_all()
            if self._trace is not None:
                self._trace.close()
        if self._fault is not None:
            raise self._fault

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread; whatever ends it, it reports its end to the main thread."""

        def run() -> None:
            try:
                work()
            except Exit as fault:
                self._fault = fault
            except BaseException as fault:  # noqa: BLE001, the main thread decides what to do about it
                _log.exception("fault in thread %s", name)
                self._fault = Exit(exitcodes.UNEXPECTED, name, repr(fault))
            self._happened.put(_Event.THREAD_ENDED)

        threading.Thread(target=run, name=name, daemon=True).start()

    def _serve(self) -> None:
        try:
            self._binding.serve(self._top, self._note_answers, self._mountpoint, self._settings.options)
        except RuntimeError as error:
            # libfuse has reported the reason on stderr.
            if self._registrar.device is None:
                raise Exit(exitcodes.FUSE_UNAVAILABLE, "mount", "libfuse could not mount") from None
            raise Exit(exitcodes.UNEXPECTED, "fuse", f"libfuse's loop ended with {error}") from None

    def _read_source(self) -> None:
        try:
            self._source_thread.run(self._dispatcher)
        except SourceUnavailable as error:
            what = f"source {self._selection.source.name}"
            raise Exit(exitcodes.SOURCE_UNAVAILABLE, what, error.strerror) from None

    def _hear_cgroup_v1(self, source: Source) -> None:
        if self._cgroups is not None:
            self._cgroups.serves_v1 = source.hears_cgroup_v1

    def _fall_back_to(self, source: Source) -> None:
        """End the listeners of cgroups that this source does not hear of: it would leave them deaf."""
        self._hear_cgroup_v1(source)
        if self._removals is not None and not source.hears_cgroup_v1:
            self._removals.end_where_nothing_is_heard()

    def _note_answers(self) -> None:
        """Read the mount's device number before the first write can come; the FUSE thread calls this."""
        mounted = mountinfo.topmost(mountinfo.read_mountinfo(), self._mountpoint)
        self._registrar.device = None if mounted is None else mounted.device
        self._happened.put(_Event.ANSWERS)

    def _await_end(self) -> None:
        interval = SWEEP_SECONDS
        while self._wait(interval) is None:
            began = time.thread_time()
            try:
                self._dispatcher.sweep()
                if self._removals is not None:
                    self._removals.prune(self._dispatcher.listened(), time.monotonic())
            except OSError as error:
                _log.warning("sweep: %s", error.strerror)
            rested = (time.thread_time() - began) / SWEEP_CORE_SHARE
            interval = min(max(SWEEP_SECONDS, rested), SWEEP_SECONDS_MAX)

    def _wait(self, seconds: float) -> "_Event | None":
        """Return what happened, None if nothing happened within ``seconds``."""
        try:
            return self._happened.get(timeout=seconds)
        except queue.Empty:
            return None

    def _unmount(self) -> None:
        if self._registrar.device is None:
            return  # it was never mounted
        left = mountpoint.take_away(self._registrar.device)
        if left:
            why = "something else is mounted on top of it"
            self._fault = self._fault or Exit(exitcodes.MOUNTPOINT_UNUSABLE, f"unmount {left[0]}", why)

    def _report_source(self) -> str:
        selection = self._selection
        return (
            f"source {selection.source.name}\nsince {selection.since:%Y-%m-%dT%H:%M:%S%z}\n"
            f"limits {selection.limits}\n"
            f"fuse {self._binding.name}, libfuse {self._binding.version}\n"
            f"signaller {self._signaller.name}\nsignaller_limits {self._signaller.limits}\n"
        )


class _Event(Enum):
    """What the main thread waits for."""

    ANSWERS = auto()
    ASKED_TO_STOP = auto()
    THREAD_ENDED = auto()


def _open_binding() -> type[Loop]:
    """Return the Python package that binds libfuse; raise Exit where it cannot work."""
    with or_exit(exitcodes.FUSE_UNAVAILABLE, "mount"):
        binding = open_binding()
    if not os.path.exists("/dev/fuse"):
        why = "there is no /dev/fuse: modprobe fuse, or give it to the container"
        raise Exit(exitcodes.FUSE_UNAVAILABLE, "mount", why)
    return binding


def _open_event_path(cgroups: CgroupRoot | None) -> EventPath:
    with or_exit(exitcodes.UNEXPECTED, "event path"):
        return EventPath(0 if cgroups is None else cgroups.number)


def _open_selection(settings: Settings, origin: Origin) -> Selection:
    with or_exit(exitcodes.SOURCE_UNAVAILABLE, f"source {settings.source}"):
        return Selection(settings.source, origin)


def _open_trace(path: Path, source: Source) -> TraceWriter:
    with or_exit(exitcodes.UNEXPECTED, f"--record {path}"):
        return TraceWriter(path, source)


def _open_cgroups(path: str | None) -> CgroupRoot | None:
    with or_exit(exitcodes.SOURCE_UNAVAILABLE, f"--cgroup {path}"):
        return CgroupRoot.mounted() if path is None else CgroupRoot(path)


def _open_removals(cgroups: CgroupRoot, dispatcher: Dispatcher) -> Removals:
    with or_exit(exitcodes.UNEXPECTED, "inotify"):
        return Removals(cgroups, dispatcher)


def _open_signaller() -> Signaller:
    try:
        signaller = open_signaller()
    except OSError as error:
        why = f"no io_uring ({error.strerror}): see kernel.io_uring_disabled, or the container's seccomp"
        raise Exit(exitcodes.UNEXPECTED, "signaller", why) from None
    if signaller.limits != "none":
        _log.warning("signaller %s: %s", signaller.name, signaller.limits)
    return signaller


def _raise_descriptor_limit() -> None:
    """Raise the limit of descriptors as far as is allowed: each registration costs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say_ready(ready_fd: int | None) -> None:
    if ready_fd is None:
        return
    try:
        os.write(ready_fd, b"\n")
        os.close(ready_fd)
    except OSError as error:
        _log.warning("--ready-fd %d: %s", ready_fd, error.strerror)
