# SPDX-License-Identifier: MIT
"""Which libfuse serves a mount, and what is reported if none can."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pressurefs import exitcodes
from pressurefs.filesystem.fuse.selection import BINDINGS, FUSE_VARIABLE
from tests.support.lanes import leave_out
from tests.support.mounted import LIBRARIES, mounted

WAYS_OUT = "install libfuse 2 (Debian: libfuse2), or libfuse 3 (Debian: fuse3) and pressurefs' extra libfuse3"


def mount_in_vain(place: Path, *hidden: str, **environment: str) -> str:
    """Try to mount without some of the packages; check for exit code 4, and return the message."""
    hide = "".join(f"sys.modules[{name!r}] = None; " for name in hidden)
    code = f"import sys; {hide}from pressurefs.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "mount", str(place)],
        env={**os.environ, FUSE_VARIABLE: "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exitcodes.FUSE_UNAVAILABLE
    assert done.stderr.startswith("pressurefs: mount: ")
    return done.stderr.removeprefix("pressurefs: mount: ").removesuffix("\n")


def test_no_library(place: Path, native: None) -> None:  # noqa: ARG001
    """If no libfuse can be loaded, the message names it and says what to install."""
    said = mount_in_vain(place, "mfusepy", FUSE_LIBRARY_PATH="libfuse-not-here.so")
    reason = "libfuse-not-here.so: cannot open shared object file: No such file or directory"
    assert said.startswith(f"fusepy finds no libfuse 2 ({reason}), and mfusepy is not installed (")
    assert said.endswith(f"; {WAYS_OUT}")


def test_no_package(place: Path, native: None) -> None:  # noqa: ARG001
    """If no package is installed, the message names both."""
    said = mount_in_vain(place, "fuse", "mfusepy")
    assert said.startswith("fusepy is not installed (")
    assert ", and mfusepy is not installed (" in said
    assert said.endswith(f"; {WAYS_OUT}")


def test_unknown_package(place: Path, native: None) -> None:  # noqa: ARG001
    """An unknown package in $PRESSUREFS_FUSE is reported, not ignored."""
    said = mount_in_vain(place, **{FUSE_VARIABLE: "fuse4"})
    assert said == "$PRESSUREFS_FUSE is 'fuse4', not fusepy or mfusepy"


def test_asked_for_alone(place: Path, native: None) -> None:  # noqa: ARG001
    """A package that $PRESSUREFS_FUSE names is not replaced by the other."""
    said = mount_in_vain(place, "fuse", **{FUSE_VARIABLE: "fusepy"})
    assert said.startswith("fusepy is not installed (")
    assert "mfusepy" not in said


@pytest.mark.parametrize(("hidden", "left"), [("fuse", "mfusepy"), ("mfusepy", "fusepy")])
def test_either_alone(hidden: str, left: str, place: Path, fuse: None) -> None:  # noqa: ARG001
    """If only one package is installed, it serves the mount without being named."""
    try:
        BINDINGS[left]()
    except (ImportError, OSError) as error:
        leave_out("libfuse3" if left == "mfusepy" else "fuse", str(error))
    packages = place / "packages"
    packages.mkdir()
    (packages / f"{hidden}.py").write_text("raise ImportError('hidden by a test')")
    unasked = ["env", f"--unset={FUSE_VARIABLE}", f"PYTHONPATH={packages}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(FUSE_VARIABLE, raising=False)
        with mounted(place, through=unasked) as mount:
            assert str(mount.library()).startswith(LIBRARIES[left])
            assert f"fuse {left}, libfuse " in mount.debug("source")


def test_options_of_old(place: Path, fuse: None) -> None:  # noqa: ARG001
    """Options that libfuse 2 needed are accepted with either."""
    with mounted(place, "-o", "nonempty,big_writes,intr,intr_signal=10") as mount:
        assert "vmpressure" in os.listdir(mount.path)
