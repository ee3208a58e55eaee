# SPDX-License-Identifier: MIT
"""The manual pages are well formed, and complete: each command, option, exit code and errno is in them."""

import argparse
import ast
import errno
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import pressurefs
from pressurefs import exitcodes
from pressurefs.cli.main import build_parser
from pressurefs.errors import SHORTAGES
from pressurefs.pressure.levels import PROFILES
from pressurefs.pressure.tunables import window_of_sensitivity

PACKAGE = Path(pressurefs.__file__).parent
MAN = PACKAGE / "share" / "man"
PAGES = sorted(MAN.glob("man?/*"))
COMMAND_PAGE = (MAN / "man1" / "pressurefs.1").read_text()
FILES_PAGE = (MAN / "man5" / "pressurefs.5").read_text()


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command that can be run, by the words to type."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not nested:
        yield name, parser
    for word, child in (item for action in nested for item in action.choices.items()):
        yield from commands(child, f"{name} {word}".strip())


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return every option of a command, without --help, which each command has."""
    return {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}  # noqa: SLF001


def entries(page: str) -> dict[str, str]:
    """Return the text of each command in the page; an entry ends where the next begins."""
    section = page.partition(".Sh COMMANDS")[2].partition(".Ss ")[0]
    starts = re.split(r"^\.It Cm ((?:eventfd )?[a-z]+)", section, flags=re.MULTILINE)
    return dict(zip(starts[1::2], starts[2::2], strict=True))


def flags(mdoc: str) -> set[str]:
    """Return the options that a part of a page names."""
    return {f"-{name}" for name in re.findall(r"\bFl (-?\w[\w-]*)", mdoc)}


def answered_errnos() -> set[str]:
    """Return the name of every errno that a Refusal is made with, anywhere in the package."""
    names = {ast.unparse(call.args[0]) for call in refusals() if call.args}
    shown = {name.removeprefix("errno.") for name in names if name.startswith("errno.")}
    return shown | {errno.errorcode[number] for number, _ in SHORTAGES.values()}


def refusals() -> Iterator[ast.Call]:
    """Yield every call of Refusal."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusal":
                yield node


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_well_made(page: Path) -> None:
    """mandoc and groff have no warnings."""
    lint = ["mandoc", "-T", "lint", "-W", "warning", str(page)]
    groff = ["man", "--warnings", "--local-file", str(page)]
    for command in (lint, groff):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"})
        said = done.stderr if command is groff else done.stdout + done.stderr
        assert (done.returncode, said) == (0, "")


def test_installed() -> None:
    """Each page is installed where man(1) searches."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    data_files = project["tool"]["setuptools"]["data-files"]
    for page in PAGES:
        assert (
            f"pressurefs/share/man/{page.parent.name}/{page.name}"
            in data_files[f"share/man/{page.parent.name}"]
        )


@pytest.mark.parametrize(("name", "parser"), list(commands(build_parser())))
def test_commands(name: str, parser: argparse.ArgumentParser) -> None:
    """Each command has its entry, which names each of its options."""
    assert options(parser) <= flags(entries(COMMAND_PAGE)[name])


def test_options_of_all() -> None:
    """The options that need no command are in the page, too."""
    assert options(build_parser()) <= flags(COMMAND_PAGE.partition(".Sh COMMANDS")[0])


def test_help() -> None:
    """Each command and each argument has a help text."""
    for name, parser in commands(build_parser()):
        for action in parser._actions:  # noqa: SLF001
            assert action.help, f"{name}: {action.metavar}"
        assert parser.format_help()


def test_exit_codes() -> None:
    """Each exit code is there, and each that is there exists."""
    codes = {value for value in vars(exitcodes).values() if isinstance(value, int)}
    section = COMMAND_PAGE.partition(".Sh EXIT STATUS")[2].partition(".Sh")[0]
    assert {int(code) for code in re.findall(r"^\.It (\d+)$", section, re.MULTILINE)} == codes


def test_readme_names_the_pages() -> None:
    """README names both pages, where alone exit codes, errnos and the grammar stand."""
    readme = (PACKAGE.parent / "README.md").read_text()
    told = " ".join(readme.partition("## Read on")[2].split())
    assert re.search(r"`man 1 pressurefs` \([^)]*exit status", told)
    assert re.search(r"`man 5 pressurefs` \([^)]*grammar, errors", told)
    assert len(readme.splitlines()) <= 110
    assert not [name for name in answered_errnos() if name in readme]


def test_errnos() -> None:
    """Each errno that a write can be refused with is in the page, and EIO."""
    section = FILES_PAGE.partition(".Ss Errors")[2].partition(".Ss")[0]
    told = set(re.findall(r"^\.It Bq Er (\w+)$", section, re.MULTILINE))
    assert len(told) >= 12
    assert told == answered_errnos() | {"EIO"}


def test_profiles() -> None:
    """The numbers of each profile are those of the arithmetic."""
    for name, one in PROFILES.items():
        row = f".It {name} Ta {one.window_pages} pages Ta {one.medium} Ta {one.oom} Ta {one.oom_priority}\n"
        assert row in FILES_PAGE


def test_sensitivity() -> None:
    """The table of windows is that of the arithmetic."""
    asked, told = re.findall(r"^\.It Em (?:sensitivity|window) Ta (\d.*)$", FILES_PAGE, re.MULTILINE)
    windows = [window_of_sensitivity(int(one)) for one in asked.split(" Ta ")]
    assert [int(one) for one in told.split(" Ta ")] == windows
    assert len(windows) == 5


@pytest.mark.parametrize(
    "promise",
    [
        "its code says SWAP_CLUSTER_MAX * 16",
        "Reading a file larger than memory",
        "until the last descriptor of it is closed",
        "means nothing but that there was an event",
        "each eventfd is signalled once more, for the last time",
    ],
)
def test_what_must_be_known(promise: str) -> None:
    """The page states what an application must know before it fails because of it."""
    assert promise in " ".join(FILES_PAGE.split())
