"""The top directory: ``vmpressure``, ``vmpressure_sensitivity`` and, if wanted, the debug directory."""

import errno

from pressurefs.cgroups import CgroupRoot
from pressurefs.debug import SourceReport, build_debug_directory
from pressurefs.engine import MACHINE
from pressurefs.exchange import Exchange
from pressurefs.levels import Level
from pressurefs.protocol import Mode, Refusal, parse_number
from pressurefs.registrar import ControlFile, Registrar
from pressurefs.tree import Access, Directory, File, Node
from pressurefs.tunables import Tunables

ROOT_INODE = 1
_VMPRESSURE_INODE = 2
_SENSITIVITY_INODE = 3
_DEBUG_INODE = 16  # and the numbers after it


class TopDirectory(Directory):
    """The mount's root.  ``device`` is "major:minor" of the mount, None until it is known."""

    def __init__(
        self,
        exchange: Exchange,
        registrar: Registrar,
        cgroups: CgroupRoot | None,
        source_report: SourceReport | None,
    ) -> None:
        """Build the tree; with ``source_report`` it has the debug directory."""
        self.device: str | None = None
        self._exchange = exchange
        self._registrar = registrar
        self._vmpressure = File(_VMPRESSURE_INODE, 0o666, _levels, self._register, registrar.close)
        children: dict[str, Node] = {
            "vmpressure": self._vmpressure,
            "vmpressure_sensitivity": File(
                _SENSITIVITY_INODE, 0o644, read=self._sensitivity, write=self._set_sensitivity
            ),
        }
        if source_report is not None:
            children["vmpressure.debug"] = build_debug_directory(
                _DEBUG_INODE, exchange, cgroups, source_report
            )
        super().__init__(ROOT_INODE, 0o755, children)

    def _register(self, access: Access, written: bytes) -> None:
        # A registration at the top that names no mode hears the machine and no cgroup's limit: the RFC.
        control = ControlFile(MACHINE, Mode.LOCAL, self.device, self._vmpressure.inode)
        self._registrar.register(control, access.opening, access.caller, written)

    def _sensitivity(self) -> bytes:
        return b"%d\n" % self._exchange.tuned()[0]

    def _set_sensitivity(self, access: Access, written: bytes) -> None:  # noqa: ARG002
        try:
            self._exchange.tune(Tunables.set_sensitivity, parse_number(written))
        except ValueError as error:
            raise Refusal(errno.EINVAL, str(error)) from None


def _levels() -> bytes:
    """Return the levels that one may ask for, never the present one: applications act on events."""
    return " ".join(level.word for level in Level).encode() + b"\n"
