# SPDX-License-Identifier: MIT
"""What is logged of refused writes, and how often."""

import errno
import logging

import pytest

from pressurefs.errors import Refusal
from pressurefs.registration.refusal_log import BURST_LINES, BURST_SECONDS, REPEAT_SECONDS, Refusals

BAD_LINE = Refusal(errno.EINVAL, "the line is nonsense")


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pressurefs.refused")


def test_line_says_who_what_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """A line names the user, the errno by its name, and the reason in words."""
    assert Refusals().note(1000, BAD_LINE, 0.0)
    assert caplog.messages == ["refused uid 1000: EINVAL: the line is nonsense"]


def test_once_per_cause_and_user(caplog: pytest.LogCaptureFixture) -> None:
    """The same cause of the same user is logged once; another user, errno or reason is another cause."""
    refusals = Refusals()
    causes = [
        (1000, BAD_LINE),
        (1001, BAD_LINE),
        (1000, Refusal(errno.E2BIG, BAD_LINE.reason)),
        (1000, Refusal(errno.EINVAL, "another reason")),
    ]
    assert [refusals.note(uid, refusal, 0.0) for uid, refusal in causes] == [True] * 4
    assert [refusals.note(uid, refusal, 0.1) for uid, refusal in causes] == [False] * 4
    assert len(caplog.messages) == 4


@pytest.mark.parametrize(
    ("later", "told"), [(0.0, False), (REPEAT_SECONDS - 0.5, False), (REPEAT_SECONDS, True)]
)
def test_told_again_after_a_while(later: float, told: bool) -> None:  # noqa: FBT001, a column
    """A cause is logged again after the interval, which begins with the line, not with the last refusal."""
    refusals = Refusals()
    assert refusals.note(1000, BAD_LINE, 50.0)
    assert not refusals.note(1000, BAD_LINE, 50.0 + later / 2)
    assert refusals.note(1000, BAD_LINE, 50.0 + later) == told


def test_burst_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """However many users' writes are refused, only a burst is logged; the next burst has room again."""
    refusals = Refusals()
    first = [refusals.note(uid, BAD_LINE, 0.001 * uid) for uid in range(1000)]
    assert (first.count(True), len(caplog.messages)) == (BURST_LINES, BURST_LINES)
    assert refusals.note(5000, BAD_LINE, BURST_SECONDS)


def test_what_a_burst_hid_is_told_later() -> None:
    """A cause that the full burst kept out of the log counts as not logged."""
    refusals = Refusals()
    for uid in range(BURST_LINES):
        refusals.note(uid, BAD_LINE, 0.0)
    assert not refusals.note(1000, BAD_LINE, 1.0)
    assert refusals.note(1000, BAD_LINE, BURST_SECONDS)


def test_memory_is_bounded() -> None:
    """However many causes are logged, slowly enough to log each, their memory is bounded."""
    refusals = Refusals()
    told = sum(refusals.note(uid, BAD_LINE, float(uid)) for uid in range(10_000))
    remembered = [len(value) for value in vars(refusals).values() if isinstance(value, dict)]
    assert told == 10_000
    assert remembered
    assert max(remembered) <= 4096
