# SPDX-License-Identifier: MIT
"""A registration lives exactly as long as its eventfd: not the writer, the file or the number."""

import os
import signal
import subprocess

from tests.support.mounted import Mounted, eventually, readable
from tests.support.puppet import Puppet


def registered(mount: Mounted, puppet: Puppet, name: str = "event") -> None:
    """Register a fresh eventfd of the puppet, and keep it there under ``name``."""
    puppet.do(f"{name} = os.eventfd(0, os.EFD_NONBLOCK)")
    puppet.do(f"write({mount.vmpressure!r}, f'{{{name}}} low')")


def test_last_close_ends_it(mount: Mounted, puppet: Puppet) -> None:
    """The registration goes when the eventfd is closed, with everything that it cost the daemon."""
    before = mount.descriptors()
    for number in range(100):
        registered(mount, puppet, f"event{number}")
    assert before < mount.descriptors() <= before + 100
    puppet.do("for number in range(100): os.close(globals()[f'event{number}'])")
    mount.await_registrations(0)
    assert mount.descriptors() == before


def test_control_file_closed(mount: Mounted, puppet: Puppet) -> None:
    """The control file may be closed, by everybody, right after the write."""
    registered(mount, puppet)
    mount.inject("low")
    assert puppet.do("drain(event)") == 1


def test_duplicate_keeps_it(mount: Mounted, puppet: Puppet) -> None:
    """Closing the descriptor that was registered means nothing while a duplicate is open."""
    registered(mount, puppet)
    puppet.do("other = os.dup(event); os.close(event)")
    _sweep(mount)
    mount.inject("low")
    assert puppet.do("drain(other)") == 1


def test_writer_gone(mount: Mounted) -> None:
    """A writer that registers its parent's eventfd and exits leaves the registration standing."""
    event = os.eventfd(0)
    try:
        command = ["/bin/sh", "-c", f"/bin/echo '{event} low' > {mount.vmpressure}"]
        subprocess.run(command, pass_fds=[event], check=True)
        _sweep(mount)
        mount.inject("low")
        assert readable(event)
        assert os.eventfd_read(event) == 1
    finally:
        os.close(event)
    mount.await_registrations(0)


def test_heir(mount: Mounted) -> None:
    """A forked child that inherited the eventfd is told after its parent was killed."""
    told_read, told_write = os.pipe()
    os.set_inheritable(told_write, True)
    with Puppet() as parent:
        registered(mount, parent)
        parent.do("os.set_inheritable(event, True)")
        parent.do(f"told = os.open('/proc/{os.getpid()}/fd/{told_write}', os.O_WRONLY)")
        waits = "import os, select; select.select([{0}], [], []); os.write({1}, b'%d' % os.eventfd_read({0}))"
        parent.do(f"command = [sys.executable, '-c', {waits!r}.format(event, told)]")
        parent.do("child = subprocess.Popen(command, pass_fds=[event, told])")
    os.close(told_write)
    _sweep(mount)
    assert len(mount.registrations()) == 1
    mount.inject("low")
    assert readable(told_read)
    assert os.read(told_read, 10) == b"1"
    os.close(told_read)
    mount.await_registrations(0)


def test_exec(mount: Mounted, puppet: Puppet) -> None:
    """The eventfd and its registration survive execve(2)."""
    registered(mount, puppet)
    puppet.do("os.set_inheritable(event, True)")
    wait = "import os, select; select.select([{0}], [], []); raise SystemExit(os.eventfd_read({0}))"
    puppet.do(f"child = subprocess.Popen([sys.executable, '-c', {wait!r}.format(event)], pass_fds=[event])")
    puppet.do("os.close(event)")
    _sweep(mount)
    mount.inject("low")
    assert puppet.do("child.wait(10)") == 1


