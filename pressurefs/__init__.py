# SPDX-License-Identifier: MIT
"""pressurefs: memory pressure as a file.  The map of the house.

    source -> window -> engine -> signaller -> the application's eventfd
                          ^
    write(2) -> filesystem -> registrar -> registry

Rooms, the lowest first; imports point downwards only:

    mounts, client                what is mounted where; what an application does to be told
    paths                         how cgroups are named
    levels, window, tunables      the arithmetic: pages in, a level out
    protocol, injection           bytes in, a request out, or the errno that refuses it
    registry, engine              who listens, and who must hear a verdict
    poller                        an open file that is polled in an eventfd's place
    caller                        what /proc says of the process that writes
    cgroups                       the tree that the mount stands for
    signaller, native.c, aio.c    takes an eventfd, signals it, notices its last close
    fanout, fanout.c, reader.c    the same listeners once more, for the event path without Python
    exchange                      all of the above behind the one lock
    removals                      notices that a cgroup is gone, and tells
    registrar, refusals           the checks that a registration passes; the log of those that fail
    trace, sources, recorder      where samples come from, and the format they are recorded in
    pump                          looks at the source, at a bounded cost
    tree, mirror, debug, control  what the mount contains
    connection, filesystem        what FUSE asks of the tree, and what we say to the kernel unasked
    binding                       the Python packages that reach libfuse
    exits, log                    exit codes; lines that nobody waits for
    staying, mountpoint           memory under pressure; where a mount is, before and after
    systemd                       what systemd is told
    status, daemon                what a mount says of itself; threads, start and stop
    picture, watching, plotting   for people: events as they come; a trace drawn
    commands, cli                 the command
    fstab                         what mount(8) runs
"""

from pressurefs.client import PressureEvent, vmpressure_fd

__all__ = ["PressureEvent", "vmpressure_fd"]
