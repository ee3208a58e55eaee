# SPDX-License-Identifier: MIT
"""Notifications to systemd for a service of Type=notify: sd_notify(3) without libsystemd.

Without $NOTIFY_SOCKET nothing is sent.  A manager that does not read delays the daemon by a second at most.
"""

import contextlib
import os
import socket

NOTIFY_VARIABLE = "NOTIFY_SOCKET"
_SEND_SECONDS = 1.0


def notify(state: str) -> None:
    """Send ``NAME=value`` to the socket that $NOTIFY_SOCKET names; do nothing without it or on an error."""
    address = os.environ.get(NOTIFY_VARIABLE, "")
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket, which has no path
    elif not address.startswith("/"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_SEND_SECONDS)
        manager.sendto(state.encode(), address)
