# SPDX-License-Identifier: MIT
"""Runs a command with some system calls forbidden, as a container's seccomp filter forbids them.

python forbidding.py io_uring_setup=EPERM kcmp=ENOSYS -- COMMAND...
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Mapping

NUMBERS = {
    "io_uring_setup": 425,  # numbers from 424 on are the same on every architecture
    "pidfd_getfd": 438,
    "kcmp": {"x86_64": 312, "aarch64": 272}.get(platform.machine(), 272),
}
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def forbid(answers: Mapping[str, int]) -> None:
    """Install a seccomp filter that survives execve(2): these system calls answer these errnos."""
    program = [(LOAD_WORD, 0, 0, 0)]  # loads the system call's number
    for name, number in answers.items():
        program += [(JUMP_EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, ERRNO | number)]
    program.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    if ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header) != 0:
        raise OSError("prctl")


def forbidding(*answers: str) -> list[str]:
    """Return the words to put before a command so that it runs with some system calls forbidden."""
    return [sys.executable, __file__, *answers, "--"]


if __name__ == "__main__":
    end = sys.argv.index("--")
    forbid({name: getattr(errno, word) for name, word in (text.split("=") for text in sys.argv[1:end])})
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])  # noqa: S606
