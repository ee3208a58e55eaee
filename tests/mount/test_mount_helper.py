# SPDX-License-Identifier: MIT
"""The real mount(8) mounts by type and from fstab, and behaves as with any other file system.

Each script has its own mount namespace, in which /sbin contains only our helper, and its own pid namespace,
so that no daemon outlives a failed script.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from pressurefs.cli import mount_helper
from pressurefs.exitcodes import Exit

HELPER = Path(sysconfig.get_path("scripts")) / "mount.fuse.pressurefs"
PRELUDE = """
mount -t tmpfs none /sbin
ln -s "$HELPER" /sbin/mount.fuse.pressurefs
cd "$PLACE"
daemon() { grep -lszx 'pressure[f]s' /proc/[0-9]*/cmdline; }
"""

Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def run(fuse: None, place: Path) -> Run:  # noqa: ARG001
    """Run a shell script beside ``place``/mount, an empty directory; the script must end by itself."""
    (place / "mount").mkdir()

    def run_script(script: str) -> subprocess.CompletedProcess[str]:
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        environment = {
            "PATH": f"{HELPER.parent}:/usr/bin:/bin",
            "PLACE": str(place),
            "HELPER": str(HELPER),
            "MOUNT": str(place / "mount"),
        }
        command = ["timeout", "--kill-after=5", "60", *namespaces, "bash", "-c", PRELUDE + script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run_script


def test_by_type(run: Run) -> None:
    """mount -t returns once the mount answers, with our options applied; umount ends the daemon."""
    done = run("""
        mount -t fuse.pressurefs none mount -o debug,profile=mainline,noexec || exit
        cat mount/vmpressure mount/vmpressure.debug/vmpressure_level_oom
        findmnt --noheadings --output FSTYPE,SOURCE,VFS-OPTIONS mount | grep -o '^.*noexec'
        export PRESSUREFS_MOUNT="$MOUNT"
        pressurefs exec --fd 5=low -- sh -c 'pressurefs inject "$MOUNT" low; pressurefs eventfd read 5'
        umount mount && ls -A mount
        while [ "$(daemon)" ]; do :; done
    """)
    assert done.stderr == ""
    assert done.stdout.split() == [
        *("low", "medium", "oom", "95"),
        *("fuse.pressurefs", "pressurefs", "rw,nosuid,nodev,noexec"),
        "1",
    ]
    assert done.returncode == 0


def test_from_fstab(run: Run) -> None:
    """A line of fstab mounts, whatever options for other programs it has."""
    done = run("""
        options=defaults,noauto,nofail,user,_netdev,x-systemd.automount,comment=x,X-mount.mkdir,debug
        echo "none $MOUNT fuse.pressurefs $options 0 0" >fstab
        rmdir mount
        mount --fstab fstab "$MOUNT" && cat mount/vmpressure.debug/vmpressure_window && umount mount
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "512\n", "")


def test_leaves_nothing_of_the_caller_open(run: Run) -> None:
    """The daemon keeps none of the caller's descriptors, nor its working directory, nor its session."""
    done = run("""
        heard=$(mount -t fuse.pressurefs none mount -o x-y 2>&1 <"$HELPER")
        cd "$(dirname "$(daemon)")"
        readlink cwd fd/0 fd/1
        cut -d' ' -f 1,6 stat
        echo "heard: $heard"
        umount "$MOUNT"
    """)
    *links, process_and_session, heard = done.stdout.splitlines()
    assert links == ["/", "/dev/null", "/dev/null"]
    assert len(set(process_and_session.split())) == 1
    assert heard == "heard: "


LISTEN = """
import socket
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
print("listening", flush=True)
heard = ""
while "why this was needed" not in heard:
    heard = log.recv(4096).decode()
    print(heard.partition("pressurefs[")[2].partition(": ")[2], flush=True)
"""


