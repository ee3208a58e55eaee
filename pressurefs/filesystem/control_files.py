"""The control files of a directory, and the top directory with what only that has."""

import errno
import select
from collections.abc import Callable, Iterator

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import Cgroup, CgroupRoot
from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Exchange
from pressurefs.filesystem.cgroup_directories import Mirror, list_children
from pressurefs.filesystem.debug_directory import SourceReport, build_debug_directory
from pressurefs.filesystem.nodes import ALWAYS_READY, Access, Directory, Entry, File, Node
from pressurefs.pressure.levels import Level, Mode
from pressurefs.pressure.tunables import Tunables
from pressurefs.registration.checks import ControlFile, Registrar
from pressurefs.registration.grammar import EVENT_CONTROL, VMPRESSURE, Grammar, parse_number

ROOT_INODE = 1

# Directories have the numbers of the cgroups.  Files have a mark in the three high bits, which a cgroup's
# number reaches after 2^29 generations of them: 1 to 3 are the control files of the directory whose number
# is in the rest, 4 is what only the top directory has.
_MARK_SHIFT = 61
_SENSITIVITY_INODE = 4 << _MARK_SHIFT
_DEBUG_INODE = _SENSITIVITY_INODE + 1  # and the numbers after it

_CONTROL_FILES = ("vmpressure", "cgroup.event_control", "memory.pressure_level")

# A file of kernfs that can tell of events begins with one that nobody has collected.
_READY_AS_KERNFS = ALWAYS_READY | select.POLLPRI | select.POLLERR

# The levels that one may ask for, never the present one: applications act on events.
_LEVELS = " ".join(level.word for level in Level).encode() + b"\n"

_Write = Callable[[Access, bytes], None]


class ControlFiles:
    """Makes the control files of a directory."""

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar

    def make(self, cgroup: Cgroup | None) -> dict[str, File]:
        """Return the control files of a cgroup by name; of the machine if None."""
        number = ROOT_INODE if cgroup is None else cgroup.inode
        vmpressure, event_control, pressure_level = (
            number | mark << _MARK_SHIFT for mark in range(1, len(_CONTROL_FILES) + 1)
        )
        # A registration at the top that names no mode hears the machine and no cgroup's limit: the RFC.
        unnamed = Mode.LOCAL if cgroup is None else Mode.DEFAULT

        def require_alive() -> None:
            if cgroup is not None:
                self._registrar.require_alive(cgroup)

        def read_levels() -> bytes:
            require_alive()
            return _LEVELS

        def refuse_read() -> bytes:
            require_alive()
            raise Refusal(errno.EINVAL, "this file has nothing to read")

        def registering(grammar: Grammar, mode: Mode, *accepted: int) -> _Write:
            control = ControlFile(cgroup, grammar, mode, accepted)
            register = self._registrar.register
            return lambda access, written: register(control, access.opening, access.caller, written)

        close = self._registrar.close
        to_vmpressure = registering(VMPRESSURE, unnamed, vmpressure, pressure_level)
        to_event_control = registering(EVENT_CONTROL, Mode.DEFAULT, pressure_level)
        files = (
            File(vmpressure, 0o666, read_levels, to_vmpressure, close),
            File(event_control, 0o222, refuse_read, to_event_control, ready=_READY_AS_KERNFS),
            File(pressure_level, 0o444, refuse_read, ready=_READY_AS_KERNFS),
        )
        return dict(zip(_CONTROL_FILES, files, strict=True))


class TopDirectory(Directory):
    """The mount's root: the machine, and below it the cgroups."""

    def __init__(
        self,
        exchange: Exchange,
        control_files: ControlFiles,
        cgroups: CgroupRoot | None,
        source_report: SourceReport | None,
    ) -> None:
        """Build the tree; with ``source_report`` it has the debug directory."""
        self._exchange = exchange
        self._cgroups = cgroups
        self._mirror = None if cgroups is None else Mirror(cgroups, _CONTROL_FILES, control_files.make)
        children: dict[str, Node] = {
            **control_files.make(None),
            "vmpressure_sensitivity": File(
                _SENSITIVITY_INODE, 0o644, read=self._sensitivity, write=self._set_sensitivity
            ),
        }
        if source_report is not None:
            children["vmpressure.debug"] = build_debug_directory(
                _DEBUG_INODE, exchange, cgroups, source_report
            )
        super().__init__(ROOT_INODE, 0o755, children)

    def find(self, path: str) -> Node:
        """Return one of our own nodes, or a cgroup's."""
        first, _, rest = path[1:].partition("/")
        child = self.children.get(first)
        if child is not None and not rest:
            return child
        if child is not None or not first or self._mirror is None:
            return super().find(path)
        return self._mirror.find(path)

    def end(self) -> None:
        """Contain nothing from here on: what a container has mounted is not ours to take away."""
        self.children, self._mirror, self._cgroups = {}, None, None

    def entries(self) -> Iterator[Entry]:
        """Yield our own files and the cgroups."""
        yield from super().entries()
        if self._cgroups is not None:
            yield from list_children(self._cgroups, MACHINE, self.children)

    def _sensitivity(self) -> bytes:
        return b"%d\n" % self._exchange.tuned()[0]

    def _set_sensitivity(self, access: Access, written: bytes) -> None:  # noqa: ARG002
        try:
            self._exchange.tune(Tunables.set_sensitivity, parse_number(written))
        except ValueError as error:
            raise Refusal(errno.EINVAL, str(error)) from None
