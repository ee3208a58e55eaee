"""The adapter between FUSE and the tree: paths and dicts in, errnos out.  The only ``import fuse``.

Threading: libfuse's single-threaded loop calls everything here from one thread.  A handler never
blocks: while one runs, every other caller waits unkillably.

Some facts about fusepy 3.0.1 and libfuse 2.9 that shape this file:

- Every attribute of the operations object that is named like a FUSE operation is registered as one.
  So ``Operations`` does not inherit fusepy's class of the same name, which answers everything:
  what is missing here answers ENOSYS, and the kernel then stops asking (flush, getxattr: two
  round trips saved for each write).
- ``FUSE._wrapper`` answers nonsense for an OSError without errno and EINVAL for any bug; see
  ``_Loop``.
- fuse_get_context() is right within a call and means nothing outside.
- Without direct_io a write is split at 4096 bytes, and a file of size 0 reads as empty.
- ``echo x > file`` truncates first: truncate must succeed.
- fusepy's struct fuse_operations ends before ``poll``; the member is added here.
- Names are bytes.  Latin-1 maps each byte to one character and back, so no name can fail to decode.
"""

import contextlib
import ctypes
import errno
import functools
import itertools
import logging
import os
import select
import stat
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

# Without this, ctypes.util runs ldconfig to find the library: 10 ms of every start.
os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse.so.2")

import fuse

from pressurefs.caller import Caller
from pressurefs.poller import Opening
from pressurefs.protocol import Refusal, refusal_of
from pressurefs.refusals import Refusals
from pressurefs.tree import Access, Directory, File, Node

_log = logging.getLogger("pressurefs.filesystem")

_ENCODING = "latin-1"
_STAT_BYTES = ctypes.sizeof(fuse.c_stat)

# What poll(2) says of a file that has no poller: the kernel's DEFAULT_POLLMASK.
_ALWAYS_READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM

# A message to the kernel that answers nothing: struct fuse_out_header, then the number of a polled file.
_NOTIFY_POLL = struct.Struct("=IiQQ")
_NOTIFY_POLL_CODE = 1


class _Handle(NamedTuple):
    """What an open file's number stands for."""

    file: File
    opening: Opening


class Operations:
    """The FUSE operations that a tree supports.  Lives as long as the mount."""

    use_ns = True  # times are integers, nanoseconds

    def __init__(self, top: Directory, answers: Callable[[], None]) -> None:
        """Serve ``top``; ``answers`` is called once, when the kernel has accepted the connection."""
        self._top = top
        self._answers = answers
        self._refusals = Refusals()
        self._handles: dict[int, _Handle] = {}
        self._handle_numbers = itertools.count(1)
        self._born_ns = time.time_ns()

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """Dispatch, as fusepy asks."""
        return getattr(self, operation)(*arguments)

    def init(self, _path: str) -> None:
        """Say that the mount answers."""
        self._connection_fd = os.dup(_find_connection())
        self._answers()

    def _wake_pollers(self, waiting: int) -> None:
        """Have the kernel ask again; called by whoever signals.

        Not by libfuse's fuse_notify_poll(): its handle points into a channel that is gone when somebody
        forces the unmount.  A descriptor of our own says ENODEV then.
        """
        with contextlib.suppress(OSError):
            header = _NOTIFY_POLL.size, _NOTIFY_POLL_CODE, 0
            os.write(self._connection_fd, _NOTIFY_POLL.pack(*header, waiting))

    def getattr(self, path: str, _handle: Any = None) -> dict[str, int]:
        """Return the attributes of a path."""
        return _attributes(*self.identity(path))

    def identity(self, path: str) -> tuple[int, int, int, int, int]:
        """Return what the attributes of a path are made from: inode, mode, uid, gid, birth in ns."""
        return self._identity(self._top.find(path))

    def readdir(self, path: str, _handle: Any) -> Iterator[tuple[str, dict[str, int], int]]:
        """Yield (name, attributes, 0) for each entry."""
        directory = self._top.find(path)
        if not isinstance(directory, Directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        for name, node in ((".", directory), ("..", directory), *directory.children.items()):
            yield name, _attributes(*self._identity(node)), 0

    def open(self, path: str, info: Any) -> int:
        """Open a file; the mode was checked by the kernel (default_permissions)."""
        file = self._top.find(path)
        if not isinstance(file, File):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if info.flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "kernfs knows no O_DIRECT")
        info.direct_io = 1
        info.fh = next(self._handle_numbers)
        self._handles[info.fh] = _Handle(file, Opening(_caller().uid, self._wake_pollers))
        return 0

    def read(self, _path: str, size: int, offset: int, info: Any) -> bytes:
        """Return a slice of the content as of now."""
        return self._handles[info.fh].file.read()[offset : offset + size]

    def write(self, _path: str, written: bytes, _offset: int, info: Any) -> int:
        """Hand one record to the file; the whole of it is taken, or none."""
        handle = self._handles[info.fh]
        caller = _caller()
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
        poller = self._handles[info.fh].opening.poller
        return _ALWAYS_READY if poller is None else poller.poll(waiting)

    def truncate(self, path: str, _length: int, _handle: Any = None) -> int:
        """Succeed without effect."""
        self._top.find(path)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Change the permission bits."""
        self._top.find(path).change_mode(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Change owner and group."""
        self._top.find(path).change_owner(uid, gid)
        return 0

    def utimens(self, path: str, _times: tuple[int, int] | None = None) -> int:
        """Succeed without effect: times here mean nothing."""
        self._top.find(path)
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

    def _identity(self, node: Node) -> tuple[int, int, int, int, int]:
        return node.inode, node.mode, node.uid, node.gid, self._born_ns


