# SPDX-License-Identifier: MIT
"""Folders import in one direction, and what comes from outside has one door."""

import ast
import graphlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pressurefs

PACKAGE = "pressurefs"
FOLDER = Path(pressurefs.__file__).parent

# What comes from outside the standard library, and the one room that may have it.
OUTSIDE = {
    "fuse": {"filesystem.fuse.fusepy"},
    "matplotlib": {"cli.plotting"},
    "mfusepy": {"filesystem.fuse.mfusepy"},
    "pressurefs._native": {
        *("signaller.take", "signaller.uring", "signaller.holders", "signaller.aio"),
        *("events.fanout", "sources.bpf_program"),
    },
}

# What an application loads: the standard library and each other.
CLIENT_HALF = {"client", "mountinfo"}


def modules() -> dict[str, Path]:
    """Return every module below the package by its name without the package's."""
    found = {}
    for path in sorted(path for path in FOLDER.rglob("*.py") if "share" not in path.parts):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name or PACKAGE] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it the import stands."""
    package = (PACKAGE, *path.parent.relative_to(FOLDER).parts)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield name if name in OUTSIDE or name.removeprefix(f"{PACKAGE}.") in MODULES else origin


def own_imports(name: str) -> set[str]:
    """Return the modules of this package that a module imports, by their names without the package's."""
    whole = {one for one in imported(MODULES[name]) if one.split(".")[0] == PACKAGE and one not in OUTSIDE}
    return {one.removeprefix(f"{PACKAGE}.") for one in whole}


def room_of(name: str) -> str:
    """Return the folder that a module lies in; a module beside the folders is a room of its own."""
    return name.split(".", maxsplit=1)[0]


def rooms() -> dict[str, set[str]]:
    """Return for each room the other rooms that it imports, in functions and for type checking too."""
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        graph.setdefault(room_of(name), set()).update(map(room_of, own_imports(name)))
    return {room: imports - {room} for room, imports in graph.items()}


def test_rooms_import_in_one_direction() -> None:
    """The rooms can be put in an order in which each imports only rooms before it."""
    try:
        order = list(graphlib.TopologicalSorter(rooms()).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"rooms import each other: {' -> '.join(error.args[1])}")
    assert sorted(order) == sorted(rooms())


@pytest.mark.parametrize(("outside", "room"), OUTSIDE.items())
def test_outside_has_one_door(outside: str, room: set[str]) -> None:
    """What comes from outside is imported in the rooms named here, and in no other."""
    users = {
        name
        for name, path in MODULES.items()
        if any(one == outside or one.startswith(f"{outside}.") for one in imported(path))
    }
    assert users == room


def test_nothing_else_from_outside() -> None:
    """Beside those all imports are the standard library's or the package's own."""
    known = sys.stdlib_module_names | {PACKAGE}
    everything = set(itertools.chain.from_iterable(map(imported, MODULES.values())))
    assert {one.split(".")[0] for one in everything} - known == {"fuse", "matplotlib", "mfusepy"}


@pytest.mark.parametrize("name", sorted(CLIENT_HALF))
def test_client_half(name: str) -> None:
    """What an application loads imports the standard library and the client half, nothing else."""
    assert own_imports(name) <= CLIENT_HALF - {name}
    assert {one.split(".")[0] for one in imported(MODULES[name])} <= sys.stdlib_module_names | {PACKAGE}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import fuse", {"fuse"}),
        ("import pressurefs.client as one", {"pressurefs.client"}),
        ("from pressurefs import client, mountinfo", {"pressurefs.client", "pressurefs.mountinfo"}),
        ("from pressurefs import nothing", {"pressurefs"}),
        ("from pressurefs import _native", {"pressurefs._native"}),
        ("from pressurefs._native import lib", {"pressurefs._native"}),
        ("from pressurefs.sources import vmstat", {"pressurefs.sources.vmstat"}),
        ("from pressurefs.sources import Source", {"pressurefs.sources"}),
        ("def late():\n    from . import client", {"pressurefs.client"}),
        ("if TYPE_CHECKING:\n    from .client import wait", {"pressurefs.client"}),
    ],
    ids=[
        "import",
        "as",
        "from package",
        "no module",
        "native",
        "in native",
        "nested",
        "word",
        "late",
        "typing",
    ],
)
def test_imports_are_seen(
    source: str, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each form of import statement is seen for what it imports."""
    monkeypatch.setattr(sys.modules[__name__], "FOLDER", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(source)
    assert set(imported(path)) == names
