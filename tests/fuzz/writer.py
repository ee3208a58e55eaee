# SPDX-License-Identifier: MIT
"""The process that writes the records, and compares each answer with the model's.

It runs in a puppet, a process of its own with nothing open but what stands here: the daemon looks into its
descriptor table, and the model must know that table whole.  It opens the control file as one user and
writes as another.
"""

import errno
import itertools
import os
import select
import socket
import stat
from collections import Counter
from typing import TypedDict

from tests.fuzz.model import Answer, Descriptor, Registered, Writer, answer
from tests.fuzz.records import Records

# The two openings that are written through, in turns: each can be polled once.
CONTROL_FDS = (50, 51)
# No case is made of one disagreement, nor of a thousand.
_TOLD_MAX = 5
_SHOWN_BYTES = 300


class Outcome(TypedDict):
    """What a run came to; it travels as JSON."""

    answers: dict[str, int]
    registered: list[Registered]
    disagreements: list[str]


class FuzzWriter:
    """A table of descriptors, and who writes with it.  Lives until its process ends."""

    def __init__(self, vmpressure: str, uid: int, opener_uid: int) -> None:
        """Open everything, as root but for the control file, and become ``uid``."""
        os.setgroups([])
        event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        epoll = select.epoll()
        opened = {
            52: event_fd,
            61: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE),
            62: os.pipe()[0],
            63: os.open(os.devnull, os.O_RDWR),
            64: os.open("/etc/passwd", os.O_RDONLY),
            65: os.open("/", os.O_RDONLY),
            66: os.open(vmpressure, os.O_PATH),
            67: os.open(f"/proc/self/fd/{event_fd}", os.O_PATH),
            68: os.dup(epoll.fileno()),
            69: os.open(f"{vmpressure}_sensitivity", os.O_RDONLY),
            71: os.open("/tmp", os.O_TMPFILE | os.O_RDWR, 0o600),  # noqa: S108, it never has a name
            72: socket.socket().detach(),
            73: os.open(os.path.dirname(vmpressure), os.O_RDONLY),
            74: os.memfd_create("anon_inode:[eventfd]"),
        }
        epoll.close()
        os.seteuid(opener_uid)
        opened |= {50: os.open(vmpressure, os.O_WRONLY), 51: os.open(vmpressure, os.O_RDWR)}
        os.seteuid(0)
        # First to high numbers: one that is wanted may be taken by what is to be moved elsewhere.
        lifted = {number: os.dup2(fd, 200 + number) for number, fd in opened.items()}
        os.closerange(3, 200)
        for number, fd in lifted.items():
            os.dup2(fd, number)
        os.closerange(200, 300)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        descriptors = {number: _describe(number, uid) for number in (0, 1, 2, *opened)}
        assert _open_descriptors() == set(descriptors), "something is open that the model does not know"
        alone = Writer(descriptors, uid, opener_uid in (0, uid))
        self._writers = dict.fromkeys(CONTROL_FDS, alone)

    def suppose(self, descriptors: dict[int, Descriptor]) -> None:
        """Have the model believe something else of a few descriptors."""
        for fd, writer in self._writers.items():
            self._writers[fd] = writer._replace(descriptors={**writer.descriptors, **descriptors})

    def run(self, seed: str, count: int) -> Outcome:
        """Write so many records; stop early where ours and the model's answers have differed."""
        outcome = Outcome(answers={}, registered=[], disagreements=[])
        answers: Counter[int] = Counter()
        records = itertools.islice(Records(seed), count)
        for control_fd, record in zip(itertools.cycle(CONTROL_FDS), records):
            expected = answer(record, self._writers[control_fd])
            got = write(control_fd, record)
            answers[expected.number] += 1
            if got != expected.number:
                outcome["disagreements"].append(_tell(record, self._writers[control_fd], expected, got))
                if len(outcome["disagreements"]) == _TOLD_MAX:
                    break
            elif expected.registered is not None:
                outcome["registered"].append(expected.registered)
                self._note(control_fd, expected.registered)
        outcome["answers"] = {errno.errorcode.get(number, "taken"): n for number, n in answers.items()}
        return outcome

    def events(self) -> dict[str, int]:
        """Return how often each eventfd has been signalled since it was last looked at."""
        return {"52": _drain(52), "61": _drain(61)}

    def _note(self, control_fd: int, registered: Registered) -> None:
        if registered.event_fd is None:
            self._writers[control_fd] = self._writers[control_fd]._replace(is_polled=True)
        for fd, writer in self._writers.items():
            self._writers[fd] = writer._replace(registrations=writer.registrations + 1)


def write(fd: int, record: bytes) -> int:
    """Write one record; return the errno, 0 where all of it was taken, -1 where a part was."""
    try:
        return 0 if os.write(fd, record) == len(record) else -1
    except OSError as error:
        assert error.errno is not None
        return error.errno


def _drain(event_fd: int) -> int:
    count = 0
    try:
        while True:
            count += os.eventfd_read(event_fd)
    except BlockingIOError:
        return count


def _describe(number: int, uid: int) -> Descriptor:
    status = os.fstat(number)
    # The process is in the group of its own number, and in no other.
    if uid == status.st_uid:
        may_read = status.st_mode & stat.S_IRUSR
    elif uid == status.st_gid:
        may_read = status.st_mode & stat.S_IRGRP
    else:
        may_read = status.st_mode & stat.S_IROTH
    return Descriptor(
        eventfd=number in (52, 61, 67),
        control=number in (*CONTROL_FDS, 66),
        path_only=number in (66, 67),
        readable=uid == 0 or bool(may_read),
    )


def _open_descriptors() -> set[int]:
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    # The descriptor of the listing itself is closed again.
    return {fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")}


def _tell(record: bytes, writer: Writer, expected: Answer, got: int) -> str:
    shown = (
        repr(record) if len(record) <= _SHOWN_BYTES else f"{record[:_SHOWN_BYTES]!r}... ({len(record)} bytes)"
    )
    model, ours = (errno.errorcode.get(number, str(number)) for number in (expected.number, got))
    state = f"uid {writer.uid}, opener {writer.is_opener}, polled {writer.is_polled}"
    return f"{shown}: the model says {model}, write(2) {ours} ({state}, {writer.registrations} registrations)"
