"""Writes down what a source sees, without a mount: the other end of the replay source."""

import os
import platform
import time
from typing import TextIO

from pressurefs.sources import Source
from pressurefs.trace import Header, render_header, render_sample


def record(source: Source, file: TextIO, seconds: float | None) -> None:
    """Write a trace until ``seconds`` have passed, the source has ended or the user interrupts."""
    header = Header(platform.release(), os.sysconf("SC_PAGE_SIZE"), source.name)
    print(render_header(header), file=file, flush=True)
    started = time.monotonic()
    ends = None if seconds is None else started + seconds
    source.start(started)
    try:
        while True:
            now = time.monotonic()
            for sample in source.read(now):
                print(render_sample(sample._replace(time=sample.time - started)), file=file)
            due = source.next_look()
            if due is None or (ends is not None and now >= ends):
                break
            until = due if ends is None else min(due, ends)
            time.sleep(max(0.0, until - time.monotonic()))
    except KeyboardInterrupt:
        pass
    finally:
        source.close()
