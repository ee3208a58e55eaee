# SPDX-License-Identifier: MIT
"""Which source is chosen, which source replaces it, and how both are reported."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pressurefs.events.listeners import Place
from pressurefs.pressure.levels import RFC
from pressurefs.pressure.window import Sample
from pressurefs.sources import Source, SourceUnavailable, selection
from pressurefs.sources.origin import Origin, Roots
from pressurefs.sources.selection import Selection
from pressurefs.sources.thread import SourceThread
from tests.support.lanes import leave_out
from tests.support.listeners import TOP, Graveyard, listener
from tests.support.procfs import Procfs

try:
    from pressurefs.events.dispatcher import Dispatcher
    from pressurefs.events.event_path import EventPath
    from pressurefs.sources import bpf_program, kernel
    from pressurefs.sources.bpf_program import VmpressureProgram
    from pressurefs.sources.kernel import WATCH_PAGES, WATCH_SECONDS, KernelSource
except ImportError as missing:
    leave_out("native", str(missing))

ORIGIN = Origin(Roots(Path("/proc")))


class Mortal:
    """A source that gives one sample for each read, until it fails."""

    def __init__(self, name: str, looks: int) -> None:
        self.name = name
        self.limits = f"{name} is a fake"
        self.alarm_fd = None
        self.hears_cgroup_v1 = False
        self.asked: list[object] = []
        self._looks = looks

    def start(self, now: float) -> None:
        """Record the time."""
        self.asked.append(now)

    def sample_cgroups(self, cgroups: frozenset[Place]) -> None:
        """Record the cgroups."""
        self.asked.append(cgroups)

    def read(self, now: float) -> list[Sample]:
        """Return a sample, or fail."""
        if not self._looks:
            raise SourceUnavailable(errno.ENODATA, "it is dead")
        self._looks -= 1
        return [Sample(now, "/", 1, 1)]

    def next_read(self) -> float:
        """Always return the same time."""
        return 0.0

    def close(self) -> None:
        """Record that the source was closed."""
        self.asked.append("close")


def unavailable(_origin: Origin, _arguments: str) -> Source:
    raise SourceUnavailable(errno.EPERM, "not here")


def by_merit(monkeypatch: pytest.MonkeyPatch, *openers: Callable[[Origin, str], Source]) -> None:
    """Let these be the sources that ``auto`` tries."""
    rows = [selection._Row(f"source{at}", one, is_automatic=True) for at, one in enumerate(openers)]  # noqa: SLF001
    monkeypatch.setattr(selection, "SOURCES", tuple(rows))


def test_first_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best available source is chosen, and the reason why no better one is available is reported."""
    second = Mortal("second", 1)
    by_merit(monkeypatch, unavailable, lambda *_: second)
    best = Selection("auto", ORIGIN)
    assert (best.source, best.limits) == (second, "second is a fake; no source source0: not here")


def test_none_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no source is available, the last one's reason is reported."""
    by_merit(monkeypatch, unavailable, unavailable)
    with pytest.raises(SourceUnavailable, match="not here"):
        Selection("auto", ORIGIN)


