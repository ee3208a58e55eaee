"""The cgroups below the top directory, as nodes: what the tree shows is what the cgroup tree is now.

Each look-up asks the kernel.  Nodes are kept for what was changed of them (the mode of a control file),
not for what they mirror: that is written over at each look.
"""

import stat
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping

from pressurefs.cgroups.tree import Cgroup, CgroupRoot
from pressurefs.filesystem.nodes import Directory, Entry, File, Node

# Nodes kept because they are looked at again in a moment, and those kept because they were changed; what
# was changed of more cgroups than that is forgotten.  No registration depends on either.
_RECENT_MAX = 64
_CHANGED_MAX = 4096

# Makes the control files of a cgroup, by their names.
MakeFiles = Callable[[Cgroup], Mapping[str, File]]


class MirroredDirectory(Directory):
    """One cgroup.  Its control files are its owner's."""

    def __init__(self, cgroups: CgroupRoot, cgroup: Cgroup, files: Mapping[str, File]) -> None:
        super().__init__(cgroup.inode, 0, files)
        self._cgroups = cgroups
        self.cgroup = cgroup
        for file in files.values():
            file.uid, file.gid = cgroup.uid, cgroup.gid
        self.uid, self.gid = cgroup.uid, cgroup.gid

    def refresh(self, cgroup: Cgroup) -> None:
        """Take over what the cgroup's directory is now.  A file that was given to others stays theirs."""
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
        """Yield the control files and the child cgroups."""
        yield from super().entries()
        yield from list_children(self._cgroups, self.cgroup.path, self.children)


class Mirror:
    """All cgroups below the top one.  Lives as long as the mount; used by the FUSE thread alone."""

    def __init__(self, cgroups: CgroupRoot, file_names: Collection[str], make_files: MakeFiles) -> None:
        """Show cgroups with files of these names, which hide cgroups that are called so."""
        self._cgroups = cgroups
        self._file_names = file_names
        self._make_files = make_files
        self._recent: OrderedDict[int, MirroredDirectory] = OrderedDict()
        self._changed: OrderedDict[int, MirroredDirectory] = OrderedDict()

    def find(self, path: str) -> Node:
        """Return the cgroup at a path, or a control file of it; OSError where there is none."""
        parent, _, name = path.rpartition("/")
        if parent and name in self._file_names:
            file = self._directory(parent).children.get(name)
            if file is not None:
                return file
        return self._directory(path)

    def _directory(self, path: str) -> MirroredDirectory:
        cgroup = self._cgroups.look(path)
        node = self._recent.get(cgroup.inode) or self._changed.get(cgroup.inode)
        if node is None or (node.cgroup.path, node.cgroup.has_reclaim) != (path, cgroup.has_reclaim):
            files = self._make_files(cgroup) if cgroup.has_reclaim else {}
            node = MirroredDirectory(self._cgroups, cgroup, files)
        self._keep(node)
        node.refresh(cgroup)
        return node

    def _keep(self, node: MirroredDirectory) -> None:
        self._recent[node.inode] = node
        self._recent.move_to_end(node.inode)
        if len(self._recent) > _RECENT_MAX:
            number, oldest = self._recent.popitem(last=False)
            if any(file.is_changed for file in oldest.children.values()):
                self._changed[number] = oldest
        if len(self._changed) > _CHANGED_MAX:
            self._changed.popitem(last=False)


def list_children(cgroups: CgroupRoot, cgroup: str, hidden: Mapping[str, Node]) -> Iterator[Entry]:
    """Yield the children of a cgroup, but for those that our own names hide."""
    for name, inode in cgroups.children(cgroup):
        if name not in hidden:
            yield Entry(name, inode, stat.S_IFDIR | 0o755)
