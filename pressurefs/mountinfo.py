# SPDX-License-Identifier: MIT
"""What is mounted where, by /proc/<pid>/mountinfo.

Standard library only: client.py uses this too.  Nothing here uses a path inside a mount whose server might
not answer, except ``is_dead``, which asks only what the kernel itself answers.
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
    """One row of mountinfo.

    ``mount_id``: the kernel's number of the mount.  ``device``: "major:minor" of its superblock.
    ``mountpoint``: a path, unescaped.  ``filesystem_type``: with the subtype, as "fuse.pressurefs".
    """

    mount_id: int
    device: str
    mountpoint: str
    filesystem_type: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Parse the text of /proc/<pid>/mountinfo (proc(5)); later rows lie on top of earlier rows."""
    mounts = []
    # Only a newline ends a row.  The kernel escapes newlines in paths, and no other character that
    # splitlines() splits at.
    for line in text.split("\n")[:-1]:
        fields = line.split(" ")
        # The optional fields end at a field that is a dash; the type follows it.
        filesystem_type = fields[fields.index("-", 6) + 1]
        mounts.append(Mount(int(fields[0]), fields[2], _unescape(fields[4]), filesystem_type))
    return mounts


def read_mountinfo(pid: int | str = "self") -> list[Mount]:
    """Read the mounts in the mount namespace of a process.  Raises OSError where it cannot be read."""
    text = Path(f"/proc/{pid}/mountinfo").read_bytes()
    return parse_mountinfo(os.fsdecode(text))


def topmost(mounts: Iterable[Mount], mountpoint: str) -> Mount | None:
    """Return the mount on top of all that are mounted at a path, None where there is none."""
    found = None
    for mount in mounts:
        if mount.mountpoint == mountpoint:
            found = mount
    return found


def find_pressurefs() -> str:
    """Return the directory of the mount to use: $PRESSUREFS_MOUNT if set, else the first in mountinfo.

    Raises FileNotFoundError (ENOENT) where there is none.
    """
    named = os.environ.get(MOUNT_VARIABLE)
    if named:
        return named
    for mount in read_mountinfo():
        if mount.filesystem_type == FILESYSTEM_TYPE:
            return mount.mountpoint
    raise FileNotFoundError(errno.ENOENT, f"no {FILESYSTEM_TYPE} is mounted and ${MOUNT_VARIABLE} is not set")


def is_dead(mountpoint: str) -> bool:
    """Return whether the server of a FUSE mount is gone.

    For a connection that was closed, the kernel itself answers ENOTCONN.
    """
    try:
        os.stat(mountpoint)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _unescape(field: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
