# SPDX-License-Identifier: MIT
"""Which binding is chosen, and which library a package loads."""

import errno
import functools
import os
import re
from types import SimpleNamespace
from typing import Any

import pytest

from pressurefs.filesystem.fuse import Loop, library, read_version
from pressurefs.filesystem.fuse.selection import BINDINGS, FUSE_VARIABLE, BindingUnavailable, open_binding

LIBRARY_VARIABLE = "FUSE_LIBRARY_PATH"
NOT_INSTALLED = ImportError("No module named 'it'")
NO_LIBRARY = OSError("it.so: cannot open shared object file")


class Second(Loop):
    """A binding that works."""


class First(Loop):
    """Another."""


def bind(patch: pytest.MonkeyPatch, **outcomes: Any) -> None:
    """Have each package open as a binding, or fail."""

    def open_one(outcome: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    for name, outcome in outcomes.items():
        patch.setitem(BINDINGS, name, functools.partial(open_one, outcome))


def package(version: int) -> Any:
    """Return a package whose library reports this version."""
    return SimpleNamespace(_libfuse=SimpleNamespace(fuse_version=lambda: version))


@pytest.mark.parametrize(
    ("asked", "fusepy", "mfusepy", "chosen"),
    [
        (None, First, Second, First),
        ("", First, Second, First),
        (None, First, NOT_INSTALLED, First),
        (None, NOT_INSTALLED, Second, Second),
        (None, NO_LIBRARY, Second, Second),
        ("fusepy", First, Second, First),
        ("mfusepy", First, Second, Second),
        ("mfusepy", NO_LIBRARY, Second, Second),
    ],
)
def test_chosen(
    asked: str | None, fusepy: object, mfusepy: object, chosen: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fusepy is taken if it works, else mfusepy; $PRESSUREFS_FUSE chooses otherwise."""
    bind(monkeypatch, fusepy=fusepy, mfusepy=mfusepy)
    monkeypatch.delenv(FUSE_VARIABLE, raising=False)
    if asked is not None:
        monkeypatch.setenv(FUSE_VARIABLE, asked)
    assert open_binding() is chosen


@pytest.mark.parametrize(
    ("asked", "fusepy", "mfusepy", "reason"),
    [
        ("fusepy", NOT_INSTALLED, Second, r"^fusepy is not installed \(No module named 'it'\); install"),
        ("mfusepy", First, NO_LIBRARY, r"^mfusepy finds no libfuse 3 \(it\.so: cannot open .*\); install"),
        ("", NO_LIBRARY, NOT_INSTALLED, r"^fusepy finds .*, and mfusepy is not installed \(.*\); install"),
        ("libfuse3", First, Second, r"^\$PRESSUREFS_FUSE is 'libfuse3', not fusepy or mfusepy$"),
    ],
)
def test_unavailable(
    asked: str, fusepy: object, mfusepy: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the reason for each package that was tried, and no other package is taken instead."""
    bind(monkeypatch, fusepy=fusepy, mfusepy=mfusepy)
    monkeypatch.setenv(FUSE_VARIABLE, asked)
    with pytest.raises(BindingUnavailable) as refused:
        open_binding()
    assert re.search(reason, refused.value.strerror or "")


@pytest.mark.parametrize(("number", "major", "version"), [(29, 2, "2.9"), (39, 3, "3.9"), (317, 3, "3.17")])
def test_version(number: int, major: int, version: str) -> None:
    """Versions are shown as libfuse writes them: two digits, and three since 3.10."""
    assert read_version(package(number), major) == version


@pytest.mark.parametrize(("number", "major"), [(29, 3), (314, 2), (39, 2)])
def test_wrong_library(number: int, major: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose major version differs from that of the package's structs is refused."""
    monkeypatch.setenv(LIBRARY_VARIABLE, "/opt/it.so")
    with pytest.raises(OSError, match=r"^\[Errno 80\] \$FUSE_LIBRARY_PATH=/opt/it\.so is libfuse") as refused:
        read_version(package(number), major)
    assert refused.value.errno == errno.ELIBBAD


def test_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is given the first library that exists; later callers do not see that setting."""
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    for names, taken in (
        (("no-such.so", "libc.so.6", "last.so"), "libc.so.6"),
        (("no-such.so", "last.so"), "last.so"),
    ):
        with library(*names):
            assert os.environ[LIBRARY_VARIABLE] == taken
        assert LIBRARY_VARIABLE not in os.environ


def test_library_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that the user has named is kept."""
    monkeypatch.setenv(LIBRARY_VARIABLE, "/opt/it.so")
    with library("libc.so.6"):
        assert os.environ[LIBRARY_VARIABLE] == "/opt/it.so"
    assert os.environ[LIBRARY_VARIABLE] == "/opt/it.so"
