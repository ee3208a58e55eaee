# SPDX-License-Identifier: MIT
"""mfusepy 3.1, a descendant of fusepy, which binds libfuse 3.  The only ``import mfusepy``.

mfusepy can bind libfuse 2 as well; it is used here for machines that have no libfuse 2.  libfuse 3 has
``use_ino`` in a struct that init() fills in, which mfusepy does from the same options; the timeouts are
still options.
"""

from pressurefs.filesystem.fuse import Loop, library, read_version

# As far as mfusepy uses it, both names have the same interface: 3.17 changed other parts of it.
with library("libfuse3.so.4", "libfuse3.so.3"):
    import mfusepy

# Options of libfuse 2 that libfuse 3 refuses, because it always behaves so ...
_ALWAYS_ON = frozenset({"nonempty", "big_writes"})
# ... or that it takes as numbers, without effect: a loop in one thread reads an interrupt only when the
# interrupted call is answered.
_WITHOUT_EFFECT = frozenset({"intr", "intr_signal"})


class Mfusepy(Loop, mfusepy.FUSE):  # type: ignore[misc]
    """libfuse 3, through mfusepy.  Lives as long as the mount."""

    name = "mfusepy"
    version = read_version(mfusepy, 3)
    package = mfusepy
    needless = _ALWAYS_ON | _WITHOUT_EFFECT