def test_source_dies(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """If a source fails, the next one replaces it; with the last, its error ends it all."""
    first, second = Mortal("first", 0), Mortal("second", 0)
    by_merit(monkeypatch, lambda *_: first, unavailable, lambda *_: second)
    best = Selection("auto", ORIGIN)
    assert best.source is first
    assert best.replace(SourceUnavailable(errno.ENODATA, "it is dead")) is second
    assert best.source is second
    assert first.asked == ["close"]
    assert caplog.messages == ["source first: it is dead: another takes its place"]
    assert best.limits == "second is a fake; no source first: it is dead; no source source1: not here"
    with pytest.raises(SourceUnavailable, match="it is dead, too"):
        best.replace(OSError(errno.EIO, "it is dead, too"))


def test_a_named_source_has_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that was asked for by its name is not replaced by one that was not."""
    by_merit(monkeypatch, lambda *_: Mortal("first", 0), lambda *_: Mortal("second", 0))
    with pytest.raises(SourceUnavailable, match="it is dead"):
        Selection("source0", ORIGIN).replace(SourceUnavailable(errno.ENODATA, "it is dead"))


def test_thread_goes_on_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source thread goes on with the next source, which samples the same cgroups."""
    first, second = Mortal("first", 1), Mortal("second", 1)
    by_merit(monkeypatch, lambda *_: first, lambda *_: second)
    dispatcher = Dispatcher(RFC, EventPath(TOP), Graveyard())
    dispatcher.add(listener(1, "/a"))
    replaced: list[Source] = []
    thread = SourceThread(Selection("auto", ORIGIN), None, replaced.append)
    with pytest.raises(SourceUnavailable, match="it is dead"):
        thread.run(dispatcher)
    assert replaced == [second]
    for one in (first, second):
        assert one.asked[1] == frozenset({Place("/a", 11)})


@pytest.mark.parametrize(
    ("specification", "why"),
    [
        ("kernel:windows", "windows are own, worker, tracepoints, not ''"),
        ("kernel:windows=all", "windows are own, worker, tracepoints, not 'all'"),
        ("kernel:speed=2", "kernel:speed=2: only windows= is known"),
        ("auto:fast", "there is no source 'auto:fast'"),
    ],
)
def test_specification(specification: str, why: str) -> None:
    """An unknown --source is refused in words."""
    event_path = EventPath(0)
    with pytest.raises(SourceUnavailable) as refused:
        Selection(specification, ORIGIN._replace(event_path=event_path))
    assert (refused.value.errno, refused.value.strerror) == (errno.EINVAL, why)


@pytest.mark.parametrize(
    ("number", "uid", "machine", "why"),
    [
        (errno.EPERM, 0, "locked down", "the kernel is locked down: "),
        (errno.EINVAL, 0, "locked down", "the kernel is locked down: "),
        (errno.EPERM, 1000, "open", "loading a BPF program takes CAP_BPF"),
        (errno.EPERM, 0, "open", "BPF is not allowed here (as told)"),
        (errno.ESRCH, 0, "no BTF", "the kernel does not describe itself"),
        (errno.ENOENT, 0, "open", "as told"),
    ],
)
def test_why_no_bpf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, uid: int, *, machine: str, why: str
) -> None:
    """The errno of a BPF program that cannot be loaded is explained in words, by this machine's settings."""
    bracketed = "none integrity [confidentiality]" if machine == "locked down" else "[none] integrity"
    (tmp_path / "lockdown").write_text(bracketed)
    if machine != "no BTF":
        (tmp_path / "btf").touch()
    monkeypatch.setattr(bpf_program, "_LOCKDOWN", tmp_path / "lockdown")
    monkeypatch.setattr(bpf_program, "_BTF", tmp_path / "btf")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert bpf_program._explain(OSError(number, "as told")).startswith(why)  # noqa: SLF001


class FakeProgram:
    """A BPF program that counts what a test sets, and has no windows."""

    windows = bpf_program.OWN
    why_not_all = None
    knows_priority = True

    def __init__(self) -> None:
        self.pages = 0
        self.reader = self
        self.told_fd = os.eventfd(0)

    def machine_pages(self) -> int:
        """Return what was counted."""
        return self.pages

    def was_told(self) -> bool:
        """Return that no window was judged."""
        return False

    def close(self) -> None:
        """Close the eventfd."""
        os.close(self.told_fd)


@pytest.mark.parametrize(
    ("scanned", "counted", "lives"),
    [(WATCH_PAGES + 1, 0, False), (WATCH_PAGES, 0, True), (2 * WATCH_PAGES, 1, True), (0, 0, True)],
)
def test_kernel_that_does_not_come_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: int, counted: int, *, lives: bool
) -> None:
    """If kswapd keeps scanning and the program counts nothing, the source fails at its next check."""
    procfs, program = Procfs(tmp_path), FakeProgram()
    monkeypatch.setattr(kernel, "VmpressureProgram", lambda *_: program)
    source = KernelSource(None, procfs.path)  # type: ignore[arg-type]
    source.start(10.0)
    for at in (10.0, 10.0 + WATCH_SECONDS):
        assert source.next_read() == at + WATCH_SECONDS
        procfs.add(scan_kswapd=scanned)
        program.pages += counted
        assert list(source.read(at + WATCH_SECONDS / 2)) == []
        if lives or at == 10.0:
            assert list(source.read(at + WATCH_SECONDS)) == []
    if not lives:
        with pytest.raises(SourceUnavailable, match="kswapd scans"):
            source.read(at + WATCH_SECONDS)
    source.close()


@pytest.mark.parametrize("row", ["", "memory\t0\t70\t1\n"])
def test_worker_that_never_runs(tmp_path: Path, row: str) -> None:
    """The kernel's worker is not waited for if it never runs: without cgroup v1's memory controller."""
    (tmp_path / "cgroups").write_text(f"#subsys_name\thierarchy\tnum_cgroups\tenabled\n{row}")
    with pytest.raises(SourceUnavailable, match="only where cgroup v1 has the memory controller"):
        KernelSource(EventPath(0), tmp_path, windows=bpf_program.WORKER)


