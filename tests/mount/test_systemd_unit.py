# SPDX-License-Identifier: MIT
"""Confined as by the systemd unit, the daemon does all its work."""

from pathlib import Path

import pytest

from tests.support.cgroupfs import Cgroupfs
from tests.support.confining import CONFINING
from tests.support.mounted import eventually, mounted
from tests.support.puppet import Puppet


@pytest.mark.parametrize("signaller", ["io_uring", "aio"])
def test_all_its_work(fuse: None, place: Path, signaller: str) -> None:  # noqa: ARG001
    """It takes and signals eventfds in both ways, notices removed cgroups, and has its memory locked."""
    through = ["env", f"PRESSUREFS_SIGNALLER={signaller}", *CONFINING]
    with mounted(place, through=through) as mount, Puppet(uid=65534) as puppet:
        assert f"\nsignaller {signaller}\n" in mount.debug("source")
        tree = Cgroupfs(place / "cgroups")
        tree.make("/one")
        puppet.do("event = os.eventfd(0, os.EFD_NONBLOCK)")
        puppet.do(f"write('{mount.path}/one/vmpressure', f'{{event}} low')")
        mount.inject("low /one")
        assert puppet.do("drain(event)") == 1
        assert mount.locked_kib() > mount.rss_kib() * 0.9
        tree.remove("/one")
        eventually(lambda: puppet.do("drain(event)") == 1)
