"""README's session is true: each command is run as it stands there, and answers what stands there."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def parse_session(readme: str) -> tuple[str, list[str]]:
    """Return the commands of the console block as one script, and the lines that it prints."""
    block = re.search(r"```console\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    return "\n".join(commands) + "\n", [line for line in lines if not line.startswith("$ ")]


def test_session(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A user who types README's session sees README's answers."""
    script, expected = parse_session((ROOT / "README.md").read_text())
    assert "pressurefs mount" in script
    assert len(expected) >= 5
    directory = place / "pressure"
    script = script.replace("/tmp/pressure", str(directory))  # noqa: S108
    # The second shell of the session reads on where the first one stopped, as at a terminal.
    # timeout(1) ends whatever the session has started, should it not end by itself.
    done = subprocess.run(
        ["timeout", "--kill-after=5", "60", "bash"],
        input=script + "wait\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": f"{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert done.stdout.splitlines() == expected
    assert not any(directory.iterdir())
