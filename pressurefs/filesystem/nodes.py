# SPDX-License-Identifier: MIT
"""What the mount contains, without FUSE: the kinds of nodes, their attributes, what reading and writing does.

Knows no registration and no cgroup: control_files.py, debug_directory.py and cgroup_directories.py derive
from the classes here.  Behaves as cgroupfs does: nothing can be made, renamed or removed, owner and mode can
be changed, truncation does nothing, and every write is one whole record whatever its offset.

Threading: the FUSE thread alone uses nodes, except that the main thread ends the top directory.
"""

import errno
import os
import select
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pressurefs.errors import Refusal
from pressurefs.signaller.opening import Opening
from pressurefs.signaller.writer import Caller

# What poll(2) reports for a file that has no events: the kernel's DEFAULT_POLLMASK.
ALWAYS_READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM


class Access(NamedTuple):
    """The process that writes, and the open file that it writes through.

    Another process may have opened that file: a descriptor can be passed on.
    """

    caller: Caller
    opening: Opening


class Entry(NamedTuple):
    """A name in a directory, with inode number and mode (type and permissions)."""

    name: str
    inode: int
    mode: int


class Node:
    """An inode: number, mode (type and permissions), owner, links.  Lives as long as its directory keeps it.

    The daemon's own user owns it until chown(2) changes that.  ``is_changed``: whether a user has changed
    mode or owner.  ``shown``: the attributes as packed for FUSE, None when they are out of date.
    """

    def __init__(self, inode: int, mode: int) -> None:
        self.inode = inode
        self.mode = mode
        self.uid = os.geteuid()
        self.gid = os.getegid()
        self.links = 1
        self.is_changed = False
        self.shown: Any = None

    def change_mode(self, permissions: int) -> None:
        """Set the permission bits."""
        self.is_changed, self.shown = True, None
        self.mode = stat.S_IFMT(self.mode) | stat.S_IMODE(permissions)

    def change_owner(self, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves that number as it is."""
        self.is_changed, self.shown = True, None
        self.uid = self.uid if uid == -1 else uid
        self.gid = self.gid if gid == -1 else gid


class File(Node):
    """A regular file whose content is made when it is read.  Lives as long as its directory keeps it.

    A subclass overrides what its file can do.  What it does not override answers EINVAL, as kernfs does,
    after the kernel has checked the mode.  ``ready``: the events that poll(2) reports while the open file
    has no registration of its own.
    """

    def __init__(self, inode: int, permissions: int, *, ready: int = ALWAYS_READY) -> None:
        super().__init__(inode, stat.S_IFREG | permissions)
        self.ready = ready

    def read(self) -> bytes:
        """Return the whole content as it is at this moment, or raise the OSError that read(2) answers."""
        raise Refusal(errno.EINVAL, "this file has nothing to read")

    def write(self, access: Access, record: bytes) -> None:  # noqa: ARG002
        """Accept one record, or raise the OSError that write(2) answers."""
        raise Refusal(errno.EINVAL, "this file takes no writes")

    def close(self, opening: Opening) -> None:
        """Clean up after the last close of an open file.  Most files have nothing to clean up."""


class Directory(Node):
    """A directory with a fixed set of children.  Lives as long as its parent keeps it."""

    def __init__(self, inode: int, permissions: int, children: Mapping[str, Node]) -> None:
        super().__init__(inode, stat.S_IFDIR | permissions)
        self.links = 2
        self.children = children

    def find(self, path: str) -> Node:
        """Return the node at a path below this directory; "/" is the directory itself.

        Raises FileNotFoundError (ENOENT) where there is none.
        """
        node: Node = self
        for name in path.split("/"):
            if not name:
                continue
            child = node.children.get(name) if isinstance(node, Directory) else None
            if child is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            node = child
        return node

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each child, in the order of listing."""
        for name, node in self.children.items():
            yield Entry(name, node.inode, node.mode)
