# SPDX-License-Identifier: MIT
"""Fixtures of all lanes."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from pressurefs.daemon.log import StderrHandler
from pressurefs.filesystem.fuse.selection import FUSE_VARIABLE, BindingUnavailable, open_binding
from tests.support.lanes import leave_out
from tests.support.mounted import SERVED, Mounted, mounted
from tests.support.puppet import Puppet

# No deadline for an example: a busy machine is slow, and that is no failure.
settings.register_profile("pressurefs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pressurefs")


@pytest.fixture(scope="session")
def native() -> None:
    """The compiled module can be imported; else the test is skipped."""
    try:
        import pressurefs._native  # noqa: F401, PLC0415
    except ImportError as error:
        leave_out("native", str(error))


@pytest.fixture(scope="session")
def fuse(native: None) -> None:  # noqa: ARG001
    """This machine and this user can make mounts; else the test is skipped."""
    if not os.path.exists("/dev/fuse"):
        leave_out("fuse", "there is no /dev/fuse")
    if os.geteuid() != 0:
        leave_out("fuse", "these tests act as several users, which takes root")
    try:
        open_binding()
    except BindingUnavailable as error:
        lane = "libfuse3" if os.environ.get(FUSE_VARIABLE) == "mfusepy" else "fuse"
        leave_out(lane, str(error))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: hand the counts to the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["served"] = dict(SERVED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what the workers have counted; one that died has counted nothing."""
    SERVED.update(getattr(node, "workeroutput", {}).get("served", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many mounts each libfuse has served, read from the daemons' maps."""
    for library, count in SERVED.items():
        terminalreporter.write_line(f"{count} mounts were served by {library}")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that a test runs in this process sends the log to stderr; no later test's lines go there."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [one for one in root.handlers if isinstance(one, StderrHandler) and one not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def place() -> Iterator[Path]:
    """A new directory that every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="pressurefs-test-") as name:
        yield Path(name)


@pytest.fixture
def mount(fuse: None, place: Path) -> Iterator[Mounted]:  # noqa: ARG001
    """A mount whose source samples a machine on which nothing happens."""
    with mounted(place) as one:
        yield one


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    """A process that registers."""
    with Puppet() as one:
        yield one
