"""What systemd is told of a service of Type=notify: sd_notify(3) by hand.

Nothing is said where nobody asked, and nothing waits for a manager that does not read.
"""

import contextlib
import os
import socket

NOTIFY_VARIABLE = "NOTIFY_SOCKET"
_SEND_SECONDS = 1.0


def notify(state: str) -> None:
    """Send ``NAME=value`` to the socket that $NOTIFY_SOCKET names, if it does."""
    address = os.environ.get(NOTIFY_VARIABLE, "")
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract one, which has no place in the file system
    elif not address.startswith("/"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_SEND_SECONDS)
        manager.sendto(state.encode(), address)
