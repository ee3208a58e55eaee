# SPDX-License-Identifier: MIT
"""An ordinary user, nobody, who can run pressurefs.

The interpreter, the compiled module and the checkout may lie in a directory that only root can enter, such as
/root.  They are bind-mounted read-only in a directory that every user can enter.
"""

import contextlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

NOBODY = 65534  # fusermount needs a user that has a name

ROOT = Path(__file__).parents[2]

_PROGRAM = """\
#!/bin/sh
export LD_LIBRARY_PATH={home}/python/lib PYTHONPATH={home}/checkout:{home}/packages PYTHONDONTWRITEBYTECODE=1
exec {home}/python/bin/python{version} -m pressurefs "$@"
"""


class OrdinaryUser:
    """Runs commands as nobody.  Usable while the bind mounts below ``home`` exist."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.program = home / "bin" / "pressurefs"
        self.through = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]

    def directory(self, name: str) -> Path:
        """Make a directory that belongs to the user."""
        path = self.home / name
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
        return path

    def run(self, *words: str, pass_fds: Sequence[int] = ()) -> tuple[int, str]:
        """Run a command to its end; return its exit code and its output, stdout and stderr together."""
        done = subprocess.run(
            [*self.through, *words],
            env={**os.environ, "PATH": f"{self.home}/bin:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            pass_fds=pass_fds,
        )
        return done.returncode, done.stdout

    def shell(self, script: str, pass_fds: Sequence[int] = ()) -> str:
        """Run a shell script and return its output; fail if the script fails."""
        code, said = self.run("/bin/sh", "-ec", script, pass_fds=pass_fds)
        assert code == 0, said
        return said


@contextlib.contextmanager
def ordinary_user(home: Path) -> Iterator[OrdinaryUser]:
    """Mount below ``home`` what the user needs, until the end of the with block."""
    home.chmod(0o755)
    sources: dict[str, str | Path] = {
        "python": sys.base_prefix,
        "packages": sysconfig.get_path("platlib"),
        "checkout": ROOT,
    }
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    user = OrdinaryUser(home)
    user.program.parent.mkdir()
    user.program.write_text(_PROGRAM.format(home=home, version=version))
    user.program.chmod(0o755)
    with contextlib.ExitStack() as mounts:
        for name, source in sources.items():
            place = home / name
            place.mkdir()
            # Read-only, so that removing ``home`` cannot remove the interpreter.
            subprocess.run(["mount", "-o", "bind,ro", source, place], check=True)
            mounts.callback(subprocess.check_call, ["umount", "-l", place])
        yield user