def test_in_a_socket_queue(mount: Mounted, puppet: Puppet) -> None:
    """An eventfd that nobody has open but a message in a socket's queue is alive."""
    registered(mount, puppet)
    puppet.do("here, there = socket.socketpair()")
    puppet.do("_ = socket.send_fds(here, [b'x'], [event]); os.close(event)")
    _sweep(mount)
    mount.inject("low")
    assert puppet.do("drain(socket.recv_fds(there, 1, 1)[1][0])") == 1


def test_number_reused(mount: Mounted, puppet: Puppet) -> None:
    """The same bytes on the same number mean a new eventfd; the old one's registration is over."""
    registered(mount, puppet, "first")
    puppet.do("number = first; os.close(first)")
    registered(mount, puppet, "second")
    assert puppet.do("second == number")
    mount.inject("low")
    assert puppet.do("drain(second)") == 1
    mount.await_registrations(1)
    mount.inject("low")
    assert puppet.do("drain(second)") == 1


def test_killed_registrant(mount: Mounted, puppet: Puppet) -> None:
    """A registrant that is killed disturbs nobody: the other is told each time, and the daemon sheds it."""
    registered(mount, puppet)
    with Puppet() as doomed:
        for name in ("a", "b", "c"):
            registered(mount, doomed, name)
    for _ in range(100):
        mount.inject("low")
    assert puppet.do("drain(event)") == 100
    mount.await_registrations(1)


def test_killed_while_writing(mount: Mounted) -> None:
    """Writers that are killed at any moment of their write leave no registration and no harm."""
    for delay_us in range(0, 2000, 100):
        with Puppet() as doomed:
            doomed.do(f"events = [os.eventfd(0) for _ in range(100)]; path = {mount.vmpressure!r}")
            doomed.send("[write(path, f'{event} low') for event in events] and None")
            signal.sigtimedwait([], delay_us / 1_000_000)
    mount.await_registrations(0)


def test_stopped_registrant(mount: Mounted, puppet: Puppet) -> None:
    """A registrant that does not run holds nobody up."""
    with Puppet() as stopped:
        registered(mount, stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        registered(mount, puppet)
        mount.inject("low")
        assert puppet.do("drain(event)") == 1


def test_thread_with_its_own_descriptors(mount: Mounted, puppet: Puppet) -> None:
    """A number means what it means in the writing thread, which may have a table of its own.

    Before Linux 6.9 that cannot be had, and is EPERM; nothing else is signalled in its place.
    """
    puppet.do("""
import ctypes
CLONE_FILES = 0x400
def work():
    assert ctypes.CDLL(None).unshare(CLONE_FILES) == 0
    global event, count, refused
    refused = False
    event = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        write(path, f'{event} low')
    except PermissionError:
        refused = True
    ready.set(); go.wait()
    count = drain(event)
    os.close(event)
ready, go = threading.Event(), threading.Event()
""")
    puppet.do(f"path = {mount.vmpressure!r}; thread = threading.Thread(target=work); thread.start()")
    puppet.do("ready.wait(10)")
    mount.inject("low")
    puppet.do("go.set(); thread.join(10)")
    has_thread_pidfds = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 9)
    assert puppet.do("(count, refused)") == ([1, False] if has_thread_pidfds else [0, True])


def test_thread_that_does_not_lead(mount: Mounted, puppet: Puppet) -> None:
    """A registration may be written by any thread."""
    puppet.do("event = os.eventfd(0, os.EFD_NONBLOCK)")
    register = f"lambda: write({mount.vmpressure!r}, f'{{event}} low')"
    puppet.do(f"thread = threading.Thread(target={register}); thread.start(); thread.join(10)")
    mount.inject("low")
    assert puppet.do("drain(event)") == 1


def _sweep(mount: Mounted) -> None:
    """Wait until the daemon has looked for dead registrations: one that dies now is gone."""
    before = len(mount.registrations())
    with Puppet() as short_lived:
        registered(mount, short_lived)
    eventually(lambda: len(mount.registrations()) <= before)
