# SPDX-License-Identifier: MIT
"""pressurefs: memory pressure as a file.

The path of an event, and below it the path of a registration::

    source -> window -> verdict -> listeners -> signaller -> eventfd

    write(2) -> filesystem -> registration

The folders and files, lowest first.  Each imports only from those above it:

    mountinfo.py    what is mounted where, from /proc/self/mountinfo
    client.py       what an application uses: find the mount, register an eventfd, wait
    errors.py       the errno that a system call answers, and the reason for the log
    exitcodes.py    the exit codes of the command
    pressure/       the arithmetic: pages scanned and reclaimed in, a level out
    cgroups/        the cgroup tree, and how a cgroup is named
    signaller/      one application's eventfd, from the moment it is taken to its last close
    events/         from a window to the listeners that are signalled; the books of who listens
    registration/   from the bytes of a write(2) to a listener, or to the errno that refuses it
    sources/        where samples come from, when they are read, how they are recorded
    filesystem/     the directories and files of the mount, and how FUSE reaches them
    daemon/         the process: start and stop, log, systemd, its own memory under pressure
    cli/            the command, one file for each group of commands
    __main__.py     python -m pressurefs

What is not Python:

    native/         the C of the compiled module, with which events are signalled
    bpf/            the BPF program of the kernel source
    include/        the C header for applications
    share/          man pages, documents, examples, the systemd unit, traces
"""

from pressurefs.client import PressureEvent, vmpressure_fd

__all__ = ["PressureEvent", "vmpressure_fd"]
