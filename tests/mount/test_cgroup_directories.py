# SPDX-License-Identifier: MIT
"""The mount mirrors the cgroup tree: what exists is shown, what is removed is not, nothing is confused."""

import errno
import os
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cgroupfs import MEMORY_STAT, make_cgroup, remove_cgroup
from tests.support.errnos import errno_of, refusal
from tests.support.mounted import CONTROL_FILES, Mounted, mounted
from tests.support.puppet import Puppet

NOBODY = 65534


@pytest.fixture
def tree(mount: Mounted) -> Path:
    """The tree that the mount mirrors."""
    return mount.path.parent / "cgroups"


def test_tree_is_mirrored(mount: Mounted, tree: Path) -> None:
    """A directory is shown at once, at any depth, with its inode number, mode and owner."""
    deep = make_cgroup(tree / "one" / "two" / "three")
    os.chmod(deep, 0o700)
    os.chown(deep, 1000, 1001)
    for path in ("one", "one/two", "one/two/three"):
        mirrored, real = os.stat(mount.path / path), os.stat(tree / path)
        fields = ("st_ino", "st_mode", "st_uid", "st_gid", "st_nlink")
        assert [getattr(mirrored, name) for name in fields] == [getattr(real, name) for name in fields]
    assert os.listdir(mount.path / "one" / "two") == ["three"]
    assert set(os.listdir(mount.path / "one" / "two" / "three")) == CONTROL_FILES


def test_control_files(mount: Mounted, tree: Path) -> None:
    """A cgroup's files have its owner, the documented modes, and different inode numbers."""
    os.chown(make_cgroup(tree / "owned"), 1000, 1001)
    modes = {"vmpressure": 0o666, "cgroup.event_control": 0o222, "memory.pressure_level": 0o444}
    numbers = {os.stat(mount.path / "owned").st_ino}
    for entry in os.scandir(mount.path / "owned"):
        seen = entry.stat()
        assert stat.S_IMODE(seen.st_mode) == modes.pop(entry.name)
        assert (seen.st_uid, seen.st_gid, seen.st_ino) == (1000, 1001, entry.inode())
        numbers.add(seen.st_ino)
    assert not modes
    assert len(numbers) == 1 + len(CONTROL_FILES)


@pytest.mark.parametrize("stat_text", [None, "cache 0\nrss 0\n"], ids=["no memory.stat", "cgroup v1's"])
def test_without_the_memory_controller(mount: Mounted, tree: Path, stat_text: str | None) -> None:
    """A directory without memory.stat has no control files, until it has one."""
    (tree / "bare").mkdir()
    if stat_text is not None:
        (tree / "bare" / "memory.stat").write_text(stat_text)
    assert os.listdir(mount.path / "bare") == []
    assert errno_of(lambda: os.stat(mount.path / "bare" / "vmpressure")) == errno.ENOENT
    (tree / "new").write_text(MEMORY_STAT)
    (tree / "new").rename(tree / "bare" / "memory.stat")
    assert set(os.listdir(mount.path / "bare")) == CONTROL_FILES


def test_what_is_no_cgroup(mount: Mounted, tree: Path) -> None:
    """Files of the tree, links, and whatever is behind another mount are not shown; no name leads out."""
    (tree / "a" / "cgroup.procs").write_text("")
    (tree / "link").symlink_to("a")
    (tree / "out").symlink_to("..")
    assert "link" not in os.listdir(mount.path)
    for name in ("a/cgroup.procs", "link", "out", "out/cgroups", "nothing", "a/b/nothing"):
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / name)
    assert errno_of(lambda: os.mkdir(mount.path / "a" / "new")) == errno.EPERM
    assert errno_of(lambda: os.rmdir(mount.path / "a" / "b")) == errno.EPERM


def test_names_are_bytes(mount: Mounted, tree: Path) -> None:
    """A name that is not text, and a name with every allowed byte, are shown unchanged."""
    names = [b"\xff\xfe", bytes(set(range(1, 256)) - {ord("/")}), "käse".encode()]
    for name in names:
        os.mkdir(os.fsencode(tree) + b"/" + name)
        assert stat.S_ISDIR(os.stat(os.fsencode(mount.path) + b"/" + name).st_mode)
    assert set(names) <= set(os.listdir(os.fsencode(mount.path)))


