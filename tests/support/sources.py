# SPDX-License-Identifier: MIT
"""A selection whose source a test has chosen."""

from pressurefs.sources import Source, SourceUnavailable
from pressurefs.sources.selection import Selection


class Chosen(Selection):
    """The one source there is: nothing takes its place."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def replace(self, error: OSError) -> Source:
        """Raise: there is no other."""
        raise SourceUnavailable(error.errno, error.strerror)
