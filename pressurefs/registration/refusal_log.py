# SPDX-License-Identifier: MIT
"""The log of refused writes: each cause once for each user, at a bounded rate.

Any user can write nonsense as fast as the machine allows; the log must neither fill up nor hide what
matters.  Time comes in as a parameter; the only effect outside is the line that is logged.

Threading: the FUSE thread alone calls everything here.
"""

import errno
import logging

from pressurefs.errors import Refusal

_log = logging.getLogger("pressurefs.refused")

REPEAT_SECONDS = 600.0  # until the same cause of the same user is logged again
BURST_LINES = 20  # at most this many lines, for all users together ...
BURST_SECONDS = 10.0  # ... in this time
_REMEMBERED_MAX = 4096


class Refusals:
    """Decides which refusals are logged.  Lives as long as the mount."""

    def __init__(self) -> None:
        self._logged: dict[tuple[int, int, str], float] = {}
        self._burst_began = float("-inf")
        self._burst_lines = 0

    def note(self, uid: int, refusal: Refusal, now: float) -> bool:
        """Log a refusal unless it was logged lately or the rate is reached; return whether it was logged.

        ``now``: monotonic seconds.
        """
        cause = uid, refusal.number, refusal.reason
        if now - self._logged.get(cause, float("-inf")) < REPEAT_SECONDS:
            return False
        if now - self._burst_began >= BURST_SECONDS:
            self._burst_began, self._burst_lines = now, 0
        if self._burst_lines == BURST_LINES:
            return False
        self._burst_lines += 1
        if len(self._logged) == _REMEMBERED_MAX:
            self._logged.clear()
        self._logged[cause] = now
        _log.info("refused uid %d: %s: %s", uid, errno.errorcode[refusal.number], refusal.reason)
        return True
