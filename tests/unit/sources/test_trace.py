# SPDX-License-Identifier: MIT
"""The trace format: what is written is parsed again, and the line of an error is named."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressurefs.pressure.window import Sample
from pressurefs.sources.trace import Header, TraceError, parse_trace, render_header, render_sample

HEADER = Header("6.12.1", 4096, "vmstat")
HEADER_FIELDS = {"format": "pressurefs-trace", "version": 1, **HEADER._asdict()}
SAMPLE_FIELDS = {"t": 2.5, "cgroup": "/a", "scanned": 640, "reclaimed": 32, "priority": None}
GOOD_LINE = json.dumps(SAMPLE_FIELDS)

SAMPLES = st.builds(
    Sample,
    # Times are written in microseconds.
    time=st.integers(0, 10**12).map(lambda microseconds: round(microseconds / 1e6, 6)),
    cgroup=st.text(max_size=20).map("/".__add__),
    scanned=st.integers(0, 2**64),
    reclaimed=st.integers(0, 2**64),
    priority=st.none() | st.integers(0, 12),
)
HEADERS = st.builds(Header, kernel=st.text(), page_size=st.integers(1, 2**20), source=st.text())


def parse_all(lines: list[str]) -> tuple[Header, list[Sample]]:
    header, samples = parse_trace(lines)
    return header, list(samples)


def line(**changes: Any) -> str:
    return json.dumps(SAMPLE_FIELDS | changes)


def without(key: str, fields: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in fields.items() if name != key})


@given(header=HEADERS, samples=st.lists(SAMPLES, max_size=10))
def test_round_trip(header: Header, samples: list[Sample]) -> None:
    """Header and samples are parsed as they were written, each on one line."""
    samples.sort(key=lambda sample: sample.time)
    lines = [render_header(header), *map(render_sample, samples)]
    assert not any("\n" in one for one in lines)
    assert parse_all(lines) == (header, samples)
    assert parse_all([one + "\n" for one in lines]) == (header, samples)


def test_fields() -> None:
    """A trace's lines have the documented fields."""
    assert json.loads(render_header(HEADER)) == HEADER_FIELDS
    assert json.loads(render_sample(Sample(2.5, "/a", 640, 32))) == SAMPLE_FIELDS


@pytest.mark.parametrize("priority", [None, 0, 12])
def test_priority_is_a_number_or_null(priority: int | None) -> None:
    """A sample without a priority differs from a sample of priority 0."""
    (sample,) = parse_all([render_header(HEADER), line(priority=priority)])[1]
    assert sample == Sample(2.5, "/a", 640, 32, priority)


def test_unknown_fields_are_passed_over() -> None:
    """Unknown fields are ignored: a later version may add some."""
    lines = [json.dumps(HEADER_FIELDS | {"host": "x"}), line(node=0)]
    assert parse_all(lines) == (HEADER, [Sample(2.5, "/a", 640, 32)])


def test_same_moment_twice_is_no_step_backwards() -> None:
    """Two samples may have the same time."""
    assert len(parse_all([render_header(HEADER), GOOD_LINE, GOOD_LINE])[1]) == 2


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("", id="blank line"),
        pytest.param("{", id="bad JSON"),
        pytest.param("[1]", id="not an object"),
        pytest.param('"pressurefs-trace"', id="a string"),
        pytest.param(GOOD_LINE, id="a sample"),
        pytest.param(json.dumps(HEADER_FIELDS | {"format": "other"}), id="another format"),
        pytest.param(json.dumps(HEADER_FIELDS | {"version": 2}), id="another version"),
        pytest.param(without("version", HEADER_FIELDS), id="no version"),
        pytest.param(without("kernel", HEADER_FIELDS), id="no kernel"),
        pytest.param(without("page_size", HEADER_FIELDS), id="no page size"),
        pytest.param(without("source", HEADER_FIELDS), id="no source"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": "big"}), id="page size in words"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": None}), id="page size null"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": -1}), id="page size negative"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": 0.5}), id="page size 0.5"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": 0}), id="page size 0"),
        pytest.param(json.dumps(HEADER_FIELDS | {"kernel": None}), id="kernel null"),
        pytest.param(json.dumps(HEADER_FIELDS | {"version": 1.0}), id="version with a fraction"),
        pytest.param(json.dumps(HEADER_FIELDS | {"page_size": math.inf}), id="page size infinite"),
        pytest.param(json.dumps(HEADER_FIELDS | {"version": True}), id="version true"),
        pytest.param("[" * 100_000, id="deeply nested"),
    ],
)
def test_wrong_header(first: str) -> None:
    """A first line other than a header of this version is refused at once, before any sample is asked for."""
    with pytest.raises(TraceError, match=r"^line 1: "):
        parse_trace([first, GOOD_LINE])


def test_empty_file() -> None:
    """A file without a line is no trace."""
    with pytest.raises(TraceError, match="empty"):
        parse_trace([])


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("", id="blank line"),
        pytest.param(GOOD_LINE[:-5], id="cut off"),
        pytest.param("not JSON", id="bad JSON"),
        pytest.param("[]", id="not an object"),
        pytest.param("null", id="null"),
        *(pytest.param(without(key, SAMPLE_FIELDS), id=f"no {key}") for key in SAMPLE_FIELDS),
        *(
            pytest.param(line(**{key: value}), id=f"{key} {value!r}")
            for key in ("scanned", "reclaimed", "priority")
            for value in (-1, 1.0, True, "7", [1])
        ),
        pytest.param(line(scanned=None), id="scanned null"),
        pytest.param(line(reclaimed=None), id="reclaimed null"),
        pytest.param(line(cgroup="a/b"), id="cgroup without slash"),
        pytest.param(line(cgroup=""), id="cgroup empty"),
        pytest.param(line(cgroup=7), id="cgroup a number"),
        pytest.param(line(cgroup=["/"]), id="cgroup a list"),
        pytest.param(line(t=0.499), id="time going backwards"),
        pytest.param(line(t=-1), id="time negative"),
        pytest.param(line(t=None), id="time null"),
        pytest.param(line(t="soon"), id="time in words"),
        pytest.param(line(t=math.nan), id="time NaN"),
        pytest.param(line(t=math.inf), id="time infinite"),
        pytest.param(line(t=1).replace("1", "1e400"), id="time above all floats"),
        pytest.param(line(t=10**400), id="time above all floats, in digits"),
        pytest.param(line(t=10 * 365 * 86400), id="ten years"),
        pytest.param(line(t=True), id="time true"),
        pytest.param(line(t="3"), id="time a string of digits"),
        pytest.param("[" * 100_000, id="deeply nested"),
    ],
)
def test_wrong_line(wrong: str) -> None:
    """A wrong line is refused with its number when it is reached; the samples before it are valid."""
    _, samples = parse_trace([render_header(HEADER), line(t=0.5), wrong, GOOD_LINE])
    assert next(samples) == Sample(0.5, "/a", 640, 32)
    with pytest.raises(TraceError, match=r"^line 3: "):
        next(samples)
