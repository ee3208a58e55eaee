# SPDX-License-Identifier: MIT
"""Admits a registration: the checks between a write(2) and a live listener.

The checks run in the kernel's order, because that decides which errno a line with two faults gets: length,
text, event_fd, control_fd, level and mode.  The reasons that the kernel does not have come after those.
No descriptor of the writer is taken before every check has passed, and a refusal leaves nothing behind.

Knows no FUSE and no node: what differs between the control files comes in as ``ControlFileRules``.

Threading: the FUSE thread alone calls everything here.
"""

import contextlib
import errno
import itertools
import resource
import stat
import time
from typing import NamedTuple

from pressurefs.cgroups.paths import MACHINE
from pressurefs.cgroups.tree import Cgroup
from pressurefs.errors import Refusal, refusal_of
from pressurefs.events.cgroup_removals import Removals
from pressurefs.events.dispatcher import Dispatcher
from pressurefs.events.listeners import Listener
from pressurefs.pressure.levels import Mode
from pressurefs.registration.grammar import Grammar, Request, Wish, require_length
from pressurefs.signaller.opening import Opening
from pressurefs.signaller.poll import Poller
from pressurefs.signaller.signaller import Signaller
from pressurefs.signaller.target import Handle
from pressurefs.signaller.writer import Caller, Inode, read_groups, read_inode, require_eventfd, require_open

# A thousand eventfds is more than any program needs; each costs the daemon a descriptor, two mappings and
# some 13 KB.  Each cgroup with listeners also costs the open files that it is sampled from.  No user is
# allowed more than this share of the daemon's descriptors.
REGISTRATIONS_PER_USER = 1024
DESCRIPTORS_PER_CGROUP = 3
_DESCRIPTORS_SHARE = 0.25

# Sweep after as many new registrations as were alive at the last sweep, plus this many.  So the tables stay
# short for a program that registers and closes in a loop, and the sweeps cost a fixed share of its calls.
# Fewer than the io_urings that are kept ready (signaller/uring.py), so that such a program waits for none.
_SWEEP_SLACK = 60


class ControlFileRules(NamedTuple):
    """What the checks need of the control file that was written to.

    ``cgroup``: what is listened to, None for the machine.  ``grammar``: how its lines are read.
    ``unnamed_mode``: the mode of a registration that names none.  ``accepted_inodes``: the inode numbers
    that a control_fd is allowed to have.
    """

    cgroup: Cgroup | None
    grammar: Grammar
    unnamed_mode: Mode
    accepted_inodes: tuple[int, ...]


