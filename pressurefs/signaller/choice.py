"""Which signaller this machine allows."""

import os

from pressurefs.signaller import Signaller
from pressurefs.signaller.holding import HoldingSignaller
from pressurefs.signaller.weak import WeakSignaller

# For tests, and for whom it concerns: "aio" does without io_uring where there is one.
SIGNALLER_VARIABLE = "PRESSUREFS_SIGNALLER"


def open_signaller() -> Signaller:
    """Return the best signaller; OSError, io_uring's, where there is none at all."""
    if os.environ.get(SIGNALLER_VARIABLE) == HoldingSignaller.name:
        return HoldingSignaller()
    try:
        return WeakSignaller()
    except OSError as forbidden:
        try:
            return HoldingSignaller()
        except OSError:
            raise forbidden from None
