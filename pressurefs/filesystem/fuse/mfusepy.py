"""mfusepy 3.1, a descendant of fusepy, on libfuse 3.  The only ``import mfusepy``.

It would take libfuse 2 where that is there, too; here it is for where that is not.  libfuse 3 has
``use_ino`` in a struct that init() fills in, which mfusepy does from the same options, and the timeouts
still among the options.
"""

from pressurefs.filesystem.fuse import Loop, library, read_version

# One interface under two names, as far as mfusepy uses it: 3.17 changed what lies in between.
with library("libfuse3.so.4", "libfuse3.so.3"):
    import mfusepy

# Options that libfuse 2 knows and libfuse 3 refuses, since it always does so ...
_ALWAYS_SO = frozenset({"nonempty", "big_writes"})
# ... or takes as numbers, and for nothing: a loop in one thread hears of an interrupt when all is done.
_FOR_NOTHING = frozenset({"intr", "intr_signal"})


class Mfusepy(Loop, mfusepy.FUSE):  # type: ignore[misc]
    """libfuse 3, by mfusepy."""

    name = "mfusepy"
    version = read_version(mfusepy, 3)
    package = mfusepy
    needless = _ALWAYS_SO | _FOR_NOTHING
