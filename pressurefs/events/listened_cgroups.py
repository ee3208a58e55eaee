# SPDX-License-Identifier: MIT
"""The cgroups that have listeners, by path and by number: which is the nearest above another.

The event path knows cgroups by inode number alone; samples and people know them by path.  A number has one
path, the last one that it was registered by, since a cgroup can be renamed (in cgroup v1); a path means the
cgroup that registered by it last, since a cgroup can be removed and made again.

Pure.  Not locked: the dispatcher's lock guards it.
"""

import itertools
from collections import Counter
from collections.abc import Iterator

from pressurefs.cgroups.paths import BELOW, MACHINE, upwards


class ListenedCgroups:
    """The listened cgroups.  Lives as long as the mount."""

    def __init__(self) -> None:
        self._path_of: dict[int, str] = {}
        self._number_at: dict[str, int] = {}
        self._listeners: Counter[int] = Counter()
        # How many listened cgroups are below a path: most have none, and need no search for them.
        self._below: Counter[str] = Counter()

    def is_known(self, path: str, number: int) -> bool:
        """Tell whether a cgroup has listeners, and was registered with by this path last."""
        return self._path_of.get(number) == path and self._number_at.get(path) == number

    def count(self, number: int) -> None:
        """Count one more listener of a cgroup."""
        self._listeners[number] += 1

    def name(self, path: str, number: int) -> None:
        """Note that a cgroup was registered with by this path."""
        before = self._path_of.get(number)
        if before != path:
            self._count_below(before, -1)
            self._count_below(path, 1)
        if before is not None and self._number_at.get(before) == number:
            del self._number_at[before]
        self._path_of[number] = path
        self._number_at[path] = number

    def remove(self, number: int) -> None:
        """Count a listener no more; forget the cgroup with its last."""
        self._listeners[number] -= 1
        if self._listeners[number]:
            return
        del self._listeners[number]
        path = self._path_of.pop(number)
        self._count_below(path, -1)
        if self._number_at.get(path) == number:
            del self._number_at[path]

    def path_of(self, number: int) -> str | None:
        """Return the path of a listened cgroup."""
        return self._path_of.get(number)

    def nearest(self, path: str) -> tuple[int, bool] | None:
        """Return the number of the nearest listened cgroup, a path's own or above, and whether it is above.

        The path may end in "/": an unknown cgroup below.  None where no cgroup up to the top has listeners.
        """
        for above in upwards(path):
            number = self._number_at.get(above)
            if number is not None:
                return number, above != path
        return None

    def parent_of(self, path: str, number: int) -> int:
        """Return the number of the nearest listened cgroup above a path; ``number`` where there is none."""
        above = itertools.islice(upwards(path), 1, None)
        return next((self._number_at[one] for one in above if one in self._number_at), number)

    def parents_below(self, path: str) -> Iterator[tuple[int, int]]:
        """Yield each listened cgroup below a path with the number of its parent."""
        if not self._below[path]:
            return
        prefix = path if path == MACHINE else path + BELOW
        for number, one in self._path_of.items():
            if one.startswith(prefix) and one != path:
                yield number, self.parent_of(one, number)

    def _count_below(self, path: str | None, difference: int) -> None:
        if path is None:
            return
        for above in itertools.islice(upwards(path), 1, None):
            self._below[above] += difference
            if not self._below[above]:
                del self._below[above]
