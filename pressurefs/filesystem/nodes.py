"""What the mount contains, without FUSE: nodes, their attributes, and what reading and writing them does.

The manners are cgroupfs's: nothing can be made, renamed or removed, attributes can be changed,
truncation does nothing, every write is one whole record whatever its offset.
"""

import errno
import os
import select
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pressurefs.errors import Refusal
from pressurefs.signaller.poll import Opening
from pressurefs.signaller.writer import Caller

# What poll(2) says of a file that knows no events: the kernel's DEFAULT_POLLMASK.
ALWAYS_READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM


class Access(NamedTuple):
    """Who writes now, through which open file: a descriptor can be handed on."""

    caller: Caller
    opening: Opening


class Entry(NamedTuple):
    """A name in a directory."""

    name: str
    inode: int
    mode: int


class Node:
    """An inode: number, mode with type, owner, links.  Owned by us until that is changed.

    ``shown`` is what FUSE has made of that, None once it is no longer true.
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
        """Set owner and group; -1 leaves one as it is."""
        self.is_changed, self.shown = True, None
        self.uid = self.uid if uid == -1 else uid
        self.gid = self.gid if gid == -1 else gid


class File(Node):
    """A file whose content is made when it is read.

    One without a reader or a writer answers EINVAL, as kernfs does, to those whom its mode lets in.
    ``ready`` is what poll(2) says of it.
    """

    def __init__(
        self,
        inode: int,
        permissions: int,
        read: Callable[[], bytes] | None = None,
        write: Callable[[Access, bytes], None] | None = None,
        close: Callable[[Opening], None] | None = None,
        *,
        ready: int = ALWAYS_READY,
    ) -> None:
        super().__init__(inode, stat.S_IFREG | permissions)
        self.ready = ready
        self._read = read
        self._write = write
        self._close = close

    def read(self) -> bytes:
        """Return the whole content as of now."""
        if self._read is None:
            raise Refusal(errno.EINVAL, "this file has nothing to read")
        return self._read()

    def write(self, access: Access, written: bytes) -> None:
        """Take one record, or raise the OSError that write(2) answers."""
        if self._write is None:
            raise Refusal(errno.EINVAL, "this file takes no writes")
        self._write(access, written)

    def close(self, opening: Opening) -> None:
        """Take note of the last close of an open file."""
        if self._close is not None:
            self._close(opening)


class Directory(Node):
    """A directory with a fixed set of children."""

    def __init__(self, inode: int, permissions: int, children: Mapping[str, Node]) -> None:
        super().__init__(inode, stat.S_IFDIR | permissions)
        self.links = 2
        self.children = children

    def find(self, path: str) -> Node:
        """Return the node at a path below this directory; "/" is the directory itself."""
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
        """Yield what is listed."""
        for name, node in self.children.items():
            yield Entry(name, node.inode, node.mode)
