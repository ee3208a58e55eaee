# SPDX-License-Identifier: MIT
"""How libfuse is called: a file for each Python package that binds it, and what these have in common.

A *binding* is the Python package that binds libfuse: it loads the library by ctypes, mounts, runs libfuse's
loop, and turns libfuse's C calls into calls of ``Operations``.  Each is imported in its own file only.

Threading: the FUSE thread runs the loop, and so every method of ``Operations``.

Some facts about these packages, and why parts of them are overridden:

- They register every attribute of the operations object that is named like a FUSE operation as that
  operation.  So ``Operations`` does not inherit the packages' class of the same name.
- Their ``_wrapper`` answers nonsense for an OSError without errno, and EINVAL for any bug: see ``Loop``.
- fuse_get_context() is right within a call and means nothing outside a call.
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
    """A binding's loop, which never answers a wrong success nor a guessed errno.  Lives as long as the mount.

    A base class that stands before the package's class FUSE.  ``name``: of the package.  ``version``: of the
    libfuse that it has loaded.  ``package``: the module.  ``needless``: mount options to leave out, because
    this libfuse does not know them and does not need them.
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
        the options here; libfuse reports on stderr which of them it does not accept.
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
            hard_remove=True,  # else libfuse renames an open file instead, where EPERM is to be answered
            default_permissions=True,
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
            **{name: value for name, value in options.items() if name not in cls.needless},
        )

    make_operations: Callable[..., Operations] = Operations

    @classmethod
    def read_caller(cls) -> Caller:
        """Return the process whose call is being answered."""
        uid, gid, pid = cls.package.fuse_get_context()
        return Caller(pid, uid, gid)

    def fgetattr(self, path: bytes, buffer: Any, _info: Any) -> int:
        """Answer stat(2), with attributes packed once.

        The packages set them field by field, and the kernel asks three times for each write.
        """
        node = self.operations.find(path.decode(NAME_ENCODING))
        if node.shown is None:
            prepared = self.package.c_stat()
            self.package.set_st_attrs(prepared, self.operations.attributes(node), use_ns=True)
            node.shown = ctypes.byref(prepared), ctypes.sizeof(prepared)
        ctypes.memmove(buffer, *node.shown)
        return 0

    def poll(self, path: bytes, info: Any, handle: int | None, ready: Any) -> int:
        """Answer poll(2).  libfuse's handle begins with the kernel's number of the open file."""
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
        except BaseException:  # noqa: BLE001, only an errno is allowed to reach libfuse's C
            _log.exception("fault in %s", func.__name__)
        return -errno.EIO


@contextlib.contextmanager
def library(*names: str) -> Iterator[None]:
    """Make a package that is imported in this block load the first of these libraries that exists.

    A library that the user has named in $FUSE_LIBRARY_PATH is loaded instead.  Where none exists, the package
    fails to load the last of them, with the loader's OSError.
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
    """Return the version of the libfuse that a package has loaded, as "2.9".

    Raises OSError (ELIBBAD) where its major version is not ``major``.
    """
    number = package._libfuse.fuse_version()  # noqa: SLF001
    found, minor = divmod(number, 10 if number < 100 else 100)  # noqa: PLR2004, 2.9 is 29 and 3.14 is 314
    if found != major:
        path = os.environ.get(_LIBRARY_VARIABLE)
        raise OSError(errno.ELIBBAD, f"${_LIBRARY_VARIABLE}={path} is libfuse {found}.{minor}")
    return f"{found}.{minor}"
