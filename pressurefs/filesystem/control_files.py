# SPDX-License-Identifier: MIT
"""The control files: a class for each kind, with what reading, writing and closing it does.

A write(2) comes from operations.py to the ``write`` of the class, and goes on to ``Registrar.register`` in
registration/checks.py.  This file decides what differs between the files: inode number, mode, grammar, the
mode of a registration that names none, and which files are accepted as control_fd.

Threading: the FUSE thread alone calls everything here.
"""

import errno
import select
from collections.abc import Callable

from pressurefs.cgroups.tree import Cgroup
from pressurefs.errors import Refusal
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.filesystem.nodes import ALWAYS_READY, Access, File
from pressurefs.pressure.levels import Level, Mode
from pressurefs.pressure.tunables import Tunables
from pressurefs.registration.checks import ControlFileRules, Registrar
from pressurefs.registration.grammar import EVENT_CONTROL, VMPRESSURE, parse_number
from pressurefs.signaller.opening import Opening

ROOT_INODE = 1

# A directory has the inode number of its cgroup.  A file has a mark in the three high bits, which a
# cgroup's number reaches only after 2^29 generations: marks 1 to 3 are the control files of the directory
# whose number is in the rest, mark 4 is for files that only the top directory has.
_MARK_SHIFT = 61
_VMPRESSURE_MARK = 1 << _MARK_SHIFT
_EVENT_CONTROL_MARK = 2 << _MARK_SHIFT
_PRESSURE_LEVEL_MARK = 3 << _MARK_SHIFT
_TOP_ONLY_MARK = 4 << _MARK_SHIFT

SENSITIVITY_INODE = _TOP_ONLY_MARK
DEBUG_INODE = _TOP_ONLY_MARK + 1  # the debug directory; its files have the numbers after it

CONTROL_FILE_NAMES = ("vmpressure", "cgroup.event_control", "memory.pressure_level")

# A file of kernfs that can report events begins with an event that nobody has collected.
_READY_AS_KERNFS = ALWAYS_READY | select.POLLPRI | select.POLLERR

# The levels that an application can ask for, never the present level: applications act on events.
_LEVELS = " ".join(level.word for level in Level).encode() + b"\n"


def make_control_files(cgroup: Cgroup | None, registrar: Registrar) -> dict[str, File]:
    """Return the control files of a cgroup by name, in the order of listing; of the machine if None."""
    files = (
        Vmpressure(cgroup, registrar),
        EventControl(cgroup, registrar),
        PressureLevel(cgroup, registrar),
    )
    return dict(zip(CONTROL_FILE_NAMES, files, strict=True))


class Vmpressure(File):
    """``vmpressure``, the control file of the 2012 proposal.  Lives as long as its directory keeps it.

    As control_fd it accepts itself or the ``memory.pressure_level`` beside it.
    """

    def __init__(self, cgroup: Cgroup | None, registrar: Registrar) -> None:
        directory = _directory_inode(cgroup)
        inode = directory | _VMPRESSURE_MARK
        super().__init__(inode, 0o666)
        # At the top, a registration that names no mode gets the machine's own reclaim and no cgroup's
        # limit: the RFC.
        unnamed_mode = Mode.LOCAL if cgroup is None else Mode.DEFAULT
        accepted_inodes = inode, directory | _PRESSURE_LEVEL_MARK
        self._rules = ControlFileRules(cgroup, VMPRESSURE, unnamed_mode, accepted_inodes)
        self._registrar = registrar

    def read(self) -> bytes:
        """Return the words of the levels; ENODEV where the cgroup was removed."""
        self._registrar.require_alive(self._rules.cgroup)
        return _LEVELS

    def write(self, access: Access, record: bytes) -> None:
        """Register an eventfd, or the open file itself for poll(2)."""
        self._registrar.register(self._rules, access.opening, access.caller, record)

    def close(self, opening: Opening) -> None:
        """End the registration of the open file itself, if it has one."""
        self._registrar.close(opening)


class EventControl(File):
    """``cgroup.event_control``: cgroup v1's grammar.  Lives as long as its directory keeps it.

    As control_fd it accepts the ``memory.pressure_level`` beside it and nothing else.
    """

    def __init__(self, cgroup: Cgroup | None, registrar: Registrar) -> None:
        directory = _directory_inode(cgroup)
        super().__init__(directory | _EVENT_CONTROL_MARK, 0o222, ready=_READY_AS_KERNFS)
        accepted_inodes = (directory | _PRESSURE_LEVEL_MARK,)
        self._rules = ControlFileRules(cgroup, EVENT_CONTROL, Mode.DEFAULT, accepted_inodes)
        self._registrar = registrar

    def read(self) -> bytes:
        """Refuse with EINVAL; with ENODEV where the cgroup was removed."""
        self._registrar.require_alive(self._rules.cgroup)
        return super().read()

    def write(self, access: Access, record: bytes) -> None:
        """Register an eventfd."""
        self._registrar.register(self._rules, access.opening, access.caller, record)


class PressureLevel(File):
    """``memory.pressure_level``: a cgroup v1 client opens it to name it as control_fd, and does no more.

    Lives as long as its directory keeps it.
    """

    def __init__(self, cgroup: Cgroup | None, registrar: Registrar) -> None:
        super().__init__(_directory_inode(cgroup) | _PRESSURE_LEVEL_MARK, 0o444, ready=_READY_AS_KERNFS)
        self._cgroup = cgroup
        self._registrar = registrar

    def read(self) -> bytes:
        """Refuse with EINVAL; with ENODEV where the cgroup was removed."""
        self._registrar.require_alive(self._cgroup)
        return super().read()


class Sensitivity(File):
    """``vmpressure_sensitivity``, the one public tunable: 0 to 100.  Lives as long as the mount."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(SENSITIVITY_INODE, 0o644)
        self._dispatcher = dispatcher

    def read(self) -> bytes:
        """Return the sensitivity in force."""
        sensitivity, _ = self._dispatcher.tuned()
        return b"%d\n" % sensitivity

    def write(self, access: Access, record: bytes) -> None:  # noqa: ARG002
        """Set the sensitivity; EINVAL where the record is no number of the range."""
        set_tunable(self._dispatcher, Tunables.set_sensitivity, record)


def set_tunable(dispatcher: Dispatcher, setting: Callable[[Tunables, int], None], record: bytes) -> None:
    """Set a tunable to the number that was written; EINVAL where it is no number or out of range."""
    try:
        dispatcher.tune(setting, parse_number(record))
    except ValueError as error:
        raise Refusal(errno.EINVAL, str(error)) from None


def _directory_inode(cgroup: Cgroup | None) -> int:
    return ROOT_INODE if cgroup is None else cgroup.inode