def test_our_names_hide_cgroups(mount: Mounted, tree: Path) -> None:
    """A cgroup named like a control file is hidden by that file."""
    make_cgroup(tree / "vmpressure")
    make_cgroup(tree / "a" / "b" / "c")
    make_cgroup(tree / "box" / "memory.pressure_level")
    assert stat.S_ISREG(os.stat(mount.path / "vmpressure").st_mode)
    assert os.listdir(mount.path).count("vmpressure") == 1
    assert stat.S_ISDIR(os.stat(mount.path / "box" / "memory.pressure_level").st_mode)


def test_mode_of_a_control_file(mount: Mounted, tree: Path) -> None:
    """chmod of a cgroup's file lasts as long as the cgroup; chmod of its directory leaves the file alone."""
    make_cgroup(tree / "one")
    os.chmod(mount.path / "one" / "vmpressure", 0o600)
    os.chmod(mount.path / "one", 0o700)
    for number in range(200):
        make_cgroup(tree / "many" / str(number))
        os.stat(mount.path / "many" / str(number))
    assert stat.S_IMODE(os.stat(mount.path / "one" / "vmpressure").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(mount.path / "one").st_mode) == stat.S_IMODE(os.stat(tree / "one").st_mode)
    keep = os.open(tree / "one", os.O_PATH)  # so that its inode number cannot be reused
    remove_cgroup(tree / "one")
    make_cgroup(tree / "one")
    assert stat.S_IMODE(os.stat(mount.path / "one" / "vmpressure").st_mode) == 0o666
    os.close(keep)


def test_owner_of_the_control_files(mount: Mounted, tree: Path) -> None:
    """A new owner of a cgroup becomes its files' owner, except where chown has set a file's own."""
    make_cgroup(tree / "one")
    paths = [mount.path / "one" / name for name in sorted(CONTROL_FILES)]

    def owners() -> list[tuple[int, int]]:
        return [(seen.st_uid, seen.st_gid) for seen in map(os.stat, paths)]

    assert owners() == [(0, 0)] * 3
    os.chmod(paths[0], 0o640)
    os.chown(paths[1], 5, -1)
    os.chown(paths[2], 5, 6)
    os.chown(tree / "one", 1000, 1001)
    assert owners() == [(1000, 1001), (5, 1001), (5, 6)]
    held = os.open(paths[0], os.O_RDWR)
    os.chown(tree / "one", 1002, 1003)
    seen = os.fstat(held)
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (1002, 1003, 0o640)
    os.close(held)
    assert owners() == [(1002, 1003), (5, 1003), (5, 6)]


def test_old_handle(mount: Mounted, tree: Path, puppet: Puppet) -> None:
    """An open file of a removed cgroup is ENODEV, even if another cgroup has its name."""
    path = make_cgroup(tree / "one")
    keep = os.open(path, os.O_PATH)
    puppet.do("event = os.eventfd(0)")
    for name, flags in (("vmpressure", os.O_RDWR), ("cgroup.event_control", os.O_WRONLY)):
        puppet.do(f"{name.replace('.', '_')} = os.open({str(mount.path / 'one' / name)!r}, {flags})")
    puppet.do(f"level = os.open({str(mount.path / 'one' / 'memory.pressure_level')!r}, os.O_RDONLY)")
    remove_cgroup(path)
    for again in (False, True):
        if again:
            make_cgroup(path)
        for code in (
            "os.write(vmpressure, b'%d low' % event)",
            "os.write(vmpressure, b'nonsense')",
            "os.write(cgroup_event_control, b'%d %d low' % (event, level))",
            "os.pread(vmpressure, 9, 0)",
            "os.pread(level, 9, 0)",
        ):
            assert refusal(puppet, code) == errno.ENODEV
        assert refusal(puppet, "os.write(vmpressure, b'x' * 4097)") == errno.E2BIG
    os.close(keep)


@pytest.mark.parametrize("change", ["os.fchmod(held, 0)", "os.fchown(held, -1, 1000)"])
def test_old_handle_of_a_former_owner(mount: Mounted, tree: Path, change: str) -> None:
    """The owner of a removed cgroup has no rights to the files of another cgroup with its name."""
    path = make_cgroup(tree / "one")
    os.chown(path, 1000, 1000)
    keep = os.open(path, os.O_PATH)
    with Puppet(uid=1000) as former:
        former.do(f"held = os.open({str(mount.path / 'one' / 'vmpressure')!r}, os.O_RDWR)")
        remove_cgroup(path)
        make_cgroup(path)
        assert refusal(former, change) == errno.EPERM
    seen = os.stat(mount.path / "one" / "vmpressure")
    assert (seen.st_mode, seen.st_uid, seen.st_gid) == (stat.S_IFREG | 0o666, 0, 0)
    os.close(keep)


