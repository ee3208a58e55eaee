# SPDX-License-Identifier: MIT
"""The table of the groups of commands: complete, and a command waits only for the module of its own group."""

import argparse
import subprocess
import sys

import pytest

from pressurefs.cli.main import GROUPS, build_parser


def parsers(word: str | None = None) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command that ``build_parser`` knows."""
    (action,) = (
        action
        for action in build_parser(word)._actions  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    return dict(action.choices)


def test_table_is_complete() -> None:
    """The table names each command, in the order of --help."""
    assert list(parsers()) == [word for words in GROUPS.values() for word in words]


@pytest.mark.parametrize("words", GROUPS.values(), ids=GROUPS)
def test_group_alone(words: tuple[str, ...]) -> None:
    """A command gets the parsers of its group alone, and they are those of the whole command line."""
    for word in words:
        assert list(parsers(word)) == list(words)
        assert parsers(word)[word].format_help() == parsers()[word].format_help()


def test_unknown_word() -> None:
    """A word that is no command is compared with every command."""
    assert list(parsers("fly")) == list(parsers("--help")) == list(parsers())


@pytest.mark.parametrize("arguments", [["eventfd", "read", "0"], ["--help"]], ids=["eventfd", "help"])
def test_nothing_heavy_is_loaded(arguments: list[str]) -> None:
    """Neither a shell's eventfd nor --help waits for FUSE, the compiled module, matplotlib or json."""
    code = (
        "import sys\n"
        "from pressurefs.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"fuse", "mfusepy", "pressurefs._native", "matplotlib", "json", "ctypes"}
    groups = {name for name in GROUPS if f"pressurefs.cli.{name}" in loaded}
    assert groups == (set(GROUPS) if arguments == ["--help"] else {"listen"})
