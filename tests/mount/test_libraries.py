# SPDX-License-Identifier: MIT
"""What an application uses, in Python and in C, each example run as it stands."""

import asyncio
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

import pressurefs
from pressurefs.mountinfo import MOUNT_VARIABLE
from tests.support.mounted import Mounted, eventually, readable

PACKAGE = Path(pressurefs.__file__).parent
EXAMPLES = PACKAGE / "share" / "examples"


@pytest.fixture
def found(mount: Mounted, monkeypatch: pytest.MonkeyPatch) -> Mounted:
    """A mount that $PRESSUREFS_MOUNT names."""
    monkeypatch.setenv(MOUNT_VARIABLE, str(mount.path))
    return mount


def test_vmpressure_fd(found: Mounted) -> None:
    """The trivial library: an eventfd, registered, close-on-exec."""
    event = pressurefs.vmpressure_fd("medium")
    assert not os.get_inheritable(event)
    found.inject("low")
    assert not readable(event, 0)
    found.inject("medium")
    assert readable(event)
    os.close(event)
    found.await_registrations(0)


def test_arguments(mount: Mounted) -> None:
    """The mount may be named; a wrong level or cgroup is the file's own error, and leaks nothing."""
    event = pressurefs.vmpressure_fd("low,hierarchy", mount=str(mount.path))
    assert mount.registrations()[0][:3] == ["/", "low", "hierarchy"]
    os.close(event)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Invalid"):
        pressurefs.vmpressure_fd("high", mount=str(mount.path))
    with pytest.raises(FileNotFoundError):
        pressurefs.vmpressure_fd("low", "/nowhere", str(mount.path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the mount is not there, the error is ENOENT."""
    monkeypatch.setenv(MOUNT_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError):
        pressurefs.vmpressure_fd("low")


def test_wait(found: Mounted) -> None:
    """wait() tells whether there was an event, and merges what came since."""
    with pressurefs.PressureEvent("low") as event:
        assert not event.wait(0)
        found.inject("low")
        found.inject("low")
        assert select.select([event], [], [], 10)[0] == [event]
        assert event.wait(10) is True
        assert event.wait(0) is False
    assert event.fileno() == -1
    event.close()


def test_async_iteration(found: Mounted) -> None:
    """An async for gets one turn for each event or burst of them, and blocks no other task."""

    async def listen() -> int:
        turns = 0
        with pressurefs.PressureEvent("low") as event:
            found.inject("low")
            async for _ in event:
                turns += 1
                if turns == 3:
                    break
                asyncio.get_running_loop().call_later(0.01, found.inject, "low")
        return turns

    assert asyncio.run(asyncio.wait_for(listen(), 20)) == 3


def test_without_compiler_or_fuse() -> None:
    """From a bare source tree, importing the library loads neither FUSE nor compiled code."""
    program = """
import sys
sys.modules['fuse'] = sys.modules['cffi'] = sys.modules['pressurefs._native'] = None
import pressurefs
assert pressurefs.PressureEvent
loaded = {name for name in sys.modules if name.startswith('pressurefs.')} - {'pressurefs._native'}
assert loaded == {'pressurefs.client', 'pressurefs.mountinfo'}, loaded
assert 'ctypes' not in sys.modules and 'asyncio' not in sys.modules
"""
    command = [sys.executable, "-S", "-c", program]
    subprocess.run(command, cwd=PACKAGE.parent, check=True, env={"PYTHONPATH": str(PACKAGE.parent)})


def run_example(found: Mounted, command: list[str]) -> None:
    """Run an example until it caches, put it under pressure, and see it drop its cache."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as example:
        assert example.stdout is not None
        assert example.stdout.readline() == "caching\n"
        eventually(lambda: len(found.registrations()) == 1)
        found.inject("low")
        assert example.stdout.readline() == "dropped\n"
        assert example.wait(10) == 0


def test_python_example(found: Mounted) -> None:
    """The Python example drops its cache."""
    run_example(found, [sys.executable, str(EXAMPLES / "cache.py")])


@pytest.fixture(scope="module")
def cflags() -> str:
    """What `pressurefs --cflags` prints."""
    command = [sys.executable, "-m", "pressurefs", "--cflags"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(("compiler", "language"), [("gcc", "c"), ("g++", "c++")])
def test_c_example(found: Mounted, tmp_path: Path, cflags: str, compiler: str, language: str) -> None:
    """The header serves a C program, warnings being errors, and compiles as C++."""
    program = tmp_path / "cache"
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    if language == "c":
        subprocess.run(
            [compiler, *warnings, cflags, str(EXAMPLES / "cache.c"), "-o", str(program)], check=True
        )
        run_example(found, [str(program)])
    else:
        source = tmp_path / "one.cc"
        source.write_text(
            "#include <vmpressure.h>\nint main() { return vmpressure_fd(VM_PRESSURE_OOM) < 0; }\n"
        )
        subprocess.run([compiler, *warnings, cflags, str(source), "-o", str(program)], check=True)
        assert subprocess.run([str(program)], check=False).returncode == 0


FIND = """
#include <vmpressure.h>
int main(void)
{
    char *mount = vmpressure_mount();
    if (!mount)
        return errno == ENOENT ? 3 : 4;
    puts(mount);
    return vmpressure_register(mount, (enum vmpressure_level)7, 0) == -1 && errno == EINVAL ? 0 : 5;
}
"""


def test_c_finds_the_mount(place: Path, mount: Mounted, tmp_path: Path, cflags: str) -> None:
    """Without $PRESSUREFS_MOUNT the header finds the first mount, whatever its path's characters."""
    (tmp_path / "find.c").write_text(FIND)
    program = tmp_path / "find"
    subprocess.run(["gcc", cflags, str(tmp_path / "find.c"), "-o", str(program)], check=True)
    odd = place / "a b\\c\td"
    odd.mkdir()
    # In a mount namespace of its own, where only the one with the odd name is left.
    script = f"""
        mount --bind "$1" "$2"
        others=$(awk '/ - fuse.pressurefs / {{ print $5 }}' /proc/self/mountinfo | grep -v 'a.040b')
        umount -l $others
        {program}; echo $?
        umount "$2"
        {program}; echo $?
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(mount.path), str(odd)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == f"{odd}\n0\n3\n"
