# SPDX-License-Identifier: MIT
"""The log: lines on stderr, written by a thread of its own.

The reader of stderr can stop reading, for example a journal under memory pressure.  No other thread of the
daemon is allowed to wait for it.  So lines are queued, and when the queue is full they are counted instead.

Threading: any thread logs; the handler's thread alone writes.
"""

import contextlib
import logging
import os
import queue
import threading

_LINES_MAX = 1000
_FLUSH_SECONDS = 1.0
_STDERR_FD = 2


class StderrHandler(logging.Handler):
    """Queues lines for a thread that writes them.  Lives as long as the process."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("pressurefs: %(message)s"))
        self._lines: queue.Queue[str | None] = queue.Queue(_LINES_MAX)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it as dropped."""
        if self._writer.ident is None:
            self._writer.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued; give up after a second if stderr is not read."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        if self._writer.is_alive():
            self._writer.join(_FLUSH_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line += f"\npressurefs: log: {dropped} lines were dropped before this one"
            self._write_line(f"{line}\n".encode(errors="backslashreplace"))

    @staticmethod
    def _write_line(left: bytes) -> None:
        # Not through sys.stderr: when the interpreter ends it takes the lock of that buffer, which a write(2)
        # that waits for a reader would keep for ever.
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(_STDERR_FD, left) :]


def start_log() -> None:
    """Send log lines of all loggers, from INFO up, to stderr."""
    root = logging.getLogger()
    root.addHandler(StderrHandler())
    root.setLevel(logging.INFO)
