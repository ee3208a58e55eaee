# SPDX-License-Identifier: MIT
"""The package is built as its map says: folders import downwards, and other packages in one place each.

The map is the docstring of pressurefs/__init__.py.
"""

import ast
import graphlib
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pressurefs

PACKAGE = "pressurefs"
FOLDER = Path(pressurefs.__file__).parent
CHECKOUT = FOLDER.parent

# What is neither the standard library nor written in Python here, and the only modules that import it.
OUTSIDE = {
    "fuse": {"filesystem.fuse.fusepy"},
    "matplotlib": {"cli.plot"},
    "mfusepy": {"filesystem.fuse.mfusepy"},
    "pressurefs._native": {
        *("signaller.take", "signaller.uring", "signaller.holders", "signaller.aio", "signaller.poll"),
        *("signaller.target", "signaller.signaller"),
        *("events.event_path", "events.windows", "sources.bpf_program"),
    },
}

# What an application loads: these modules import the standard library and each other.
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


def part_of(name: str) -> str:
    """Return the folder of a module; a module beside the folders is a part of its own."""
    return name.split(".", maxsplit=1)[0]


def parts() -> dict[str, set[str]]:
    """Return for each part the other parts that it imports, in functions and for type checking too."""
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        graph.setdefault(part_of(name), set()).update(map(part_of, own_imports(name)))
    return {part: imports - {part} for part, imports in graph.items()}


def read_map() -> list[str]:
    """Return what the map lists, from its first line to its last: folders end in "/", files in ".py"."""
    return re.findall(r"^    (\w+(?:/|\.py))  +\S", pressurefs.__doc__ or "", re.MULTILINE)


def packages() -> list[Path]:
    """Return every folder below the package that holds modules."""
    return sorted({path.parent for path in MODULES.values()})


def source_files() -> Iterator[Path]:
    """Yield every file of this checkout that is a program or a part of one."""
    for folder in (FOLDER, *(CHECKOUT / name for name in ("tests", "scripts", ".ci"))):
        yield from (path for path in folder.rglob("*") if path.is_file() and is_source(path))
    yield from CHECKOUT.glob("*.py")


def is_source(path: Path) -> bool:
    """Tell whether a file is written by people in a programming language, by its suffix or its #! line."""
    if path == FOLDER / "_native.c":
        return False  # cffi writes it, at each build
    if path.suffix in {".py", ".pyi", ".c", ".h", ".sh", ".bash", ".bats"}:
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def test_parts_import_in_one_direction() -> None:
    """The parts can be put in an order in which each imports only parts before it."""
    try:
        order = list(graphlib.TopologicalSorter(parts()).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"parts import each other: {' -> '.join(error.args[1])}")
    assert sorted(order) == sorted(parts())


def test_map_names_everything_once() -> None:
    """The map lists each folder and each module beside the folders, and each once."""
    folders = {f"{path.name}/" for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py"}
    assert sorted(read_map()) == sorted(folders | files)


@pytest.mark.parametrize("part", sorted(set(parts()) - {PACKAGE}))
def test_imports_go_up_the_map(part: str) -> None:
    """Each folder and each module beside the folders imports only what the map lists above it."""
    listed = [name.removesuffix("/").removesuffix(".py") for name in read_map()]
    assert parts()[part] <= set(listed[: listed.index(part)])


@pytest.mark.parametrize("folder", packages(), ids=lambda path: str(path.relative_to(FOLDER.parent)))
def test_folder_says_what_it_is_for(folder: Path) -> None:
    """Each folder of modules has an __init__.py whose docstring begins with a sentence on one line."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_bytes()))
    assert docstring is not None
    assert re.fullmatch(r".{10,}\.", docstring.splitlines()[0])


def test_source_files_name_their_license() -> None:
    """Each source file has its SPDX line first, or second where the first is the #! line."""
    first_lines = {path: path.read_text().splitlines()[:2] for path in source_files()}
    missing = [
        str(path.relative_to(CHECKOUT))
        for path, lines in first_lines.items()
        if not any("SPDX-License-Identifier: MIT" in line for line in lines)
    ]
    assert sorted(missing) == []


@pytest.mark.parametrize(("outside", "modules"), OUTSIDE.items())
def test_outside_has_one_door(outside: str, modules: set[str]) -> None:
    """What comes from outside is imported by the modules named here, and by no other."""
    users = {
        name
        for name, path in MODULES.items()
        if any(one == outside or one.startswith(f"{outside}.") for one in imported(path))
    }
    assert users == modules


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
