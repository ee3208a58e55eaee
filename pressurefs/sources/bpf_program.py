# SPDX-License-Identifier: MIT
"""The BPF program vmpressure.bpf.c: loaded, attached, and given what it must know of this kernel.

Some facts about loading and attaching

Loading takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and a kernel that describes itself
(CONFIG_DEBUG_INFO_BTF).  A kernel that is locked down for confidentiality lets no BPF program read its
memory, not root's either.

vmpressure() has been there since 2013 and got one argument more after Linux 6.12; so arguments are found by
name.  vmpressure_prio() may be missing where cgroup v1 was left out, and with it the signs of priority;
vmpressure_work_fn() as well, or it is there and never runs; vmpressure_calc_level() is short, and a compiler
can have put it inside.  shrink_one() is the multi-generational LRU's.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pressurefs._native import ffi
from pressurefs.events.event_path import EventPath, Reader
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.libbpf import BpfObject, give_back_memory, read_parameters

OBJECT = Path(__file__).parent.parent / "bpf" / "vmpressure.bpf.o"

# __GFP_HIGHMEM, __GFP_MOVABLE, __GFP_IO, __GFP_FS: the reclaim that vmpressure() counts.  The same bits in
# every kernel from 4.0 to 7.0; they are macros and unnamed enumerators, which no type information tells.
GFP_COUNTED = 0x02 | 0x08 | 0x40 | 0x80

_ENTRY, _PRIORITY, _WORKER = "vmpressure", "vmpressure_prio", "vmpressure_work_fn"
_JUDGEMENT = "vmpressure_calc_level"
_BY_GENERATIONS = "shrink_one"
# What calls the programs that are attached to a tracepoint, with its arguments.
_SHRUNK = "__traceiter_mm_vmscan_lru_shrink_inactive"
_SHRUNK_ARGUMENTS = ["__data", "nid", "nr_scanned", "nr_reclaimed", "stat", "priority"]
_ARGUMENTS = {
    _ENTRY: {"gfp": "gfp", "memcg": "memcg", "tree": "tree", "scanned": "scanned", "reclaimed": "reclaimed"},
    _PRIORITY: {"gfp": "prio_gfp", "memcg": "prio_memcg", "prio": "prio"},
}

# Where windows are counted, and the programs that this takes.
OWN = "own"
WORKER = "worker"
TRACEPOINTS = "tracepoints"
_PROGRAMS = {
    OWN: {
        _ENTRY: ["count"],
        _PRIORITY: ["give_up", "gave_up"],
        _BY_GENERATIONS: ["enter_shrink_one", "leave_shrink_one"],
    },
    WORKER: {_WORKER: ["begin_work", "end_work"], _JUDGEMENT: ["judge"]},
    TRACEPOINTS: {_SHRUNK: ["shrunk", "begin_limit", "end_limit"]},
}
# Where a compiler has left nothing of the judgement.
_UNJUDGED = {_WORKER: ["work"]}

# No other choice would be allowed either.
_FORBIDDEN = (errno.EPERM, errno.EACCES)

_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_BTF = Path("/sys/kernel/btf/vmlinux")


class VmpressureProgram:
    """The attached program, and the thread that reads its windows.  Lives until closed.

    ``windows``: where they are counted; by tracepoints in place of our own if there is no vmpressure(), or it
    cannot be attached to.  ``why_not_all``: why something that this kernel has could not be attached to, or
    None.  ``knows_priority``: whether signs of priority come.
    """

    def __init__(self, event_path: EventPath, windows: str) -> None:
        """Raise SourceUnavailable where it cannot be."""
        try:
            functions = read_parameters((_ENTRY, _PRIORITY, _WORKER, _JUDGEMENT, _BY_GENERATIONS, _SHRUNK))
            self._attach_first(event_path, functions, windows)
        except OSError as error:
            raise SourceUnavailable(error.errno, _explain(error)) from None
        finally:
            give_back_memory()

    def _attach_first(self, event_path: EventPath, functions: dict[str, list[str]], windows: str) -> None:
        """Attach the first choice that this kernel takes."""
        first: OSError | None = None
        for attempt, programs in _choices(functions, windows):
            with contextlib.ExitStack() as opened:
                try:
                    self._attach(opened, event_path, functions, programs)
                except OSError as error:
                    if error.errno in _FORBIDDEN:
                        raise
                    first = first or error
                else:
                    self._opened = opened.pop_all()
                    self.windows = attempt
                    self.why_not_all = None if first is None else _explain(first)
                    self.knows_priority = attempt != OWN or _PRIORITY in functions
                    return
        needed = next(iter(_PROGRAMS[windows]))
        raise first or OSError(errno.ENOENT, f"this kernel has no {needed}() that we know")

    def _attach(
        self,
        opened: contextlib.ExitStack,
        event_path: EventPath,
        functions: dict[str, list[str]],
        programs: list[str],
    ) -> None:
        bpf = opened.enter_context(contextlib.closing(BpfObject(OBJECT)))
        known = ffi.cast("struct pfs_known *", bpf.initial_memory(".rodata"))
        known.gfp_counted = GFP_COUNTED
        for function, names in _ARGUMENTS.items():
            for name, field in names.items():
                if function in functions:
                    setattr(known, field, _position(function, functions[function], name))
        bpf.load(programs)
        shared = bpf.shared_memory(".bss")
        self._shared = ffi.cast("struct pfs_shared *", shared)
        # Also where attaching fails halfway.
        opened.callback(event_path.detach)
        event_path.attach(bpf.map_fd("listening"), shared)
        self.reader: Reader = opened.enter_context(
            contextlib.closing(event_path.open_reader(bpf.map_fd("full"), bpf.max_entries("full")))
        )
        for program in programs:
            bpf.attach(program)

    def machine_pages(self) -> int:
        """Return how many pages were scanned for the machine that the program has counted."""
        return self._shared.machine_pages

    def close(self) -> None:
        """Detach it."""
        self._opened.close()


def _choices(functions: dict[str, list[str]], windows: str) -> Iterator[tuple[str, list[str]]]:
    """Yield where windows can be counted on this kernel, and the programs that it takes; the best first."""

    def programs(choice: dict[str, list[str]]) -> list[str]:
        return [one for name in functions for one in choice.get(name, [])]

    if windows == WORKER and _WORKER in functions:
        is_seen = functions.get(_JUDGEMENT) == ["scanned", "reclaimed"]
        yield WORKER, programs(_PROGRAMS[WORKER] if is_seen else _UNJUDGED)
    if windows == OWN and _ENTRY in functions:
        yield OWN, programs(_PROGRAMS[OWN])
        if _BY_GENERATIONS in functions:
            # The compiler may have made something of it that cannot be attached to.
            yield OWN, programs({**_PROGRAMS[OWN], _BY_GENERATIONS: []})
    shrunk = functions.get(_SHRUNK, [])
    if windows in (OWN, TRACEPOINTS) and shrunk[: len(_SHRUNK_ARGUMENTS)] == _SHRUNK_ARGUMENTS:
        yield TRACEPOINTS, programs(_PROGRAMS[TRACEPOINTS])


def _position(function: str, parameters: list[str], name: str) -> int:
    try:
        return parameters.index(name)
    except ValueError:
        raise OSError(errno.ENOTSUP, f"this kernel's {function}() has no argument {name!r}") from None


def _explain(error: OSError) -> str:
    """Return why, in words: the errno alone is the same for many reasons."""
    with contextlib.suppress(OSError):
        # EINVAL: to the verifier there is no such helper.
        if "[confidentiality]" in _LOCKDOWN.read_text():
            return "the kernel is locked down: it lets no BPF program read its memory"
    if error.errno in _FORBIDDEN:
        if os.geteuid() != 0:
            return "loading a BPF program takes CAP_BPF and CAP_PERFMON"
        return f"BPF is not allowed here ({error.strerror})"
    if not _BTF.exists():
        return "the kernel does not describe itself (CONFIG_DEBUG_INFO_BTF)"
    return str(error.strerror)
