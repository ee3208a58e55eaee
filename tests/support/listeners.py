# SPDX-License-Identifier: MIT
"""Registrations as pure values, and strategies for hypothesis that choose their fields."""

from hypothesis import strategies as st

from pressurefs.events.listeners import Registration
from pressurefs.pressure.levels import Level, Mode

LEVELS = st.sampled_from(Level)
MODES = st.sampled_from(Mode)
# A tree with three branches, one of them three levels deep; /ab is no child of /a.
CGROUPS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/d"])
UIDS = st.sampled_from([0, 1000, 1001])


def listener(
    token: int, cgroup: str = "/", level: Level = Level.LOW, mode: Mode = Mode.DEFAULT, uid: int = 0
) -> Registration:
    """Return a registration whose handle is its token."""
    return Registration(token, cgroup, level, mode, uid, pid=1, handle=token)
