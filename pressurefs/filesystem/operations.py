# SPDX-License-Identifier: MIT
"""The FUSE operations on the tree: paths and numbers in, numbers out, an errno as an OSError.

Follow a write(2): ``Operations.write`` calls ``File.write`` (nodes.py), which a class of control_files.py or
debug_directory.py overrides; a control file's goes on to ``Registrar.register`` (registration/checks.py).

Knows the names of FUSE's operations, and not the Python packages that bind libfuse: see ``fuse/``.

Threading: libfuse's single-threaded loop calls everything here from one thread.  A handler never
blocks: while it runs, every other caller waits and cannot be killed.

Some facts about FUSE that shape this file:

- An operation that is missing here answers ENOSYS, and the kernel then stops sending it (flush, getxattr:
  two round trips saved for each write).
- Without direct_io a write is split at 4096 bytes, and a file of size 0 reads as empty.
- ``echo x > file`` truncates first: truncate must succeed.
- Names are bytes.  FUSE's packages map each byte to one character of Latin-1, so no name fails to decode.
"""

import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from pressurefs.errors import Refusal, refusal_of
from pressurefs.filesystem.nodes import Access, Directory, File, Node
from pressurefs.filesystem.poll_notify import Connection
from pressurefs.registration.refusal_log import Refusals
from pressurefs.signaller.opening import Opening
from pressurefs.signaller.writer import Caller

NAME_ENCODING = "latin-1"  # of names between FUSE and this file: a character for each byte


class _Handle:
    """What the handle number (fi.fh) of an open file stands for.  Lives until the last close.

    ``content``: what a reader has not read to its end yet.
    """

    __slots__ = ("content", "file", "opening")

    def __init__(self, file: File, opening: Opening) -> None:
        self.file = file
        self.opening = opening
        self.content: bytes | None = None


class Operations:
    """The FUSE operations that a tree supports.  Lives as long as the mount; used by the FUSE thread alone.

    The packages in ``fuse/`` register each attribute that is named like a FUSE operation as that operation.
    """

    use_ns = True  # times are integers, nanoseconds

    def __init__(
        self, top: Directory, answers: Callable[[], None], read_caller: Callable[[], Caller]
    ) -> None:
        """Serve ``top``; ``answers`` is called once, when the kernel has accepted the connection.

        ``read_caller`` returns the process whose call is being answered; it means nothing outside a call.
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
        """Open the connection and report that the mount answers."""
        self._connection.open()
        self._answers()

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Return the attributes of a path."""
        return self.attributes(self.find(path))

    def attributes(self, node: Node) -> dict[str, int]:
        """Return what stat(2) reports for a node; all times are the time of mounting."""
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
        """Open a file; the kernel has checked the mode (default_permissions)."""
        file = self.find(path)
        if not isinstance(file, File):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if info.flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "kernfs has no O_DIRECT")
        info.direct_io = 1
        info.fh = next(self._handle_numbers)
        self._handles[info.fh] = _Handle(file, Opening(self._read_caller().uid, self._connection.fd))
        return 0

    def read(self, _path: str, size: int, offset: int, info: Any) -> bytes:
        """Return a slice of the content as it was at the first read: rows come and go between two."""
        handle = self._handles[info.fh]
        if offset == 0 or handle.content is None:
            handle.content = handle.file.read()
        piece = handle.content[offset : offset + size]
        if not piece:
            handle.content = None
        return piece

    def write(self, _path: str, record: bytes, _offset: int, info: Any) -> int:
        """Give one record to the file, which accepts the whole of it or nothing.

        Raises Refusal, which was counted and perhaps logged; RuntimeError, and so EIO, for a fault of ours.
        """
        handle = self._handles[info.fh]
        caller = self._read_caller()
        try:
            handle.file.write(Access(caller, handle.opening), record)
        except OSError as error:
            refusal = refusal_of(error)
            if isinstance(refusal, Refusal):
                self._refusals.note(caller.uid, refusal, time.monotonic())
                raise refusal from None
            raise RuntimeError("write failed") from error  # EIO, and a line in the log
        return len(record)

    def release(self, _path: str, info: Any) -> int:
        """Forget an open file: its last descriptor is closed."""
        handle = self._handles.pop(info.fh)
        handle.file.close(handle.opening)
        return 0

    def poll(self, _path: str, info: Any, waiting: int | None) -> int:
        """Return the events that poll(2) reports.

        ``waiting``: the kernel's number of the open file, None where no process waits for it.
        """
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
        """Change owner and group; the kernel has checked that the caller is allowed to choose these."""
        self._find_own(path).change_owner(uid, gid)
        return 0

    def utimens(self, path: str, _times: tuple[int, int] | None = None) -> int:
        """Succeed without effect: times mean nothing in this mount."""
        self.find(path)
        return 0

    def create(self, _path: str, _mode: int, _info: Any) -> int:
        """Refuse: files exist because cgroups do, and users cannot make any."""
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def rename(self, _old: str, _new: str) -> int:
        """Refuse as cgroupfs does: only a directory could be renamed, and here none can."""
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _not_permitted(self, *_arguments: Any) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    mknod = mkdir = unlink = rmdir = symlink = link = _not_permitted

    def _find_own(self, path: str) -> Node:
        """Return a node that the caller owns; EPERM for a node that they do not own.

        The kernel has checked by the owner that it saw last.  Through an open file of a removed cgroup, that
        can be another owner than that of the cgroup which has the name at this moment.
        """
        node = self.find(path)
        if self._read_caller().uid not in (0, node.uid):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return node

    def find(self, path: str) -> Node:
        """Return the node of a path whose characters stand for bytes; OSError where there is none."""
        return self._top.find(path if path.isascii() else os.fsdecode(path.encode(NAME_ENCODING)))
