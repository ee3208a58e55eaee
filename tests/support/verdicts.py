# SPDX-License-Identifier: MIT
"""What the dispatcher judges of a source's samples, without listeners."""

from collections.abc import Iterable

from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.event_path import EventPath
from pressurefs.pressure.levels import RFC
from pressurefs.pressure.window import Sample, Verdict
from tests.support.listeners import TOP, Graveyard


def judge(samples: Iterable[Sample]) -> list[Verdict]:
    """Return the verdicts of samples, oldest first, by the default profile."""
    path, graveyard = EventPath(TOP), Graveyard()
    dispatcher = Dispatcher(RFC, path, graveyard)
    dispatcher.feed(samples)
    verdicts = dispatcher.history()
    path.close()
    graveyard.close()
    return verdicts
