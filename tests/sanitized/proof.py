# SPDX-License-Identifier: MIT
"""That the sanitizers are on in the daemon, and that what they report fails a test.

scripts/test-sanitized runs this, beside mount tests that say nothing of sanitizers.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from pressurefs import _native
from tests.support.mounted import Mounted, mounted

WRONG = Path(__file__).parent / "wrong.py"


def test_daemon_is_sanitized(mount: Mounted) -> None:
    """The daemon runs on AddressSanitizer's allocator, with the module that was built for it."""
    mapped = Path(f"/proc/{mount.process.pid}/maps").read_text()
    module = str(_native.__file__)
    assert module in mapped
    assert mount.is_sanitized()
    needed = subprocess.run(["nm", "-D", module], capture_output=True, text=True, check=True).stdout
    assert "__asan_report_load" in needed
    assert "__ubsan_handle" in needed


def register_wrongly(place: Path) -> None:
    with mounted(place, through=[sys.executable, str(WRONG)]) as mount:
        with pytest.raises(OSError, match=r"connection abort|not connected"):
            Path(mount.vmpressure).write_text("0 low")
        assert mount.process.wait(30) != 0


def test_a_report_fails_a_test(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A daemon that makes history.c write past an array ends, and the test that mounted it fails."""
    with pytest.raises(AssertionError):
        register_wrongly(place)
    said = (place / "stderr").read_text()
    assert "AddressSanitizer: heap-buffer-overflow" in said
    assert "in pfs_history_read pressurefs/native/history.c:" in said
