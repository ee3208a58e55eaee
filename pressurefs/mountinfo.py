"""What is mounted where.

Standard library only: the client half uses this too.  Nothing here looks *through* a mount whose
server might not answer, but for ``is_dead``, which asks only what the kernel itself answers.
"""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

FILESYSTEM_TYPE = "fuse.pressurefs"
MOUNT_VARIABLE = "PRESSUREFS_MOUNT"


class Mount(NamedTuple):
    """One row of mountinfo.  ``device`` is "major:minor" of its superblock."""

    mount_id: int
    device: str
    mountpoint: str
    filesystem_type: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Read /proc/<pid>/mountinfo (proc(5)); later rows lie on top of earlier ones."""
    mounts = []
    # Only a newline ends a row: the kernel escapes it in paths, but none of what splitlines() splits at.
    for line in text.split("\n")[:-1]:
        fields = line.split(" ")
        # Optional fields end at a lone dash; the type follows it.
        filesystem_type = fields[fields.index("-", 6) + 1]
        mounts.append(Mount(int(fields[0]), fields[2], _unescape(fields[4]), filesystem_type))
    return mounts


def read_mountinfo(pid: int | str = "self") -> list[Mount]:
    """Read the mounts that a process sees."""
    text = Path(f"/proc/{pid}/mountinfo").read_bytes()
    return parse_mountinfo(os.fsdecode(text))


def topmost(mounts: Iterable[Mount], mountpoint: str) -> Mount | None:
    """Return what is mounted at a path, the last of several."""
    found = None
    for mount in mounts:
        if mount.mountpoint == mountpoint:
            found = mount
    return found


def find_pressurefs() -> str:
    """Return the mount to use where none is named: $PRESSUREFS_MOUNT, else the first in mountinfo.

    Raises FileNotFoundError where there is none.
    """
    named = os.environ.get(MOUNT_VARIABLE)
    if named:
        return named
    for mount in read_mountinfo():
        if mount.filesystem_type == FILESYSTEM_TYPE:
            return mount.mountpoint
    raise FileNotFoundError(errno.ENOENT, f"no {FILESYSTEM_TYPE} is mounted and ${MOUNT_VARIABLE} is not set")


def is_dead(mountpoint: str) -> bool:
    """Tell whether the server of a FUSE mount is gone.

    The kernel answers ENOTCONN itself for a connection that was closed.
    """
    try:
        os.stat(mountpoint)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _unescape(field: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
