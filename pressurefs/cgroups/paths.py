"""How cgroups are named: by their paths in the tree that the mount stands for.  Pure."""

from collections.abc import Iterator

MACHINE = "/"  # the top directory: the kernel's root cgroup
BELOW = "/"  # at the end of a path: a cgroup below it, not told from others there


def parent_of(cgroup: str) -> str:
    """Return the path of the cgroup above; the machine is above itself."""
    return cgroup.rpartition("/")[0] or MACHINE


def upwards(cgroup: str) -> Iterator[str]:
    """Yield a cgroup's path and those of its ancestors, the machine last."""
    while cgroup != MACHINE:
        yield cgroup
        cgroup = parent_of(cgroup)
    yield MACHINE
