# SPDX-License-Identifier: MIT
"""What this machine allows: each thing that the daemon needs, and why it cannot be had.

Tries and reads only: nothing is mounted or registered, and what is opened is closed.  The modules that it
tries are imported by the attempt, because an import that fails is an answer, too.  One thread.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pressurefs import mountinfo

_CAP_IPC_LOCK = "CAP_IPC_LOCK", 14
_CAP_SYS_PTRACE = "CAP_SYS_PTRACE", 19
_CAP_SYS_RESOURCE = "CAP_SYS_RESOURCE", 24
_YAMA_NO_ATTACH = 3  # kernel.yama.ptrace_scope: no process is allowed to attach, not even with CAP_SYS_PTRACE


def examine_machine() -> dict[str, str]:
    """Return for each thing that the daemon needs "yes", or "no" and why; what is needed most comes first."""
    return dict(_examine())


def _examine() -> Iterator[tuple[str, str]]:
    yield "fuse", _try(_try_fuse)
    yield from _examine_bindings()
    yield from _examine_signaller()
    yield "source kernel", _try(_try_kernel)
    yield "source vmstat", _try(_try_vmstat)
    yield "cgroup v2", _first_mount("cgroup2")
    root = os.geteuid() == 0
    yield "every user served", "yes" if root else "only this user's own programs: not root"
    yield "eventfds taken", _refusal_of_yama() or "yes"
    yield "memory locked", _capable(_CAP_IPC_LOCK) if root else "no: not tried for an ordinary user"
    yield "OOM killer told", _capable(_CAP_SYS_RESOURCE)


def _capable(capability: tuple[str, int]) -> str:
    name, bit = capability
    return "yes" if _effective_capabilities() >> bit & 1 else f"no: it takes {name}"


def _effective_capabilities() -> int:
    rows = dict(row.split(":\t", 1) for row in Path("/proc/self/status").read_text().splitlines())
    return int(rows["CapEff"], 16)


def _refusal_of_yama() -> str | None:
    """Return why only ``poll LEVEL`` can be registered, None where eventfds can be taken, too."""
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:
        return None
    if not scope or (scope < _YAMA_NO_ATTACH and _effective_capabilities() >> _CAP_SYS_PTRACE[1] & 1):
        return None
    return f"no: kernel.yama.ptrace_scope is {scope}; `poll LEVEL` works"


def _try(attempt: Callable[[], None]) -> str:
    """Return "yes" where the attempt succeeds, else "no" and the error in words."""
    try:
        attempt()
    except (OSError, ImportError) as error:
        return f"no: {getattr(error, 'strerror', None) or error}"
    return "yes"


def _try_fuse() -> None:
    from pressurefs.filesystem.fuse.selection import open_binding  # noqa: PLC0415

    open_binding()
    os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))


def _examine_bindings() -> Iterator[tuple[str, str]]:
    """Yield for each Python binding of libfuse whether it works; the daemon uses the first that does."""
    from pressurefs.filesystem.fuse.selection import BINDINGS, explain, open_binding  # noqa: PLC0415

    used = None
    with contextlib.suppress(OSError):
        used = open_binding()
    for name, open_named in BINDINGS.items():
        try:
            binding = open_named()
        except (ImportError, OSError) as error:
            yield f"fuse by {name}", f"no: {explain(name, error)}"
        else:
            yield f"fuse by {name}", f"yes, libfuse {binding.version}{', used' if binding is used else ''}"


def _examine_signaller() -> Iterator[tuple[str, str]]:
    """Yield whether io_uring is allowed, and when registrations end in a daemon that starts now."""
    try:
        from pressurefs.signaller.signaller import open_signaller  # noqa: PLC0415
        from pressurefs.signaller.uring import UringSignaller  # noqa: PLC0415
    except ImportError as error:
        yield from dict.fromkeys(("io_uring", "registrations end"), f"no: {error}").items()
        return
    end = "with their eventfds"
    try:
        signaller = open_signaller()
    except OSError as error:
        has_io_uring, end = False, f"no: nothing can be signalled ({error.strerror})"
    else:
        has_io_uring = isinstance(signaller, UringSignaller)
        if signaller.limits != "none":
            end = f"late: {signaller.limits}"
        signaller.close()
    yield "io_uring", "yes" if has_io_uring else _try(lambda: UringSignaller().close())
    yield "registrations end", end


def _try_kernel() -> None:
    from pressurefs.events.event_path import EventPath  # noqa: PLC0415
    from pressurefs.sources.kernel import KernelSource  # noqa: PLC0415

    with contextlib.closing(EventPath(0)) as event_path:
        KernelSource(event_path, Path("/proc")).close()


def _try_vmstat() -> None:
    from pressurefs.sources.vmstat import VmstatSource  # noqa: PLC0415

    VmstatSource(Path("/proc")).close()


def _first_mount(filesystem_type: str) -> str:
    for mount in mountinfo.read_mountinfo():
        if mount.filesystem_type == filesystem_type:
            return mount.mountpoint
    return "not mounted"
