# SPDX-License-Identifier: MIT
"""README's session and the table of the review's requests are true: each command prints what stands there."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounted import mounted

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REVIEW = (ROOT / "pressurefs/share/doc/review-2012.md").read_text()
SHOWN_AT = "/tmp/pressure"  # noqa: S108, README's reader mounts there


def parse_session(readme: str) -> tuple[str, list[str]]:
    """Return the commands of the console block as one script, and the lines that it prints."""
    block = re.search(r"```console\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    return "\n".join(commands) + "\n", [line for line in lines if not line.startswith("$ ")]


def parse_table(review: str) -> list[tuple[str, str, list[str]]]:
    """Return the rows of the table of requests: request, command, the lines that the command prints."""
    rows = re.findall(r"^\| ([^|`]+) \| `([^|`]+)` \| ([^|]+) \|$", review, re.MULTILINE)
    assert len(rows) == review.count("\n|") - 2  # only the heading's two lines are no rows
    return [(request, command, re.findall("`([^`]+)`", printed)) for request, command, printed in rows]


def run_in_bash(script: str) -> list[str]:
    """Run a script as at a terminal; return what it prints.

    timeout(1) ends whatever it has started, should it not end by itself.
    """
    done = subprocess.run(
        ["timeout", "--kill-after=5", "60", "bash"],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": f"{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    return done.stdout.splitlines()


def test_session(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A user who types README's session sees README's answers."""
    script, expected = parse_session(README)
    assert "pressurefs mount" in script
    assert len(expected) >= 5
    directory = place / "pressure"
    # The second shell of the session reads on where the first one stopped.
    assert run_in_bash(script.replace(SHOWN_AT, str(directory)) + "wait\n") == expected
    assert not any(directory.iterdir())


@pytest.fixture(scope="module")
def session(fuse: None) -> Iterator[Path]:  # noqa: ARG001
    """A mount made as in the session, with its log beside it."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        directory = Path(name, "pressure")
        Path(name, "pressure.log").symlink_to("stderr")
        with mounted(Path(name), at=directory) as mount:
            yield directory
            mount.await_registrations(0)


@pytest.mark.parametrize(("asked_for", "command", "printed"), parse_table(REVIEW))
def test_requests(session: Path, asked_for: str, command: str, printed: list[str]) -> None:
    """What the review asked for is there: each row's command prints what the row says."""
    _mkdir, mount, *waiting_and_export = parse_session(README)[0].splitlines()[:4]
    assert f"mount --debug {SHOWN_AT} 2> {SHOWN_AT}.log" in mount
    script = "\n".join([*waiting_and_export, f"cd {SHOWN_AT}", command])
    assert run_in_bash(script.replace(SHOWN_AT, str(session))) == printed, asked_for


def test_requests_are_all_there() -> None:
    """The table has a row for each of the review's requests."""
    requests = " ".join(request for request, _, _ in parse_table(REVIEW))
    words = ("eventfd", "sketch", "struct", "version", "enums", "library", "knob", "debugging", "warns")
    more_words = ("means nothing", "present level", "history", "clear warning", "select", "poll", "streaming")
    assert [word for word in (*words, *more_words) if word not in requests] == []
