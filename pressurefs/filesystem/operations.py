"""What FUSE asks of the tree: paths and numbers in, numbers out, an errno as an OSError.

Knows the names of FUSE's operations and no package that brings them here: see ``fuse/``.

Threading: libfuse's single-threaded loop calls everything here from one thread.  A handler never
blocks: while one runs, every other caller waits unkillably.

Some facts about FUSE that shape this file:

- What is missing here answers ENOSYS, and the kernel then stops asking (flush, getxattr: two round
  trips saved for each write).
- Without direct_io a write is split at 4096 bytes, and a file of size 0 reads as empty.
- ``echo x > file`` truncates first: truncate must succeed.
- Names are bytes.  A binding maps each to one character of Latin-1, so no name can fail to decode.
"""

import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pressurefs.errors import Refusal, refusal_of
from pressurefs.filesystem.nodes import Access, Directory, File, Node
from pressurefs.filesystem.poll_notify import Connection
from pressurefs.registration.refusal_log import Refusals
from pressurefs.signaller.poll import Opening
from pressurefs.signaller.writer import Caller

NAME_ENCODING = "latin-1"  # of names on their way to and from FUSE: a character for each byte


class _Handle(NamedTuple):
    """What an open file's number stands for."""

    file: File
    opening: Opening


class Operations:
    """The FUSE operations that a tree supports.  Lives as long as the mount."""

    use_ns = True  # times are integers, nanoseconds

    def __init__(
        self, top: Directory, answers: Callable[[], None], read_caller: Callable[[], Caller]
    ) -> None:
        """Serve ``top``; ``answers`` is called once, when the kernel has accepted the connection.

        ``read_caller`` returns whose call is being answered, and means nothing outside of one.
        """
        self._top = top
        self._answers = answers
        self._read_caller = read_caller
        self._connection = Connection()
        self._refusals = Refusals()
        self._handles: dict[int, _Handle] = {}
        self._handle_numbers = itertools.count(1)
        self._born_ns = time.time_ns()

    def init(self, _path: str) -> None:
        """Say that the mount answers."""
        self._connection.open()
        self._answers()

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Return the attributes of a path."""
        return self.attributes(self.find(path))

    def attributes(self, node: Node) -> dict[str, int]:
        """Return what stat(2) says of a node; its times are the mount's."""
        return {
            "st_ino": node.inode,
            "st_mode": node.mode,
            "st_nlink": node.links,
            "st_uid": node.uid,
            "st_gid": node.gid,
            "st_size": 0,
            "st_atime": self._born_ns,
            "st_mtime": self._born_ns,
            "st_ctime": self._born_ns,
        }

    def readdir(self, path: str, _handle: Any) -> Iterator[tuple[str, dict[str, int], int]]:
        """Yield (name, attributes, 0) for each entry."""
        directory = self.find(path)
        if not isinstance(directory, Directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        itself = directory.inode, directory.mode
        for name, inode, mode in ((".", *itself), ("..", *itself), *directory.entries()):
            yield os.fsencode(name).decode(NAME_ENCODING), {"st_ino": inode, "st_mode": mode}, 0

    def open(self, path: str, info: Any) -> int:
        """Open a file; the mode was checked by the kernel (default_permissions)."""
        file = self.find(path)
        if not isinstance(file, File):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if info.flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "kernfs knows no O_DIRECT")
        info.direct_io = 1
        info.fh = next(self._handle_numbers)
        self._handles[info.fh] = _Handle(file, Opening(self._read_caller().uid, self._connection.wake))
        return 0

    def read(self, _path: str, size: int, offset: int, info: Any) -> bytes:
        """Return a slice of the content as of now."""
        return self._handles[info.fh].file.read()[offset : offset + size]

    def write(self, _path: str, written: bytes, _offset: int, info: Any) -> int:
        """Hand one record to the file; the whole of it is taken, or none."""
        handle = self._handles[info.fh]
        caller = self._read_caller()
        try:
            handle.file.write(Access(caller, handle.opening), written)
        except OSError as error:
            refusal = refusal_of(error)
            if isinstance(refusal, Refusal):
                self._refusals.note(caller.uid, refusal, time.monotonic())
                raise refusal from None
            raise RuntimeError("write failed") from error  # a fault of ours: EIO, and a line in the log
        return len(written)

    def release(self, _path: str, info: Any) -> int:
        """Forget an open file: its last descriptor is closed."""
        handle = self._handles.pop(info.fh)
        handle.file.close(handle.opening)
        return 0

    def poll(self, _path: str, info: Any, waiting: int | None) -> int:
        """Return what poll(2) says; ``waiting`` is the kernel's number of the file if somebody waits."""
        handle = self._handles[info.fh]
        poller = handle.opening.poller
        return handle.file.ready if poller is None else poller.poll(waiting)

    def truncate(self, path: str, _length: int, _handle: Any = None) -> int:
        """Succeed without effect."""
        self.find(path)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Change the permission bits."""
        self._find_own(path).change_mode(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Change owner and group; to whom, the kernel has checked."""
        self._find_own(path).change_owner(uid, gid)
        return 0

    def utimens(self, path: str, _times: tuple[int, int] | None = None) -> int:
        """Succeed without effect: times here mean nothing."""
        self.find(path)
        return 0

    def create(self, _path: str, _mode: int, _info: Any) -> int:
        """Refuse: files come with the kernel's cgroups, not from users."""
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def rename(self, _old: str, _new: str) -> int:
        """Refuse as cgroupfs does: only a directory could be renamed, and here none can."""
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _not_permitted(self, *_arguments: Any) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    mknod = mkdir = unlink = rmdir = symlink = link = _not_permitted

    def _find_own(self, path: str) -> Node:
        """Return a node of the caller's.

        The kernel goes by what it was told of the owner last; by an open file of a removed cgroup that may
        be another's than the one of the cgroup which has its name.
        """
        node = self.find(path)
        if self._read_caller().uid not in (0, node.uid):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return node

    def find(self, path: str) -> Node:
        """Return the node of a path whose characters stand for bytes."""
        return self._top.find(path if path.isascii() else os.fsdecode(path.encode(NAME_ENCODING)))