def test_log(run: Run) -> None:
    """The daemon logs to syslog, from its first message on."""
    done = run(f"""
        mkdir dev && mount --bind /dev dev && mount -t tmpfs none /dev
        touch /dev/fuse /dev/null && for node in fuse null; do mount --bind dev/$node /dev/$node; done
        {sys.executable} -c '{LISTEN}' >heard &
        until [ -s heard ]; do :; done
        PRESSUREFS_SIGNALLER=aio mount -t fuse.pressurefs none mount -o debug,source=vmstat
        pressurefs inject mount low
        wait; cat heard; umount mount
    """)
    _, first, second = done.stdout.splitlines()
    assert first.startswith("pressurefs: signaller aio: no io_uring here"), done.stderr
    assert second.startswith("pressurefs: vmpressure.debug/inject written by uid 0")


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        ("source=bpf", 32, "pressurefs: source bpf: there is no source 'bpf'\n"),
        (
            "source=replay:/nowhere,speed=2",
            32,
            "pressurefs: source replay:/nowhere,speed=2: /nowhere: No such",
        ),
        ("cgroup=/etc/passwd", 32, "pressurefs: --cgroup /etc/passwd: Not a directory\n"),
        ("proc=/nowhere", 32, "pressurefs: source auto: /nowhere/vmstat: No such file or directory\n"),
        ("fsname=x", 1, "pressurefs: -o fsname: is pressurefs's own to set\n"),
        ("profile=x", 1, "pressurefs mount: error: argument --profile: invalid choice: 'x'"),
        ("frobnicate", 32, "pressurefs: mount: libfuse could not mount\n"),
    ],
)
def test_failures(run: Run, options: str, code: int, why: str) -> None:
    """If a mount fails, mount(8) has its exit code and prints the daemon's own message; nothing remains."""
    done = run(f"mount -t fuse.pressurefs none mount -o {options}; code=$?; ls -A mount; exit $code")
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr


def test_mounted_already(run: Run) -> None:
    """A second mount at the same place is refused, and so is a remount; the first mount keeps serving."""
    done = run("""
        mount -t fuse.pressurefs none mount
        mount -t fuse.pressurefs none mount; echo $?
        mount -o remount,ro -t fuse.pressurefs none mount; echo $?
        cat mount/vmpressure; umount mount
    """)
    assert done.stdout.splitlines() == ["32", "32", "low medium oom"]
    assert done.stderr.count("mount: pressurefs is mounted there already\n") == 2


def test_fake_and_verbose(run: Run, place: Path) -> None:
    """mount -fv prints the command, and runs nothing."""
    done = run("mount -fv -t fuse.pressurefs none mount -o debug; echo $?; ls -A mount")
    command = f"pressurefs: {sys.executable} -m pressurefs mount --debug "
    assert done.stdout.splitlines() == [f"{command}{place / 'mount'}", "0"]


def test_other_namespace(run: Run) -> None:
    """mount -N mounts in another mount namespace, and only there."""
    done = run("""
        mkfifo go
        unshare --mount sh -c 'touch there; read _ <>go' & other=$!
        until [ -e there ]; do :; done
        mount -N "/proc/$other/ns/mnt" -t fuse.pressurefs none "$MOUNT"; echo $?
        ls -A mount
        nsenter -t "$other" -m cat "$MOUNT/vmpressure"
        nsenter -t "$other" -m umount "$MOUNT"
        echo >go; wait
    """)
    assert done.stdout.splitlines() == ["0", "low medium oom"], done.stderr


def test_no_modules_from_the_callers_directory(run: Run, place: Path) -> None:
    """Whatever directory mount(8) is called in, no code from it is run."""
    (place / "pressurefs.py").write_text("raise SystemExit('run')\n")
    done = run("mount -t fuse.pressurefs none mount && umount mount")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("none /m", []),
        ("none /m -o rw", []),
        ("none /m -o rw,debug,source=vmstat", ["--debug", "--source=vmstat"]),
        ("none /m -o source=replay:/t,speed=9,ro", ["--source=replay:/t,speed=9", "-oro"]),
        ("none /m -o speed=9", ["-ospeed=9"]),
        ("none /m -o ro,noatime,user=me,X-y,x-y=z -o nonempty", ["-oro,noatime,nonempty"]),
        ("none /m -snv -o --debug -t fuse.pressurefs", ["-o--debug"]),
    ],
)
def test_translation(words: str, arguments: list[str]) -> None:
    """Our own options become arguments, options for other programs are dropped, all others go to FUSE."""
    assert mount_helper.parse_call(words.split()).arguments == arguments


@pytest.mark.parametrize("words", ["", "none", "none /m more", "none /m -x", "none /m -o"])
def test_wrong_invocation(words: str) -> None:
    """Arguments that mount(8) never passes are a wrong invocation."""
    with pytest.raises(Exit, match=r"^mount\.fuse\.pressurefs: ") as raised:
        mount_helper.parse_call(words.split())
    assert raised.value.code == mount_helper.INVOCATION
