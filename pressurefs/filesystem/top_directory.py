# SPDX-License-Identifier: MIT
"""The top directory: the machine's control files, what only the top has, and below it the cgroups."""

from collections.abc import Callable, Iterator

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import CgroupRoot
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.filesystem.cgroup_directories import CgroupDirectories, list_children
from pressurefs.filesystem.control_files import DEBUG_INODE, ROOT_INODE, Sensitivity, make_control_files
from pressurefs.filesystem.debug_directory import build_debug_directory
from pressurefs.filesystem.nodes import Directory, Entry, Node
from pressurefs.registration.checks import Registrar


class TopDirectory(Directory):
    """The mount's root directory.  Lives as long as the mount.

    The FUSE thread uses it; only ``end`` is called by the main thread.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        registrar: Registrar,
        cgroups: CgroupRoot | None,
        report_source: Callable[[], str] | None,
    ) -> None:
        """Build the tree.  ``cgroups`` is None on a machine without cgroups.

        With ``report_source`` the tree has the debug directory, whose file ``source`` is the text that
        this returns.
        """
        self._cgroups = cgroups
        self._directories = None if cgroups is None else CgroupDirectories(cgroups, registrar)
        children: dict[str, Node] = {
            **make_control_files(None, registrar),
            "vmpressure_sensitivity": Sensitivity(dispatcher),
        }
        if report_source is not None:
            children["vmpressure.debug"] = build_debug_directory(
                DEBUG_INODE, dispatcher, cgroups, report_source
            )
        super().__init__(ROOT_INODE, 0o755, children)

    def find(self, path: str) -> Node:
        """Return a node of the top directory's own, or of a cgroup; OSError where there is none."""
        first, _, rest = path[1:].partition("/")
        child = self.children.get(first)
        if child is not None and not rest:
            return child
        if child is not None or not first or self._directories is None:
            return super().find(path)
        return self._directories.find(path)

    def end(self) -> None:
        """Contain nothing from here on.

        Unmounting does not reach a mount that a container has bound: it stays, and is empty.
        """
        self.children, self._directories, self._cgroups = {}, None, None

    def entries(self) -> Iterator[Entry]:
        """Yield the top directory's own files, then the cgroups."""
        yield from super().entries()
        if self._cgroups is not None:
            yield from list_children(self._cgroups, MACHINE, self.children)
