# SPDX-License-Identifier: MIT
"""A real process that a test controls: it registers, holds descriptors, and dies.

The test sends an expression or statements.  The puppet runs them in its own namespace and answers with the
value, or with the errno of the OSError that was raised.  It dies with the process that started it.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any, Self

PR_SET_PDEATHSIG = 1


class Puppet:
    """A child process.  It lives until ``kill`` or the end of the with block."""

    def __init__(self, *, uid: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        if uid:
            self.do(f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})")

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its main thread."""
        return self._process.pid

    def do(self, code: str) -> Any:
        """Run code in the puppet; return the value of an expression, or raise the OSError of the code."""
        reply = self.send(code).receive()
        if "errno" in reply:
            raise OSError(reply["errno"], os.strerror(reply["errno"]), code)
        if "fault" in reply:
            raise AssertionError(f"the puppet failed at {code!r}: {reply['fault']}")
        return reply["value"]

    def send(self, code: str) -> Self:
        """Send code to the puppet without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        return self

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to what was sent."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the puppet died")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def kill(self) -> None:
        """Kill the puppet with SIGKILL, as the OOM killer does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def write(path: str, text: str | bytes, flags: int = os.O_WRONLY) -> int:
    """Open, write once and close, in the puppet: what a process does to register."""
    fd = os.open(path, flags)
    try:
        return os.write(fd, text.encode() if isinstance(text, str) else text)
    finally:
        os.close(fd)


def drain(event_fd: int) -> int:
    """Return the count of a non-blocking eventfd, 0 if it was not signalled."""
    try:
        return os.eventfd_read(event_fd)
    except BlockingIOError:
        return 0


def _obey() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    namespace: dict[str, Any] = {"write": write, "drain": drain}
    # Import before the puppet drops root: an ordinary user may be unable to read the interpreter's files.
    exec("import array, fcntl, os, select, signal, socket, subprocess, sys, threading, time", namespace)  # noqa: S102
    for line in sys.stdin:
        code = json.loads(line)
        reply: dict[str, Any]
        try:
            try:
                compiled = compile(code, "<puppet>", "eval")
            except SyntaxError:
                exec(code, namespace)  # noqa: S102
                reply = {"value": None}
            else:
                reply = {"value": eval(compiled, namespace)}  # noqa: S307
        except OSError as error:
            reply = {"errno": error.errno}
        except Exception as fault:  # noqa: BLE001
            reply = {"fault": repr(fault)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    _obey()