@pytest.fixture
def listener(mount: Mounted, tree: Path, puppet: Puppet) -> Puppet:
    """A puppet with an eventfd, registered at /one in both grammars, and a polled file."""
    make_cgroup(tree / "one")
    top = mount.path / "one"
    puppet.do("events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]")
    puppet.do(f"write({str(top / 'vmpressure')!r}, f'{{events[0]}} low')")
    puppet.do(f"level = os.open({str(top / 'memory.pressure_level')!r}, os.O_RDONLY)")
    puppet.do(f"write({str(top / 'cgroup.event_control')!r}, f'{{events[1]}} {{level}} critical')")
    puppet.do(f"polled = os.open({str(top / 'vmpressure')!r}, os.O_RDWR); os.write(polled, b'poll medium')")
    return puppet


def test_events_of_a_cgroup(mount: Mounted, listener: Puppet) -> None:
    """Listeners of both grammars and of poll are signalled at their level, for their cgroup."""
    mount.inject("medium /one")
    mount.inject("oom /one")
    mount.inject("oom /a")
    assert listener.do("[drain(event) for event in events]") == [2, 1]
    listener.do("poll = select.poll(); poll.register(polled, select.POLLPRI)")
    assert listener.do("[event for _, event in poll.poll(0)]") == [select.POLLPRI]


def test_another_user_below(mount: Mounted, tree: Path, puppet: Puppet) -> None:
    """Any user's listener keeps its events from a default listener above, and not from a hierarchical one."""
    make_cgroup(tree / "jobs")
    make_cgroup(tree / "jobs" / "his")
    above = str(mount.path / "jobs" / "vmpressure")
    puppet.do("default, hierarchy = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]")
    puppet.do(
        f"write({above!r}, f'{{default}} low,default'); write({above!r}, f'{{hierarchy}} low,hierarchy')"
    )
    mount.inject("low /jobs/his")
    assert puppet.do("(drain(default), drain(hierarchy))") == [1, 1]
    with Puppet(uid=NOBODY) as other:
        path = str(mount.path / "jobs" / "his" / "vmpressure")
        other.do(f"event = os.eventfd(0); write({path!r}, f'{{event}} low')")
        mount.inject("low /jobs/his")
        assert puppet.do("(drain(default), drain(hierarchy))") == [0, 1]


def test_removal(mount: Mounted, tree: Path, listener: Puppet) -> None:
    """Each registration is signalled once, when the path is already gone; then it ends."""
    gone = str(mount.path / "one" / "cgroup.event_control")
    listener.send(
        "poll = select.epoll(); [poll.register(event, select.EPOLLIN) for event in events];"
        f"woken = poll.poll(30); there = os.path.exists({gone!r})"
    )
    remove_cgroup(tree / "one")
    listener.receive()
    assert listener.do("(len(woken) > 0, there)") == [True, False]
    for event in (0, 1):
        assert listener.do(f"select.select([events[{event}]], [], [], 30)[0] == [events[{event}]]")
    assert listener.do("[drain(event) for event in events]") == [1, 1]
    listener.do("poll = select.poll(); poll.register(polled, select.POLLPRI)")
    assert listener.do("[event for _, event in poll.poll(0)]") == [select.POLLPRI | select.POLLERR]
    mount.await_registrations(0)
    make_cgroup(tree / "one")
    mount.inject("oom /one")
    assert listener.do("[drain(event) for event in events]") == [0, 0]


def test_name_used_again(mount: Mounted, tree: Path, listener: Puppet) -> None:
    """A listener of a new cgroup with an old name is not signalled for the old, and revives no listener."""
    keep = os.open(tree / "one", os.O_PATH)
    remove_cgroup(tree / "one")
    make_cgroup(tree / "one")
    with Puppet() as other:
        other.do("event = os.eventfd(0, os.EFD_NONBLOCK)")
        other.do(f"write({str(mount.path / 'one' / 'vmpressure')!r}, f'{{event}} low')")
        mount.await_registrations(1)
        mount.inject("low /one")
        assert other.do("drain(event)") == 1
        assert listener.do("[drain(event) for event in events]") == [1, 1]
    os.close(keep)


def test_removal_of_many(mount: Mounted, tree: Path, puppet: Puppet) -> None:
    """The removal of a hundred cgroups at once signals the listener of each once."""
    for number in range(100):
        make_cgroup(tree / f"c{number}")
    puppet.do("events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(100)]")
    puppet.do(f"top = {str(mount.path)!r}")
    puppet.do("for number, event in enumerate(events): write(f'{top}/c{number}/vmpressure', f'{event} low')")
    for number in range(0, 100, 2):
        remove_cgroup(tree / f"c{number}")
    mount.await_registrations(50)
    assert puppet.do("[drain(event) for event in events]") == [1, 0] * 50


