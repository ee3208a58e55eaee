"""How libfuse is reached: one file for each Python package that binds it.

A binding mounts, runs libfuse's loop, and turns its C calls into those of ``Operations``.  This file says
what all bindings have in common; each package is imported in its own file and nowhere else.

Some facts about what they bring, and why it is overridden:

- Every attribute of the operations object that is named like a FUSE operation is registered as one.
  So ``Operations`` does not inherit the packages' class of the same name.
- Their ``_wrapper`` answers nonsense for an OSError without errno and EINVAL for any bug: see ``Loop``.
- fuse_get_context() is right within a call and means nothing outside.
- Where $FUSE_LIBRARY_PATH is not set, ctypes.util runs ldconfig to find the library: 10 ms of every start.
"""

import contextlib
import ctypes
import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from pressurefs.filesystem.nodes import Directory
from pressurefs.filesystem.operations import NAME_ENCODING, Operations
from pressurefs.signaller.writer import Caller

_log = logging.getLogger("pressurefs.filesystem.fuse")

_LIBRARY_VARIABLE = "FUSE_LIBRARY_PATH"


class Loop:
    """A package's loop, with answers that are never a wrong success and never a guess.

    Stands before the package's class FUSE among the bases of a binding.  Lives as long as the mount.
    ``name`` is the package's, ``version`` its libfuse's; ``package`` brings libfuse.  ``needless``: options
    that it does not know and need not be told.
    """

    name: str
    version: str
    package: Any
    needless: frozenset[str] = frozenset()
    operations: Any

    @classmethod
    def serve(
        cls,
        top: Directory,
        answers: Callable[[], None],
        mountpoint: str,
        options: dict[str, str | bool],
    ) -> None:
        """Mount and answer until the file system is unmounted.  RuntimeError where it cannot be mounted.

        ``answers`` is called once, when the kernel has accepted the connection.  ``options`` are added to
        ours; libfuse tells on stderr what it does not like.
        """
        loop: Any = cls
        loop(
            cls.make_operations(top, answers, cls.read_caller),
            os.fsencode(mountpoint).decode(NAME_ENCODING),
            encoding=NAME_ENCODING,
            raw_fi=True,
            foreground=True,  # a fork would lose our threads
            nothreads=True,
            fsname="pressurefs",
            subtype="pressurefs",
            use_ino=True,
            hard_remove=True,  # an open file is refused as any: libfuse would try to rename it instead
            default_permissions=True,
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
            **{name: value for name, value in options.items() if name not in cls.needless},
        )

    make_operations: Callable[..., Operations] = Operations

    @classmethod
    def read_caller(cls) -> Caller:
        """Return whose call is being answered."""
        uid, gid, pid = cls.package.fuse_get_context()
        return Caller(pid, uid, gid)

    def fgetattr(self, path: bytes, buffer: Any, _info: Any) -> int:
        """Copy the attributes as a whole; the packages set them field by field, thrice for each write."""
        node = self.operations.find(path.decode(NAME_ENCODING))
        if node.shown is None:
            prepared = self.package.c_stat()
            self.package.set_st_attrs(prepared, self.operations.attributes(node), use_ns=True)
            node.shown = ctypes.byref(prepared), ctypes.sizeof(prepared)
        ctypes.memmove(buffer, *node.shown)
        return 0

    def poll(self, path: bytes, info: Any, handle: int | None, ready: Any) -> int:
        """Answer poll(2).  The handle that libfuse gives begins with the kernel's number of the file."""
        waiting = None
        if handle is not None:
            waiting = ctypes.c_uint64.from_address(handle).value
            self.package._libfuse.fuse_pollhandle_destroy(ctypes.c_void_p(handle))  # noqa: SLF001
        ready[0] = self.operations.poll(path.decode(NAME_ENCODING), info.contents, waiting)
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


@contextlib.contextmanager
def library(*names: str) -> Iterator[None]:
    """Have a package take the first of these libraries that is there, unless the user has named another.

    Where there is none the package fails to load the last one, with the loader's OSError.
    """
    if os.environ.get(_LIBRARY_VARIABLE):
        yield
        return
    os.environ[_LIBRARY_VARIABLE] = _first_loadable(names)
    try:
        yield
    finally:
        del os.environ[_LIBRARY_VARIABLE]


def _first_loadable(names: tuple[str, ...]) -> str:
    *preferred, last = names
    for name in preferred:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return name
    return last


def read_version(package: Any, major: int) -> str:
    """Return the version of the libfuse that a package has taken; OSError where the major is another."""
    number = package._libfuse.fuse_version()  # noqa: SLF001
    found, minor = divmod(number, 10 if number < 100 else 100)  # noqa: PLR2004, 2.9 is 29 and 3.14 is 314
    if found != major:
        path = os.environ.get(_LIBRARY_VARIABLE)
        raise OSError(errno.ELIBBAD, f"${_LIBRARY_VARIABLE}={path} is libfuse {found}.{minor}")
    return f"{found}.{minor}"
