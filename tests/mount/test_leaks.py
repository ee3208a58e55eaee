# SPDX-License-Identifier: MIT
"""However many of anything leave the daemon where it was."""

import contextlib
import os

from tests.support.mounted import Mounted
from tests.support.puppet import Puppet

CYCLES = 100_000
REFUSALS = 10_000


class State:
    """What the daemon holds."""

    def __init__(self, mount: Mounted) -> None:
        pid = mount.process.pid
        self.descriptors = mount.descriptors()
        self.rss_kib = mount.rss_kib()
        with open(f"/proc/{pid}/maps") as maps:
            self.mappings = sum("io_uring" in line for line in maps)
        self.rows = 0
        for fd in os.listdir(f"/proc/{pid}/fdinfo"):
            # It may be closed since it was listed, before or after it is opened here.
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{fd}") as file:
                self.rows += sum(line.startswith("tfd:") for line in file)


def test_register_and_close(mount: Mounted, puppet: Puppet) -> None:
    """100,000 times register and close leave descriptors, rows and memory where they were."""
    puppet.do(f"""
def cycle(times):
    for _ in range(times):
        event = os.eventfd(0)
        write({mount.vmpressure!r}, f'{{event}} low')
        os.close(event)
""")
    # What Python and the allocator keep for good is there after the first thousand.
    puppet.do("cycle(1000)")
    mount.await_registrations(0)
    before = State(mount)
    puppet.do(f"cycle({CYCLES})")
    mount.await_registrations(0)
    after = State(mount)
    assert after.descriptors == before.descriptors
    assert after.rows == before.rows == 0
    assert after.mappings == before.mappings
    assert after.rss_kib - before.rss_kib < 512, "a leak of six bytes a cycle would show"


def test_one_eventfd_registered_again_and_again(mount: Mounted, puppet: Puppet) -> None:
    """One long-lived eventfd may be registered thousands of times; its end frees them all."""
    puppet.do("event = os.eventfd(0, os.EFD_NONBLOCK)")
    puppet.do(f"for _ in range(3000): write({mount.vmpressure!r}, f'{{event}} low')")
    assert State(mount).rows == 3000
    mount.inject("low")
    assert puppet.do("drain(event)") == 3000
    puppet.do("os.close(event)")
    mount.await_registrations(0)


def test_malformed(mount: Mounted, puppet: Puppet) -> None:
    """10,000 refused writes cost neither descriptors nor memory, and a bounded number of lines."""
    puppet.do(f"""
def refuse(times):
    for number in range(times):
        try:
            write({mount.vmpressure!r}, f'{{number}} nonsense {{number}}')
        except OSError:
            pass
""")
    puppet.do("refuse(1000)")
    before = State(mount)
    puppet.do(f"refuse({REFUSALS})")
    after = State(mount)
    assert after.descriptors == before.descriptors
    assert after.rss_kib - before.rss_kib < 512
    assert len(mount.said().splitlines()) < 10
