"""The house stands: imports point downwards, and the doors to the outside are where the map says."""

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pressurefs

PACKAGE = "pressurefs"
FOLDER = Path(pressurefs.__file__).parent

# Every module, the lowest first.  A module imports only what stands above it in this list.
ORDER = [
    *("mounts", "client"),
    "pressurefs",  # the package itself: it is imported before any of its modules
    "paths",
    *("levels", "window", "tunables"),
    *("protocol", "injection"),
    *("registry", "engine"),
    "poller",
    "caller",
    "cgroups",
    *(
        "signaller",
        "signaller.taking",
        "signaller.weak",
        "signaller.looking",
        "signaller.holding",
        "signaller.choice",
    ),
    "fanout",
    "exchange",
    "removals",
    *("registrar", "refusals"),
    *(
        "trace",
        "sources",
        "sources.replay",
        "sources.looks",
        "sources.counts",
        "sources.memcg",
        "sources.sampler",
        "sources.vmstat",
        "sources.libbpf",
        "sources.bpf",
        "sources.kernel",
        "sources.choice",
        "recorder",
    ),
    "pump",
    *("tree", "mirror", "debug", "control"),
    *("connection", "filesystem"),
    *("binding", "binding.fusepy", "binding.mfusepy", "binding.choice"),
    *("exits", "log"),
    *("staying", "mountpoint"),
    "systemd",
    *("status", "daemon"),
    *("picture", "watching", "plotting"),
    *("commands", "cli", "fstab", "__main__"),
]

# What comes from outside the standard library, and the one room that may have it.
OUTSIDE = {
    "fuse": {"binding.fusepy"},
    "matplotlib": {"plotting"},
    "mfusepy": {"binding.mfusepy"},
    "pressurefs._native": {
        *("signaller.taking", "signaller.weak", "signaller.looking", "signaller.holding"),
        *("fanout", "sources.bpf"),
    },
}

# What an application loads: the standard library and each other.
CLIENT_HALF = {"client", "mounts"}


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


def rooms_of_the_map() -> list[str]:
    """Return the rooms that the map names, in its order: words, two blanks or more, and what they are."""
    rows = re.findall(r"^    (\w[\w.]*(?:, \w[\w.]*)*) {2,}\S", pressurefs.__doc__ or "", re.MULTILINE)
    return [room for row in rows for room in row.split(", ") if not room.endswith(".c")]


def test_list_is_complete() -> None:
    """Every module stands in the list once, and the list names no module that does not exist."""
    assert sorted(ORDER) == sorted(MODULES)


def test_list_is_the_maps() -> None:
    """The map in the package's docstring names the same rooms in the same order."""
    rooms = [name for name in ORDER if name not in (PACKAGE, "__main__") and "." not in name]
    assert rooms_of_the_map() == rooms


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    """A module imports only modules that stand below it, in functions and for type checking too."""
    below = ORDER[: ORDER.index(name)]
    wrong = {one for one in own_imports(name) if one not in below}
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


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
        ("import pressurefs.engine as one", {"pressurefs.engine"}),
        ("from pressurefs import exits, mounts", {"pressurefs.exits", "pressurefs.mounts"}),
        ("from pressurefs import nothing", {"pressurefs"}),
        ("from pressurefs import _native", {"pressurefs._native"}),
        ("from pressurefs._native import lib", {"pressurefs._native"}),
        ("from pressurefs.sources import vmstat", {"pressurefs.sources.vmstat"}),
        ("from pressurefs.sources import Source", {"pressurefs.sources"}),
        ("def late():\n    from . import engine", {"pressurefs.engine"}),
        ("if TYPE_CHECKING:\n    from .engine import Engine", {"pressurefs.engine"}),
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