class Registrar:
    """Makes registrations into listeners.  Lives as long as the mount; used by the FUSE thread alone.

    ``device``: "major:minor" of the mount, None until that is known; a control_fd must be a file of it.
    """

    def __init__(self, dispatcher: Dispatcher, signaller: Signaller, removals: Removals | None) -> None:
        """Register with ``dispatcher``; without ``removals`` there are no cgroups."""
        self.device: str | None = None
        self._removals = removals
        self._dispatcher = dispatcher
        self._signaller = signaller
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._descriptors_per_user = int(limit * _DESCRIPTORS_SHARE)
        # Never 0 and never used twice: tokens distinguish eventfds that had the same descriptor number.
        self._tokens = itertools.count(1)
        self._sweep_at = _SWEEP_SLACK
        self._admitted_since_sweep = 0
        self._may_sweep_at = float("-inf")

    def register(self, control: ControlFileRules, opening: Opening, caller: Caller, written: bytes) -> None:
        """Register what one write(2) asks for, or raise the Refusal that it answers.

        ``written``: the bytes of the write, of any length.  The errnos are listed in pressurefs(5).
        """
        require_length(written)
        if control.cgroup is not None:
            self.require_alive(control.cgroup)
        request = control.grammar.parse_request(written)
        if opening.uid not in (0, caller.uid):
            raise Refusal(errno.EPERM, "the file was opened by another user than the writer")
        if request.event_fd is None:
            self._register_poller(control, opening, caller, control.grammar.parse_wish(request.wish))
        else:
            self._register_eventfd(control, caller, request.event_fd, request)

    def _register_eventfd(
        self, control: ControlFileRules, caller: Caller, event_fd: int, request: Request
    ) -> None:
        try:
            if request.control_fd is not None:
                self._require_control_file(control, caller, request.control_fd)
            wish = control.grammar.parse_wish(request.wish)
            self._require_quota(caller.uid)
            self._follow(control)
        except Refusal:
            # A wrong event_fd is reported before any of that; if all of that is right, _keep finds it.
            require_eventfd(caller, event_fd)
            raise
        token = next(self._tokens)
        self._admit(control, caller, wish, token, self._keep(caller, event_fd, token))

    def _register_poller(
        self, control: ControlFileRules, opening: Opening, caller: Caller, wish: Wish
    ) -> None:
        if opening.poller is not None:
            raise Refusal(errno.EBUSY, "the open file is polled already")
        self._require_quota(caller.uid)
        self._follow(control)
        poller, token = Poller(opening.fuse_fd), next(self._tokens)
        self._admit(control, caller, wish, token, poller)
        opening.poller, opening.token = poller, token

    def _admit(
        self, control: ControlFileRules, caller: Caller, wish: Wish, token: int, handle: Handle
    ) -> None:
        mode = wish.mode or control.unnamed_mode
        who = caller.uid, caller.pid, handle
        if control.cgroup is None or self._removals is None:
            self._dispatcher.add(Listener(token, MACHINE, wish.level, mode, *who))
        else:
            path, birth = control.cgroup.path, control.cgroup.inode
            self._dispatcher.add(Listener(token, path, wish.level, mode, *who, birth))
            # If the cgroup was removed meanwhile, the registration ends at once.  If that cannot be found
            # out, the thread that watches for removals ends it.
            with contextlib.suppress(OSError):
                self._removals.end_if_gone(path)
        self._admitted_since_sweep += 1
        if self._admitted_since_sweep >= self._sweep_at:
            # The registration is valid even if the daemon cannot find out at the moment which ones are dead.
            with contextlib.suppress(OSError):
                self.sweep()

    def require_alive(self, cgroup: Cgroup | None) -> None:
        """Refuse with ENODEV a cgroup that was removed; None, the machine, always lives."""
        if cgroup is not None and self._removals is not None:
            self._removals.require(cgroup)

    def close(self, opening: Opening) -> None:
        """End the registration of an open file, if it has one, after the last close."""
        if opening.poller is not None:
            self._dispatcher.end(opening.token)

    def sweep(self) -> None:
        """End the registrations whose eventfd is closed."""
        living = self._dispatcher.sweep()
        self._sweep_at = living + _SWEEP_SLACK
        self._admitted_since_sweep = 0

    def _keep(self, caller: Caller, event_fd: int, token: int) -> Handle:
        try:
            return self._signaller.keep(caller, event_fd, token)
        except Refusal as refusal:
            if refusal.number not in (errno.ENFILE, errno.ENOMEM):
                raise
        # Dead registrations, and io_urings that are kept ready, can hold what is missing.
        self.sweep()
        self._signaller.give_up_spares()
        return self._signaller.keep(caller, event_fd, token)

    def _follow(self, control: ControlFileRules) -> None:
        """Watch for the removal of the cgroup, before a listener relies on that."""
        if control.cgroup is not None and self._removals is not None:
            self._removals.follow(control.cgroup)
            try:
                # Registrations of a removed cgroup of this name end before the new cgroup gets one.
                self._removals.end_if_gone(control.cgroup.path)
            except OSError as error:
                raise refusal_of(error) from None

    def _require_control_file(self, control: ControlFileRules, caller: Caller, fd: int) -> None:
        """Refuse with EACCES a control_fd that the writer is not allowed to read, with EINVAL a wrong file.

        A wrong file passes in one case: the file of a removed cgroup, where a new cgroup has its name.  Their
        numbers differ, but libfuse identifies a file by its path while it is open anywhere, so the kernel has
        one inode for both; a look-up of the new file overwrites the old file's number.  Only libfuse could
        give the new file a node of its own.  It does no harm: the file that is written to decides which
        cgroup the listener hears.
        """
        require_open(caller, fd)
        inode = read_inode(caller, fd)
        if not _may_read(inode, caller):
            raise Refusal(errno.EACCES, "the writer is not allowed to read the control file")
        if inode.number not in control.accepted_inodes or inode.device != self.device:
            raise Refusal(errno.EINVAL, "control_fd is not this directory's control file")

    def _require_quota(self, uid: int) -> None:
        if uid == 0 or not self._is_used_up(uid):
            return
        # A user who keeps writing at the limit makes the daemon sweep for at most a tenth of the time.
        began = time.monotonic()
        if began >= self._may_sweep_at:
            self.sweep()
            self._may_sweep_at = began + 10 * (time.monotonic() - began)
        if self._is_used_up(uid):
            raise Refusal(errno.EDQUOT, "the user holds too many registrations")

    def _is_used_up(self, uid: int) -> bool:
        held = self._dispatcher.held_by(uid)
        descriptors = held.registrations + held.cgroups * DESCRIPTORS_PER_CGROUP
        return held.registrations >= REGISTRATIONS_PER_USER or descriptors >= self._descriptors_per_user


def _may_read(inode: Inode, caller: Caller) -> bool:
    if caller.uid == 0:
        return True
    if caller.uid == inode.uid:
        return bool(inode.mode & stat.S_IRUSR)
    if caller.gid == inode.gid or inode.gid in read_groups(caller.pid):
        return bool(inode.mode & stat.S_IRGRP)
    return bool(inode.mode & stat.S_IROTH)
