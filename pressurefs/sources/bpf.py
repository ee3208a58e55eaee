"""The BPF program vmpressure.bpf.c: loaded, attached, and given what it must know of this kernel.

Some facts about being allowed to

Loading takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and a kernel that describes itself
(CONFIG_DEBUG_INFO_BTF).  A kernel that is locked down for confidentiality lets no BPF program read its
memory, not root's either.

vmpressure() has been there since 2013 and got one argument more after Linux 6.12; so arguments are found by
name.  vmpressure_prio() may be missing where cgroup v1 was left out, and with it the signs of priority;
vmpressure_work_fn() as well, or it is there and never runs; vmpressure_calc_level() is short, and a compiler
may have put it inside.  shrink_one() is the multi-generational LRU's.
"""

import contextlib
import errno
import os
from pathlib import Path

from pressurefs._native import ffi
from pressurefs.fanout import Fanout, Reader
from pressurefs.sources import SourceUnavailable
from pressurefs.sources.libbpf import BpfObject, give_back_memory, read_parameters

OBJECT = Path(__file__).parent.parent / "vmpressure.bpf.o"

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

_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_BTF = Path("/sys/kernel/btf/vmlinux")


class VmpressureProgram:
    """The program at work, and the thread that hears of it.  Lives until closed.

    ``windows``: where they are counted; by tracepoints in place of our own if there is no vmpressure().
    ``knows_priority``: whether signs of priority come.
    """

    def __init__(self, fanout: Fanout, windows: str) -> None:
        """Raise SourceUnavailable where it cannot be."""
        try:
            with contextlib.ExitStack() as opened:
                self._attach(opened, fanout, windows)
                self._opened = opened.pop_all()
        except OSError as error:
            raise SourceUnavailable(error.errno, _explain(error)) from None
        finally:
            give_back_memory()

    def _attach(self, opened: contextlib.ExitStack, fanout: Fanout, windows: str) -> None:
        functions = read_parameters((_ENTRY, _PRIORITY, _WORKER, _JUDGEMENT, _BY_GENERATIONS, _SHRUNK))
        if windows == OWN and _ENTRY not in functions:
            windows = TRACEPOINTS
        self.windows = windows
        choice = _PROGRAMS[windows]
        needed = next(iter(choice))
        if needed not in functions:
            raise OSError(errno.ENOENT, f"this kernel has no {needed}()")
        if windows == TRACEPOINTS and functions[_SHRUNK][: len(_SHRUNK_ARGUMENTS)] != _SHRUNK_ARGUMENTS:
            raise OSError(errno.ENOTSUP, "this kernel's tracepoints tell something else")
        if windows == WORKER and functions.get(_JUDGEMENT) != ["scanned", "reclaimed"]:
            choice = _UNJUDGED
        programs = [one for name in functions for one in choice.get(name, [])]
        self.knows_priority = windows != OWN or _PRIORITY in functions
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
        fanout.attach(bpf.map_fd("listening"), shared)
        opened.callback(fanout.detach)
        self.reader: Reader = opened.enter_context(
            contextlib.closing(fanout.open_reader(bpf.map_fd("full"), bpf.max_entries("full")))
        )
        for program in programs:
            bpf.attach(program)

    def machine_pages(self) -> int:
        """Return how many pages were scanned for the machine that the program has counted."""
        return self._shared.machine_pages

    def close(self) -> None:
        """Detach it."""
        self._opened.close()


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
    if error.errno in (errno.EPERM, errno.EACCES):
        if os.geteuid() != 0:
            return "loading a BPF program takes CAP_BPF and CAP_PERFMON"
        return f"BPF is not allowed here ({error.strerror})"
    if not _BTF.exists():
        return "the kernel does not describe itself (CONFIG_DEBUG_INFO_BTF)"
    return str(error.strerror)