def _attributes(inode: int, mode: int, uid: int, gid: int, born_ns: int) -> dict[str, int]:
    return {
        "st_ino": inode,
        "st_mode": mode,
        "st_nlink": 2 if stat.S_ISDIR(mode) else 1,
        "st_uid": uid,
        "st_gid": gid,
        "st_size": 0,
        "st_atime": born_ns,
        "st_mtime": born_ns,
        "st_ctime": born_ns,
    }


@functools.lru_cache(maxsize=1024)
def _stat_of(inode: int, mode: int, uid: int, gid: int, born_ns: int) -> Any:
    prepared = fuse.c_stat()
    fuse.set_st_attrs(prepared, _attributes(inode, mode, uid, gid, born_ns), use_ns=True)
    return ctypes.byref(prepared)


def _find_connection() -> int:
    """Return libfuse's descriptor of the connection; a daemon has just one."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                return int(name)
    raise OSError(errno.ENOTCONN, "no descriptor of /dev/fuse is open")


_POLL_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(fuse.fuse_file_info),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint),
)


class _OperationsWithPoll(ctypes.Structure):
    """struct fuse_operations up to ``poll``, which follows the last member that fusepy knows."""

    _fields_ = (*fuse.fuse_operations._fields_, ("poll", _POLL_PROTOTYPE))


fuse.fuse_operations = _OperationsWithPoll


class _Loop(fuse.FUSE):  # type: ignore[misc]
    """fusepy's loop, with answers that are never a wrong success and never a guess."""

    def fgetattr(self, path: bytes, buffer: Any, _info: Any) -> int:
        """Copy the attributes as a whole; fusepy sets them field by field, thrice for each write."""
        prepared = _stat_of(*self.operations.identity(path.decode(_ENCODING)))
        ctypes.memmove(buffer, prepared, _STAT_BYTES)
        return 0

    def poll(self, path: bytes, info: Any, handle: int | None, ready: Any) -> int:
        """Answer poll(2).  The handle that libfuse gives begins with the kernel's number of the file."""
        waiting = None
        if handle is not None:
            waiting = ctypes.c_uint64.from_address(handle).value
            fuse._libfuse.fuse_pollhandle_destroy(ctypes.c_void_p(handle))  # noqa: SLF001
        ready[0] = self.operations("poll", path.decode(_ENCODING), info.contents, waiting)
        return 0

    @staticmethod
    def _wrapper(func: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        try:
            return func(*args, **kwargs) or 0
        except OSError as error:
            if error.errno is not None and error.errno > 0:
                return -error.errno
            _log.exception("fault in %s: an error without errno", func.__name__)
        except BaseException:  # noqa: BLE001, nothing may reach libfuse's C but an errno
            _log.exception("fault in %s", func.__name__)
        return -errno.EIO


def serve(operations: Operations, mountpoint: str, options: dict[str, str | bool]) -> None:
    """Mount and answer until the file system is unmounted.  RuntimeError where it cannot be mounted.

    ``options`` are added to ours; libfuse tells on stderr what it does not like.
    """
    _Loop(
        operations,
        os.fsencode(mountpoint).decode(_ENCODING),
        encoding=_ENCODING,
        raw_fi=True,
        foreground=True,  # a fork would lose our threads
        nothreads=True,
        fsname="pressurefs",
        subtype="pressurefs",
        use_ino=True,
        default_permissions=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        **options,
    )


def _caller() -> Caller:
    uid, gid, pid = fuse.fuse_get_context()
    return Caller(pid, uid, gid)
