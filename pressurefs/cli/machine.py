"""What a mount says of itself, and what this machine allows: ``status`` and ``doctor``.

Looks only: nothing is mounted, and nothing is left open.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pressurefs import mountinfo

_TOLD_BY_DEBUG = ("source", "since", "limits", "fuse", "signaller", "signaller_limits", "registrations")

_CAP_IPC_LOCK = "CAP_IPC_LOCK", 14
_CAP_SYS_PTRACE = "CAP_SYS_PTRACE", 19
_CAP_SYS_RESOURCE = "CAP_SYS_RESOURCE", 24
_YAMA_NOBODY = 3  # kernel.yama.ptrace_scope: nobody may attach, whatever he is


def read_mount(mountpoint: str) -> dict[str, Any]:
    """Return what is known of a mount; what only its debug directory tells is None without that.

    Keys: mount, sensitivity, debug, source, since, limits, fuse, signaller, signaller_limits,
    registrations.
    """
    top = Path(mountpoint)
    known: dict[str, Any] = {
        "mount": mountpoint,
        "sensitivity": int((top / "vmpressure_sensitivity").read_text()),
        "debug": (top / "vmpressure.debug").exists(),
        **dict.fromkeys(_TOLD_BY_DEBUG),
    }
    if known["debug"] and os.access(top / "vmpressure.debug", os.X_OK):
        rows = (top / "vmpressure.debug" / "source").read_text().splitlines()
        known |= dict(row.split(" ", 1) for row in rows)
        known["registrations"] = len((top / "vmpressure.debug" / "registrations").read_text().splitlines())
    return known


def examine_machine() -> dict[str, str]:
    """Return for each thing that the daemon needs "yes", or why not; the order is that of need."""
    return dict(_examine())


def _examine() -> Iterator[tuple[str, str]]:
    yield "fuse", _reason(_try_fuse)
    yield from _examine_bindings()
    yield from _examine_signaller()
    yield "source kernel", _reason(_try_kernel)
    yield "source vmstat", _reason(_try_vmstat)
    yield "cgroup v2", _first_mount("cgroup2")
    root = os.geteuid() == 0
    yield "every user served", "yes" if root else "only this user's own programs: not root"
    yield "eventfds taken", _yama() or "yes"
    yield "memory locked", _capable(_CAP_IPC_LOCK) if root else "no: not tried for an ordinary user"
    yield "OOM killer told", _capable(_CAP_SYS_RESOURCE)


def _capable(capability: tuple[str, int]) -> str:
    name, bit = capability
    return "yes" if _effective_capabilities() >> bit & 1 else f"no: it takes {name}"


def _effective_capabilities() -> int:
    rows = dict(row.split(":\t", 1) for row in Path("/proc/self/status").read_text().splitlines())
    return int(rows["CapEff"], 16)


def _yama() -> str | None:
    """Return why nothing but ``poll LEVEL`` can be registered, None where nothing stands in the way."""
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:
        return None
    if not scope or (scope < _YAMA_NOBODY and _effective_capabilities() >> _CAP_SYS_PTRACE[1] & 1):
        return None
    return f"no: kernel.yama.ptrace_scope is {scope}; `poll LEVEL` works"


def _reason(attempt: Any) -> str:
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
    """Yield each package that could reach libfuse; the first that works is used."""
    from pressurefs.filesystem.fuse.selection import BINDINGS, explain, open_binding  # noqa: PLC0415

    used = None
    with contextlib.suppress(OSError):
        used = open_binding()
    for name, open_one in BINDINGS.items():
        try:
            binding = open_one()
        except (ImportError, OSError) as error:
            yield f"fuse by {name}", f"no: {explain(name, error)}"
        else:
            yield f"fuse by {name}", f"yes, libfuse {binding.version}{', used' if binding is used else ''}"


def _examine_signaller() -> Iterator[tuple[str, str]]:
    """Yield whether io_uring may be had, and when the registrations of a daemon would end that began now."""
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
        has_rings, end = False, f"no: nothing can be signalled ({error.strerror})"
    else:
        has_rings = isinstance(signaller, UringSignaller)
        if signaller.limits != "none":
            end = f"late: {signaller.limits}"
        signaller.close()
    yield "io_uring", "yes" if has_rings else _reason(lambda: UringSignaller().close())
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
