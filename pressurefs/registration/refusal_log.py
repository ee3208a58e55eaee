"""The log of refused writes: each cause once for each user, at a bounded rate.

Anybody may write nonsense as fast as the machine goes; the log must neither fill nor hide what
matters.  Pure but for the line that it logs: time comes in.
"""

import errno
import logging

from pressurefs.errors import Refusal

_log = logging.getLogger("pressurefs.refused")

REPEAT_SECONDS = 600.0  # the same cause of the same user is worth a line again
BURST_LINES = 20  # for all users together ...
BURST_SECONDS = 10.0  # ... in this time
_REMEMBERED_MAX = 4096


class Refusals:
    """Decides which refusals are told.  Lives as long as the mount; used by the FUSE thread alone."""

    def __init__(self) -> None:
        self._told: dict[tuple[int, int, str], float] = {}
        self._burst_began = float("-inf")
        self._burst_lines = 0

    def note(self, uid: int, refusal: Refusal, now: float) -> bool:
        """Log a refusal unless it was told lately; return whether it was.  ``now``: monotonic seconds."""
        cause = uid, refusal.number, refusal.reason
        if now - self._told.get(cause, float("-inf")) < REPEAT_SECONDS:
            return False
        if now - self._burst_began >= BURST_SECONDS:
            self._burst_began, self._burst_lines = now, 0
        if self._burst_lines == BURST_LINES:
            return False
        self._burst_lines += 1
        if len(self._told) == _REMEMBERED_MAX:
            self._told.clear()
        self._told[cause] = now
        _log.info("refused uid %d: %s: %s", uid, errno.errorcode[refusal.number], refusal.reason)
        return True