PARAMETERS = {
    "vmpressure": ["gfp", "memcg", "tree", "scanned", "reclaimed"],
    "vmpressure_prio": ["gfp", "memcg", "prio"],
    "vmpressure_work_fn": ["work"],
    "vmpressure_calc_level": ["scanned", "reclaimed"],
    "shrink_one": ["lruvec", "sc"],
    bpf_program._SHRUNK: [*bpf_program._SHRUNK_ARGUMENTS, "file"],  # noqa: SLF001
}
OWN_PROGRAMS = {"count", "give_up", "gave_up"}
BY_GENERATIONS = {"enter_shrink_one", "leave_shrink_one"}
BY_TRACEPOINTS = {"shrunk", "begin_limit", "end_limit"}


@pytest.mark.parametrize(
    ("windows", "lacks", "refused", "attached"),
    [
        (bpf_program.OWN, set(), set(), (bpf_program.OWN, OWN_PROGRAMS | BY_GENERATIONS)),
        (bpf_program.OWN, {"shrink_one"}, set(), (bpf_program.OWN, OWN_PROGRAMS)),
        (bpf_program.OWN, {"vmpressure_prio"}, set(), (bpf_program.OWN, {"count"} | BY_GENERATIONS)),
        (bpf_program.OWN, set(), {"enter_shrink_one"}, (bpf_program.OWN, OWN_PROGRAMS)),
        (bpf_program.OWN, set(), {"count"}, (bpf_program.TRACEPOINTS, BY_TRACEPOINTS)),
        (bpf_program.OWN, {"vmpressure"}, set(), (bpf_program.TRACEPOINTS, BY_TRACEPOINTS)),
        (bpf_program.OWN, {"vmpressure", bpf_program._SHRUNK}, set(), None),  # noqa: SLF001
        (bpf_program.OWN, set(), {"count", "shrunk"}, None),
        (bpf_program.WORKER, set(), set(), (bpf_program.WORKER, {"begin_work", "end_work", "judge"})),
        (bpf_program.WORKER, {"vmpressure_calc_level"}, set(), (bpf_program.WORKER, {"work"})),
        (bpf_program.WORKER, set(), {"judge"}, None),
        (bpf_program.TRACEPOINTS, set(), set(), (bpf_program.TRACEPOINTS, BY_TRACEPOINTS)),
    ],
)
def test_what_is_attached(
    monkeypatch: pytest.MonkeyPatch,
    windows: str,
    lacks: set[str],
    refused: set[str],
    attached: tuple[str, set[str]] | None,
) -> None:
    """The program attaches to the best of what this kernel has and allows, and reports if that is not all."""
    functions = {name: names for name, names in PARAMETERS.items() if name not in lacks}
    tried: list[set[str]] = []

    def attach(program: VmpressureProgram, *arguments: object) -> None:
        del program
        programs = arguments[-1]
        assert isinstance(programs, list)
        tried.append(set(programs))
        if refused & set(programs):
            raise OSError(errno.EOPNOTSUPP, "cannot be attached to")

    monkeypatch.setattr(bpf_program, "read_parameters", lambda _: functions)
    monkeypatch.setattr(VmpressureProgram, "_attach", attach)
    monkeypatch.setattr(bpf_program, "_explain", lambda error: error.strerror)
    event_path = EventPath(0)
    if attached is None:
        with pytest.raises(
            SourceUnavailable, match="cannot be attached to" if refused else "this kernel has no"
        ):
            VmpressureProgram(event_path, windows)
        return
    program = VmpressureProgram(event_path, windows)
    assert (program.windows, tried[-1]) == attached
    assert program.why_not_all == ("cannot be attached to" if refused else None)
    assert program.knows_priority is ("vmpressure_prio" not in lacks)
    program.close()


def test_not_allowed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If BPF is not allowed, the other ways of attaching are not tried."""
    tried: list[object] = []

    def attach(*arguments: object) -> None:
        tried.append(arguments)
        raise PermissionError(errno.EPERM, "not allowed")

    monkeypatch.setattr(bpf_program, "read_parameters", lambda _: PARAMETERS)
    monkeypatch.setattr(VmpressureProgram, "_attach", attach)
    with pytest.raises(SourceUnavailable):
        VmpressureProgram(EventPath(0), bpf_program.OWN)
    assert len(tried) == 1
