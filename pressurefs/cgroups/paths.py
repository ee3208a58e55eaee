# SPDX-License-Identifier: MIT
"""Names of cgroups: their paths in the tree that the mount mirrors, "/" for the machine.  Pure."""

from collections.abc import Iterator

MACHINE = "/"  # the top directory: the kernel's root cgroup
BELOW = "/"  # at the end of a path: any cgroup below it, where the source does not distinguish them


def parent_of(cgroup: str) -> str:
    """Return the path of the parent cgroup; the machine is its own parent."""
    return cgroup.rpartition("/")[0] or MACHINE


def upwards(cgroup: str) -> Iterator[str]:
    """Yield the path of a cgroup, then the paths of its ancestors, the machine last."""
    while cgroup != MACHINE:
        yield cgroup
        cgroup = parent_of(cgroup)
    yield MACHINE
