"""What a mount says of itself, and what this machine allows: ``status`` and ``doctor``.

Looks only: nothing is mounted, and nothing is left open.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pressurefs import mounts


def read_mount(mountpoint: str) -> dict[str, Any]:
    """Return what is known of a mount; what only its debug directory tells is None without that.

    Keys: mount, sensitivity, debug, source, since, limits, signaller, signaller_limits, registrations.
    """
    top = Path(mountpoint)
    known: dict[str, Any] = {
        "mount": mountpoint,
        "sensitivity": int((top / "vmpressure_sensitivity").read_text()),
        "debug": (top / "vmpressure.debug").exists(),
        **dict.fromkeys(("source", "since", "limits", "signaller", "signaller_limits", "registrations")),
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
    yield "io_uring", _reason(_try_io_uring)
    yield "source vmstat", _reason(_try_vmstat)
    yield "cgroup v2", _first_mount("cgroup2")
    yield "every user served", "yes" if os.geteuid() == 0 else "only this user's own programs: not root"
    yield "memory locked", "yes" if os.geteuid() == 0 else "not tried for an ordinary user"


def _reason(attempt: Any) -> str:
    try:
        attempt()
    except (OSError, ImportError) as error:
        return f"no: {getattr(error, 'strerror', None) or error}"
    return "yes"


def _try_fuse() -> None:
    import pressurefs.binding.fusepy  # noqa: F401, PLC0415, the library is looked for at import

    os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))


def _try_io_uring() -> None:
    from pressurefs.signaller.weak import WeakSignaller  # noqa: PLC0415

    WeakSignaller()


def _try_vmstat() -> None:
    from pressurefs.sources.vmstat import VmstatSource  # noqa: PLC0415

    VmstatSource(Path("/proc")).close()


def _first_mount(filesystem_type: str) -> str:
    for mount in mounts.read_mountinfo():
        if mount.filesystem_type == filesystem_type:
            return mount.mountpoint
    return "not mounted"
