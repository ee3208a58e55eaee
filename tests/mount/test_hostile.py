# SPDX-License-Identifier: MIT
"""Callers that mean harm: nobody else waits, and the daemon can always be ended."""

import os
import resource
import select
import subprocess
import time
from pathlib import Path

from tests.support.mounted import Mounted, is_mounted, mounted, open_files
from tests.support.puppet import Puppet

NOBODY = 65534


def seconds_to_register(mount: Mounted) -> float:
    """Return how long a bystander waits for a registration."""
    event = os.eventfd(0)
    began = time.monotonic()
    with open(mount.vmpressure, "w") as file:
        file.write(f"{event} low")
    taken = time.monotonic() - began
    os.close(event)
    return taken


def test_epoll_set_with_many_rows(mount: Mounted) -> None:
    """A number that is an epoll set of 50,000 rows is refused without a look at them."""
    with Puppet(uid=NOBODY) as hostile:
        rows = min(50_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
        hostile.do("event, sets = os.eventfd(0), select.epoll()")
        hostile.do(f"duplicates = [os.dup(event) for _ in range({rows})]")
        hostile.do("for duplicate in duplicates: sets.register(duplicate, 0)")
        hostile.send(
            f"took = []\n"
            f"for _ in range(3):\n"
            f"    began = time.monotonic()\n"
            f"    for line in (f'{{sets.fileno()}} low', f'{{event}} {{sets.fileno()}} low'):\n"
            f"        try: write({mount.vmpressure!r}, line)\n"
            f"        except OSError as error: assert error.errno in (13, 22), error\n"
            f"    took.append(time.monotonic() - began)\n"
        )
        assert hostile.receive() == {"value": None}
        # Rendering the rows takes a second and more, each time; the two refusals take some 100 us.
        assert hostile.do("min(took)") < 0.5


def test_swapped_descriptor(mount: Mounted) -> None:
    """A thread that swaps its eventfd for a file while it is taken harms only its own user."""
    with Puppet(uid=NOBODY) as hostile:
        hostile.do("""
import errno
event, other = os.eventfd(0), os.open('/dev/null', os.O_RDONLY)
os.dup2(event, 100)
def swap():
    while not done.is_set():
        os.dup2(other, 100)
        os.dup2(event, 100)
done = threading.Event()
thread = threading.Thread(target=swap)
""")
        hostile.do("thread.start()")
        hostile.do(f"""
answers = set()
for _ in range(300):
    try:
        write({mount.vmpressure!r}, '100 low')
    except OSError as error:
        answers.add(error.errno)
done.set(); thread.join()
""")
        assert set(hostile.do("sorted(answers)")) <= {1, 9, 22, 122}
        assert seconds_to_register(mount) < 5
    mount.await_registrations(0)
    # What was parked stays open until the end: that is at most one.
    assert mount.descriptors() <= mount.descriptors_at_start + 1
    mount.descriptors_at_start += 1


def test_connection_has_the_lowest_numbers(mount: Mounted) -> None:
    """At the end the connection is closed before anything that a writer may have brought in."""
    links = open_files(mount.process.pid)
    connection = [fd for fd, link in links.items() if link == "/dev/fuse"]
    assert len(connection) == 2
    lowest_free = next(fd for fd in range(1000) if fd not in links)
    assert max(connection) < lowest_free


def test_nobody_reads_the_log(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A stderr that nobody reads holds nobody up, and the daemon ends when it is asked to."""
    path = place / "mount"
    path.mkdir()
    ready_read, ready_write = os.pipe()
    said_read, said_write = os.pipe()
    command = ["pressurefs", "mount", "--debug", "--ready-fd", str(ready_write), str(path)]
    with subprocess.Popen(command, pass_fds=[ready_write], stderr=said_write) as daemon:
        os.close(ready_write)
        assert os.read(ready_read, 1) == b"\n"
        for _ in range(3000):
            (path / "vmpressure.debug" / "inject").write_text("low")
        daemon.terminate()
        try:
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()
    assert not is_mounted(path)
    for fd in (ready_read, said_read, said_write):
        os.close(fd)


def test_out_of_descriptors_for_long(fuse: None, place: Path) -> None:  # noqa: ARG001
    """One user cannot use up a daemon's descriptors, and sweeps go on without a free one."""
    with mounted(place, through=["prlimit", "--nofile=128:128"]) as mount:
        with Puppet(uid=NOBODY) as hostile:
            hostile.do(f"""
events, answers = [os.eventfd(0) for _ in range(100)], set()
for _ in range(3):
    for event in events:
        try:
            write({mount.vmpressure!r}, f'{{event}} low')
        except OSError as error:
            answers.add(error.errno)
""")
            assert hostile.do("sorted(answers)") == [122]
            assert seconds_to_register(mount) < 5
        mount.await_registrations(0)


def test_stop_while_starting(fuse: None, place: Path) -> None:  # noqa: ARG001
    """Asked to stop at any moment of its start, the daemon ends with 0 or a signal, and leaves no mount."""
    path = place / "mount"
    path.mkdir()
    for delay_ms in range(0, 200, 10):
        with subprocess.Popen(["pressurefs", "mount", str(path)], stderr=subprocess.PIPE) as daemon:
            select.select([], [], [], delay_ms / 1000)
            daemon.terminate()
            assert daemon.wait(30) in (0, -15)
        assert not is_mounted(path), f"left after {delay_ms} ms"


def test_something_on_top(fuse: None, place: Path) -> None:  # noqa: ARG001
    """A mount that cannot be taken away, since another lies on top, is told, and not exit code 0."""
    path = place / "mount"
    path.mkdir()
    ready_read, ready_write = os.pipe()
    command = ["pressurefs", "mount", "--source", "vmstat", "--ready-fd", str(ready_write), str(path)]
    with subprocess.Popen(command, pass_fds=[ready_write], stderr=subprocess.PIPE, text=True) as daemon:
        os.close(ready_write)
        assert os.read(ready_read, 1) == b"\n"
        subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
        daemon.terminate()
        said = daemon.communicate()[1]
        assert daemon.returncode == 3
        assert said == f"pressurefs: unmount {path}: something else is mounted on top of it\n"
    subprocess.run(["umount", path], check=True)
    subprocess.run(["umount", "-l", path], check=True)
    os.close(ready_read)
