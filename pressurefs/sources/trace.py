# SPDX-License-Identifier: MIT
"""The trace format: JSON lines, a header and then samples.  Pure.

    {"format": "pressurefs-trace", "version": 1, "kernel": "6.12.1", "page_size": 4096, "source": "vmstat"}
    {"t": 2.013, "cgroup": "/", "scanned": 640, "reclaimed": 640, "priority": null}

``t`` is in seconds since the recording began.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pressurefs.pressure.window import Sample

FORMAT = "pressurefs-trace"
VERSION = 1

_SAMPLE_KEYS = ("t", "cgroup", "scanned", "reclaimed", "priority")
_SECONDS_MAX = 10 * 365 * 86400  # what has run longer is a mistake, and adds up to infinity at some speeds


class Header(NamedTuple):
    """The first line: what was recorded, on what."""

    kernel: str
    page_size: int
    source: str


class TraceError(ValueError):
    """A line that is no part of a trace; the message names it."""


def render_header(header: Header) -> str:
    """Return the first line, without a newline."""
    return json.dumps({"format": FORMAT, "version": VERSION, **header._asdict()})


def render_sample(sample: Sample) -> str:
    """Return a sample's line, without a newline; its time must be relative to the start."""
    pages = {"scanned": sample.scanned, "reclaimed": sample.reclaimed, "priority": sample.priority}
    return json.dumps({"t": round(sample.time, 6), "cgroup": sample.cgroup, **pages})


def parse_trace(lines: Iterable[str]) -> tuple[Header, Iterator[Sample]]:
    """Read the header now and the samples as they are asked for.  TraceError where a line is wrong."""
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        return _parse_header(number, line), _parse_samples(numbered)
    raise TraceError("an empty file is no trace")


def _parse_header(number: int, line: str) -> Header:
    fields = _parse_object(number, line)
    version = fields.get("version")
    if fields.get("format") != FORMAT or not _is_count(version) or version != VERSION:
        raise TraceError(f"line {number}: not the header of a {FORMAT}, version {VERSION}")
    kernel, page_size, source = (fields.get(name) for name in Header._fields)
    if not (isinstance(kernel, str) and isinstance(source, str) and _is_count(page_size) and page_size):
        raise TraceError(f"line {number}: the header names kernel, page_size and source")
    return Header(kernel, page_size, source)


def _parse_samples(numbered: Iterable[tuple[int, str]]) -> Iterator[Sample]:
    last = 0.0
    for number, line in numbered:
        fields = _parse_object(number, line)
        missing = [name for name in _SAMPLE_KEYS if name not in fields]
        if missing:
            raise TraceError(f"line {number}: no {missing[0]}")
        moment, cgroup, scanned, reclaimed, priority = (fields[name] for name in _SAMPLE_KEYS)
        if not (_is_count(scanned) and _is_count(reclaimed) and (priority is None or _is_count(priority))):
            raise TraceError(f"line {number}: pages and priority are whole numbers, not negative")
        if not (isinstance(cgroup, str) and cgroup.startswith("/")):
            raise TraceError(f"line {number}: a cgroup begins with a slash")
        if any(0xD800 <= ord(character) < 0xDC80 or 0xDCFF < ord(character) < 0xE000 for character in cgroup):  # noqa: PLR2004
            raise TraceError(f"line {number}: the cgroup's name is no text")
        if type(moment) not in (int, float) or not 0 <= moment < _SECONDS_MAX:
            raise TraceError(f"line {number}: t is a number of seconds")
        if moment < last:
            raise TraceError(f"line {number}: time goes backwards")
        last = float(moment)
        yield Sample(last, cgroup, scanned, reclaimed, priority)


def _parse_object(number: int, line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"line {number}: {error}") from None
    if not isinstance(fields, dict):
        raise TraceError(f"line {number}: not a JSON object")
    return fields


def _is_count(value: object) -> bool:
    """Tell a whole number that is not negative; JSON's true is none, though Python's is."""
    return type(value) is int and value >= 0
