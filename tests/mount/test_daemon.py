# SPDX-License-Identifier: MIT
"""Start and stop: what is refused with which exit code, and that nothing is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pressurefs import exitcodes
from tests.support.mounted import Mounted, eventually, is_mounted, mounted
from tests.support.puppet import Puppet

COMMAND = [sys.executable, "-m", "pressurefs"]


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command to its end; return its exit code and what it said on stderr."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture
def trace(place: Path) -> Path:
    """A trace of one sample, which comes at once."""
    path = place / "trace"
    path.write_text(
        '{"format": "pressurefs-trace", "version": 1, "kernel": "6", "page_size": 4096, "source": "vmstat"}\n'
        '{"t": 0.5, "cgroup": "/", "scanned": 512, "reclaimed": 0, "priority": null}\n'
    )
    return path


def test_unusable_mountpoint(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A mountpoint that is missing, a file or not empty is exit code 3, with the reason."""
    (place / "file").write_text("")
    (place / "full").mkdir()
    (place / "full" / "something").write_text("")
    for name, why in (
        ("missing", "No such file or directory"),
        ("file", "Not a directory"),
        ("full", "the directory is not empty (-o nonempty mounts over what is there)"),
    ):
        path = os.path.realpath(place / name)
        assert run("mount", path) == (exitcodes.MOUNTPOINT_UNUSABLE, f"pressurefs: {path}: {why}\n")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("bpf", "there is no source 'bpf'"),
        ("vmstat:fast", "there is no source 'vmstat:fast'"),
        ("replay:/nowhere", "/nowhere: No such file or directory"),
        ("replay:/etc/passwd", "/etc/passwd: line 1: "),
        ("replay:/etc/passwd,speed=0", "speed=0 is not a positive number"),
    ],
)
def test_unusable_source(place: Path, fuse: None, source: str, why: str) -> None:  # noqa: ARG001
    """A source that does not exist here is exit code 5, with the reason, and nothing is mounted."""
    code, said = run("mount", "--source", source, str(place))
    assert code == exitcodes.SOURCE_UNAVAILABLE
    assert said.startswith(f"pressurefs: source {source}: {why}")
    assert not is_mounted(place)


