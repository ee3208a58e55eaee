# SPDX-License-Identifier: MIT
"""The cgroups below the top directory, as nodes: the mount shows what the cgroup tree is at this moment.

Each look-up asks the kernel.  Nodes are kept for what a user has changed in them (the mode of a control
file), not for what they mirror: each look-up overwrites that.

Threading: the FUSE thread alone uses these classes.
"""

import stat
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from pressurefs.cgroups.tree import Cgroup, CgroupRoot
from pressurefs.filesystem.control_files import CONTROL_FILE_NAMES, make_control_files
from pressurefs.filesystem.nodes import Directory, Entry, File, Node
from pressurefs.registration.checks import Registrar

# How many nodes are kept because the next look-up will ask for them again, and how many because a user has
# changed them.  Changes in more cgroups than that are forgotten.  No registration depends on either.
_RECENT_MAX = 64
_CHANGED_MAX = 4096


class CgroupDirectory(Directory):
    """The directory of one cgroup.  Lives as long as ``CgroupDirectories`` keeps it.

    Its control files belong to the cgroup's owner.
    """

    def __init__(self, cgroups: CgroupRoot, cgroup: Cgroup, files: Mapping[str, File]) -> None:
        super().__init__(cgroup.inode, 0, files)
        self._cgroups = cgroups
        self.cgroup = cgroup
        for file in files.values():
            file.uid, file.gid = cgroup.uid, cgroup.gid
        self.uid, self.gid = cgroup.uid, cgroup.gid

    def refresh(self, cgroup: Cgroup) -> None:
        """Copy what the cgroup's directory is at this moment.

        A control file follows the directory to its new owner or group, unless chown(2) gave that file away.
        """
        self.mode, self.links = cgroup.mode, cgroup.links
        if (self.uid, self.gid) != (cgroup.uid, cgroup.gid):
            for file in self.children.values():
                file.uid = cgroup.uid if file.uid == self.uid else file.uid
                file.gid = cgroup.gid if file.gid == self.gid else file.gid
                file.shown = None
        self.uid, self.gid = cgroup.uid, cgroup.gid
        self.shown = None

    def change_mode(self, permissions: int) -> None:
        """Do nothing: the mode is the cgroup's."""

    def change_owner(self, uid: int, gid: int) -> None:
        """Do nothing: the owner is the cgroup's."""

    def entries(self) -> Iterator[Entry]:
        """Yield the control files, then the child cgroups."""
        yield from super().entries()
        yield from list_children(self._cgroups, self.cgroup.path, self.children)


class CgroupDirectories:
    """The directories of all cgroups below the top.  Lives as long as the mount."""

    def __init__(self, cgroups: CgroupRoot, registrar: Registrar) -> None:
        """Show ``cgroups``; their control files register with ``registrar``."""
        self._cgroups = cgroups
        self._registrar = registrar
        self._recent: OrderedDict[int, CgroupDirectory] = OrderedDict()
        self._changed: OrderedDict[int, CgroupDirectory] = OrderedDict()

    def find(self, path: str) -> Node:
        """Return the cgroup at a path, or a control file of it; OSError where there is none.

        A control file hides a child cgroup of the same name.
        """
        parent, _, name = path.rpartition("/")
        if parent and name in CONTROL_FILE_NAMES:
            file = self._directory(parent).children.get(name)
            if file is not None:
                return file
        return self._directory(path)

    def _directory(self, path: str) -> CgroupDirectory:
        cgroup = self._cgroups.look_up(path)
        node = self._recent.get(cgroup.inode) or self._changed.get(cgroup.inode)
        if node is None or (node.cgroup.path, node.cgroup.has_reclaim) != (path, cgroup.has_reclaim):
            files = make_control_files(cgroup, self._registrar) if cgroup.has_reclaim else {}
            node = CgroupDirectory(self._cgroups, cgroup, files)
        self._keep(node)
        node.refresh(cgroup)
        return node

    def _keep(self, node: CgroupDirectory) -> None:
        self._recent[node.inode] = node
        self._recent.move_to_end(node.inode)
        if len(self._recent) > _RECENT_MAX:
            number, oldest = self._recent.popitem(last=False)
            if any(file.is_changed for file in oldest.children.values()):
                self._changed[number] = oldest
        if len(self._changed) > _CHANGED_MAX:
            self._changed.popitem(last=False)


def list_children(cgroups: CgroupRoot, cgroup: str, hidden: Mapping[str, Node]) -> Iterator[Entry]:
    """Yield the children of a cgroup, except those with a name in ``hidden``."""
    for name, inode in cgroups.children(cgroup):
        if name not in hidden:
            yield Entry(name, inode, stat.S_IFDIR | 0o755)
