# SPDX-License-Identifier: MIT
"""The C of the compiled module, called without Python, and as no caller of ours calls it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lanes import leave_out

ROOT = Path(__file__).parents[2]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


@pytest.fixture(scope="module")
def hostile() -> Iterator[Path]:
    """The program, built with the sanitizers."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        program = Path(name) / "hostile"
        source = ROOT / "tests/sanitized/hostile.c"
        compile_it = ["gcc", "-std=gnu11", "-O1", "-g", *SANITIZERS, f"-I{ROOT}", "-o", str(program)]
        try:
            subprocess.run(
                [*compile_it, "-xc", "-"], input="int main(void) { return 0; }", text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            leave_out("sanitized", f"gcc has no sanitizers: {error}")
        # By names below the checkout, as reports are to have them.
        ours = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pressurefs/native").glob("*.c"))
        subprocess.run([*compile_it, *WARNINGS, "-pthread", str(source), *ours], check=True, cwd=ROOT)
        yield program


def run(*command: str | Path) -> tuple[int, str, str]:
    """Return exit code, output and reports."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "case",
    [
        *("rows", "rows_out_of_range", "aio", "urings", "shortage", "take", "keep"),
        *("listeners", "renames", "windows"),
    ],
)
def test_hostile_values(hostile: Path, case: str) -> None:
    """Numbers, counts and limits out of range are refused, nothing is leaked, and no sanitizer objects."""
    assert run(hostile, case) == (0, "done\n", "")


def test_io_uring_forbidden(hostile: Path) -> None:
    """Where io_uring is forbidden no ring is opened, and nothing is leaked."""
    forbidding: list[str | Path] = [
        sys.executable,
        ROOT / "tests/support/forbidding.py",
        "io_uring_setup=EPERM",
        "--",
    ]
    assert run(*forbidding, hostile, "forbidden") == (0, "done\n", "")


@pytest.mark.parametrize(
    ("case", "source", "report"),
    [
        ("wrong_overflow", "history.c", r"AddressSanitizer: heap-buffer-overflow"),
        ("wrong_use_after_free", "uring.c", r"AddressSanitizer: heap-use-after-free"),
        ("wrong_null", "uring.c", r"runtime error: member access within null pointer"),
        ("wrong_leak", "uring.c", r"LeakSanitizer: detected memory leaks"),
    ],
)
def test_sanitizers_are_on(hostile: Path, case: str, source: str, report: str) -> None:
    """What is wrong on purpose is reported, as a fault of its source, and is no success."""
    code, _, said = run(hostile, case)
    assert code != 0
    assert report in said
    assert f"pressurefs/native/{source}:" in said