def test_control_fd_is_of_this_cgroup(mount: Mounted, tree: Path, puppet: Puppet) -> None:
    """A control_fd of the parent, of a child, or of another kind of file is EINVAL in either grammar."""
    make_cgroup(tree / "one" / "two")
    make_cgroup(tree / "three")
    puppet.do(f"top = {str(mount.path)!r}; event = os.eventfd(0)")
    puppet.do("names = ['vmpressure', 'cgroup.event_control', 'memory.pressure_level']")
    puppet.do("def opened(place, name): return os.open(f'{top}/{place}/{name}', os.O_RDWR)")
    puppet.do(
        "fds = {(place, name): opened(place, name) for place in ('one/two', 'three', '.') for name in names}"
    )
    right = {
        "vmpressure": {("one/two", "vmpressure"), ("one/two", "memory.pressure_level")},
        "cgroup.event_control": {("one/two", "memory.pressure_level")},
    }
    for target, good in right.items():
        for place, name in puppet.do("list(fds)"):
            code = f"os.write(fds['one/two', {target!r}], b'%d %d low' % (event, fds[{place!r}, {name!r}]))"
            assert refusal(puppet, code) == (0 if (place, name) in good else errno.EINVAL)


def test_control_fd_of_an_earlier_cgroup(mount: Mounted, tree: Path, puppet: Puppet) -> None:
    """A control_fd of a removed cgroup is EINVAL, unless its successor was looked up: then that registers.

    The kernel would answer EINVAL then, too.
    """
    path = make_cgroup(tree / "one")
    keep = os.open(path, os.O_PATH)  # so that its inode number cannot be reused
    puppet.do(f"event, path = os.eventfd(0, os.EFD_NONBLOCK), {str(mount.path / 'one')!r}")
    puppet.do("level = os.open(f'{path}/memory.pressure_level', os.O_RDONLY)")
    remove_cgroup(path)
    make_cgroup(path)
    code = "write(f'{path}/cgroup.event_control', f'{event} {level} low')"
    assert refusal(puppet, code) == errno.EINVAL
    os.stat(mount.path / "one" / "memory.pressure_level")
    assert refusal(puppet, code) == 0
    mount.inject("low /one")
    assert puppet.do("drain(event)") == 1
    assert refusal(puppet, "os.pread(level, 9, 0)") == errno.ENODEV
    os.close(keep)


def test_mount_inside_its_own_tree(place: Path, fuse: None) -> None:  # noqa: ARG001
    """Mounted on a directory of the tree that it mirrors, it does not contain itself and does not hang."""
    with mounted(place, at=place / "cgroups" / "inside") as mount:
        make_cgroup(place / "cgroups" / "beside")
        assert "inside" not in os.listdir(mount.path)
        assert "beside" in os.listdir(mount.path)
        assert errno_of(lambda: os.stat(mount.path / "inside")) == errno.ENOENT
        found = subprocess.run(
            ["find", mount.path, "-name", "vmpressure"], capture_output=True, text=True, check=True
        )
        assert len(found.stdout.splitlines()) == 2


def test_shell_listens_to_a_cgroup(mount: Mounted, tree: Path) -> None:
    """`exec --fd N=LEVEL@/cgroup` and `wait --cgroup` register below the top."""
    make_cgroup(tree / "job")
    command = [sys.executable, "-m", "pressurefs", "exec", "--fd", "5=medium@/job", "--", "cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, env={**os.environ, "PRESSUREFS_MOUNT": str(mount.path)}
    ) as shell:
        mount.await_registrations(1)
        assert mount.registrations()[0][:3] == ["/job", "medium", "default"]
        assert shell.stdin is not None
        shell.stdin.close()
    mount.await_registrations(0)


def test_a_listener_does_not_hold_its_cgroup(mount: Mounted, listener: Puppet, tree: Path) -> None:
    """Closing all eventfds ends the registrations; the next removal signals nobody."""
    listener.do("[os.close(event) for event in events]; os.close(polled)")
    mount.await_registrations(0)
    remove_cgroup(tree / "one")
    make_cgroup(tree / "one")
    mount.inject("low /one")
    assert mount.debug("history").splitlines()[-1].endswith(" /one 0 0 - - low")