def test_unusable_proc(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A --proc without a vmstat is exit code 5."""
    code, said = run("mount", "--proc", str(place), str(place))
    assert code == exitcodes.SOURCE_UNAVAILABLE
    assert "vmstat: No such file or directory" in said


def test_unusable_cgroup_root(place: Path, fuse: None) -> None:  # noqa: ARG001
    """A --cgroup that is no directory is exit code 5."""
    code, said = run("mount", "--cgroup", "/etc/passwd", str(place))
    assert (code, said) == (
        exitcodes.SOURCE_UNAVAILABLE,
        "pressurefs: --cgroup /etc/passwd: Not a directory\n",
    )


def test_no_compiled_module(place: Path) -> None:
    """Without the compiled module the exit code is 6; commands that need none still work."""
    hide = "import sys; sys.modules['pressurefs._native'] = None; "
    run_main = "from pressurefs.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", hide + run_main, "mount", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exitcodes.COMPILED_MODULE_MISSING
    assert done.stderr.startswith("pressurefs: mount: the compiled module is missing")


def test_doctor_without_the_compiled_module() -> None:
    """Where the compiled module cannot be loaded, doctor says that, and all the rest."""
    hide = "import sys; sys.modules['pressurefs._native'] = None; "
    run_doctor = "from pressurefs.cli.main import main; sys.exit(main(['doctor']))"
    command = [sys.executable, "-c", hide + run_doctor]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = dict(re.split(" {2,}", line, maxsplit=1) for line in done.stdout.splitlines())
    for row in ("io_uring", "registrations end"):
        assert said[row].startswith("no: import of pressurefs._native")
    assert said["source vmstat"] == "yes"


@pytest.mark.parametrize("arguments", [[], ["mount"], ["mount", "--profile", "x", "/"], ["fly"], ["umount"]])
def test_usage(arguments: Sequence[str]) -> None:
    """Wrong arguments are exit code 2."""
    assert run(*arguments)[0] == exitcodes.USAGE


def test_mounted_twice(mount: Mounted) -> None:
    """A directory where pressurefs serves already is refused; the first one serves on."""
    code, said = run("mount", str(mount.path))
    assert code == exitcodes.MOUNTPOINT_UNUSABLE
    assert said == f"pressurefs: {mount.path}: pressurefs is mounted there already\n"
    assert mount.registrations() == []


def test_stale_mount(place: Path, fuse: None) -> None:  # noqa: ARG001
    """The mount of a daemon that was killed is detached at the next start."""
    path = place / "mount"
    path.mkdir()
    ready_read, ready_write = os.pipe()
    command = [*COMMAND, "mount", "--ready-fd", str(ready_write), str(path)]
    with subprocess.Popen(command, pass_fds=[ready_write]) as killed:
        os.close(ready_write)
        assert os.read(ready_read, 1) == b"\n"
        killed.kill()
    os.close(ready_read)
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(path)
    with mounted(place, at=path) as mount:
        mount.await_said("detached a mount whose daemon is gone")
        assert mount.registrations() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_busy_at_the_end(mount: Mounted, number: signal.Signals) -> None:
    """Asked to stop, the daemon unmounts although files are open and somebody lives in the directory."""
    with Puppet() as user:
        user.do(f"os.chdir({str(mount.path)!r}); fd = os.open('vmpressure', os.O_RDWR)")
        mount.process.send_signal(number)
        assert mount.process.wait(10) == 0
        assert not is_mounted(mount.path)
        assert os.listdir(mount.path) == []
        with pytest.raises(OSError, match=r"not connected|No such device|Software caused"):
            user.do("os.write(fd, b'1 low')")


def test_systemd_is_told(place: Path, fuse: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """A manager hears that the mount answers, and that it is about to go."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        with mounted(place):
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"


def test_inside_a_cgroup_tree(place: Path, fuse: None) -> None:  # noqa: ARG001
    """An empty directory of a /sys/fs/cgroup-like path is as good as any; so is a full one, if told."""
    tree = place / "cgroup"
    tree.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", tree], check=True)
    try:
        for name in ("memory", "unified"):
            (tree / name).mkdir()
        (tree / "unified" / "cgroup.procs").write_text("")
        with mounted(place, at=tree / "memory") as mount:
            assert set(os.listdir(tree)) == {"unified", "memory"}
            mount.inject("low")
        with mounted(place, "-o", "nonempty", at=tree / "unified") as mount:
            assert "vmpressure" in os.listdir(mount.path)
    finally:
        subprocess.run(["umount", tree], check=True)


def test_replay(place: Path, trace: Path, fuse: None) -> None:  # noqa: ARG001
    """A replayed trace becomes the events that it recorded, at the recorded speed or another."""
    for speed in ("", ",speed=100"):
        with mounted(place, "--source", f"replay:{trace}{speed}", at=place / f"mount{speed}") as mount:
            eventually(lambda here=mount: len(here.debug("history").splitlines()) == 2)  # type: ignore[misc]
            assert mount.debug("history").splitlines()[1].split()[1:] == ["/", "512", "0", "-", "100", "oom"]
            assert "source replay" in mount.debug("source")
            mount.await_said("nothing more to come")


def test_profile(place: Path, fuse: None) -> None:  # noqa: ARG001
    """The mainline profile brings the kernel's own thresholds."""
    with mounted(place, "--profile", "mainline") as mount:
        names = ("window", "level_medium", "level_oom", "level_oom_priority")
        assert [int(mount.debug(f"vmpressure_{name}")) for name in names] == [512, 60, 95, 3]


def test_without_debug(place: Path, fuse: None) -> None:  # noqa: ARG001
    """Without --debug there is no debug directory, and inject says so."""
    with mounted(place, debug=False) as mount:
        assert "vmpressure.debug" not in os.listdir(mount.path)
        code, said = run("inject", str(mount.path), "low")
        assert (code, said) == (exitcodes.UNEXPECTED, f"pressurefs: {mount.path}: mounted without --debug\n")
