# SPDX-License-Identifier: MIT
"""Runs a command as the systemd unit confines the daemon, without systemd.

python confining.py COMMAND...

Two settings of the unit are applied: the capabilities, and the system calls that are allowed.  The kernel
enforces them in the same way as for systemd.
"""

import ctypes
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

UNIT = Path(__file__).parents[2] / "pressurefs" / "share" / "systemd" / "pressurefs.service"

# The words to put before a command so that it runs confined.
CONFINING = [sys.executable, __file__]

SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000


def read_settings() -> dict[str, str]:
    """Return the settings of the unit file by their names."""
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def read_sets() -> dict[str, list[str]]:
    """Return systemd's sets of system calls by their names, which begin with @; a set can hold other sets."""
    listed = ["systemd-analyze", "--no-pager", "syscall-filter"]
    shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    blocks = re.findall(r"^(@[\w-]+)\n((?: .*\n)*)", shown, re.MULTILINE)
    return {name: re.findall(r"^ +([@\w-]+)$", members, re.MULTILINE) for name, members in blocks}


def expand(names: Iterable[str], sets: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield the system calls of a list that names system calls and sets."""
    for name in names:
        if name.startswith("@"):
            yield from expand(sets[name], sets)
        else:
            yield name


def allow_only(names: Iterable[str]) -> None:
    """Install a seccomp filter that survives execve(2): all other system calls answer EPERM."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ERRNO | errno.EPERM))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # this architecture has the call
            seccomp.seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0)
    if seccomp.seccomp_load(context) != 0:
        raise OSError("seccomp_load")


def main(command: list[str]) -> None:
    """Drop all other capabilities and system calls, and execute the command."""
    settings = read_settings()
    rights = [f"+{right.removeprefix('CAP_').lower()}" for right in settings["CapabilityBoundingSet"].split()]
    allow_only(expand(settings["SystemCallFilter"].split(), read_sets()))
    confined = ["setpriv", f"--bounding-set=-all,{','.join(rights)}", "--no-new-privs", "--", *command]
    os.execvp(confined[0], confined)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
