"""Runs a command for which io_uring is forbidden, as in a container: io_uring_setup(2) answers EPERM."""

import ctypes
import os
import struct
import sys

SYS_IO_URING_SETUP = 425  # the same number on every architecture
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM = 1


def forbid_io_uring() -> None:
    """Install a seccomp filter, which execve(2) does not shake off."""
    program = [
        (LOAD_WORD, 0, 0, 0),  # the system call's number
        (JUMP_EQUAL, 0, 1, SYS_IO_URING_SETUP),
        (RETURN, 0, 0, ERRNO | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    if ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header) != 0:
        raise OSError("prctl")


if __name__ == "__main__":
    forbid_io_uring()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
