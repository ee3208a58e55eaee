"""Admits a registration: the checks between a write(2) and a place in the registry.

They run in the kernel's order, because that decides which errno a doubly wrong line gets: length,
text, event_fd, control_fd, level and mode.  Only then come the reasons that the kernel does not have.
Nothing of the writer is taken before everything about it was found right, and a refusal leaves
nothing behind.
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
from pressurefs.events.dispatcher import Exchange
from pressurefs.events.listeners import Registration
from pressurefs.pressure.levels import Mode
from pressurefs.registration.grammar import Grammar, Request, Wish, require_length
from pressurefs.signaller.poll import Opening, Poller
from pressurefs.signaller.signaller import Signaller
from pressurefs.signaller.writer import Caller, Inode, read_groups, read_inode, require_eventfd, require_open

# A thousand eventfds is more than any program has a use for; each costs us a descriptor, two mappings
# and some 13 KB.  Each cgroup that is listened to costs the files that it is sampled by, too.  No user may
# have more than this share of our descriptors.
REGISTRATIONS_PER_USER = 1024
DESCRIPTORS_PER_CGROUP = 3
_DESCRIPTORS_SHARE = 0.25

# Sweep after this many registrations beyond what lived before: a program that registers and closes in a loop
# keeps our tables short, and the sweeps cost a fixed share of its calls.  Fewer than the rings that are kept
# ready (signaller/uring.py), so that such a program waits for none to be opened.
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
    """The door of the registry.  Lives as long as the mount; used by the FUSE thread alone.

    ``device`` is "major:minor" of the mount, once known: what a control_fd must be of.
    """

    def __init__(self, exchange: Exchange, signaller: Signaller, removals: Removals | None) -> None:
        """Register with ``exchange``; without ``removals`` there are no cgroups."""
        self.device: str | None = None
        self._removals = removals
        self._exchange = exchange
        self._signaller = signaller
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._descriptors_per_user = int(limit * _DESCRIPTORS_SHARE)
        # Never 0 and never twice: a token tells an eventfd from the next one under the same number.
        self._tokens = itertools.count(1)
        self._sweep_at = _SWEEP_SLACK
        self._admitted_since_sweep = 0
        self._may_sweep_at = float("-inf")

    def register(self, control: ControlFileRules, opening: Opening, caller: Caller, written: bytes) -> None:
        """Register what one write(2) asks for, or raise the Refusal that it is answered with."""
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
            # What is wrong with event_fd comes before all that; a good line learns of it when it is kept.
            require_eventfd(caller, event_fd)
            raise
        token = next(self._tokens)
        self._admit(control, caller, wish, token, self._keep(caller, event_fd, token))

    def _register_poller(self, control: ControlFileRules, opening: Opening, caller: Caller, wish: Wish) -> None:
        if opening.poller is not None:
            raise Refusal(errno.EBUSY, "the open file is polled already")
        self._require_quota(caller.uid)
        self._follow(control)
        poller, token = Poller(opening.wake), next(self._tokens)
        self._admit(control, caller, wish, token, poller)
        opening.poller, opening.token = poller, token

    def _admit(self, control: ControlFileRules, caller: Caller, wish: Wish, token: int, handle: object) -> None:
        mode = wish.mode or control.unnamed_mode
        who = caller.uid, caller.pid, handle
        if control.cgroup is None or self._removals is None:
            self._exchange.add(Registration(token, MACHINE, wish.level, mode, *who))
        else:
            path, birth = control.cgroup.path, control.cgroup.inode
            self._exchange.add(Registration(token, path, wish.level, mode, *who, birth))
            # It ends at once if it was too late.  If that cannot be seen, the watch will tell.
            with contextlib.suppress(OSError):
                self._removals.end_if_gone(path)
        self._admitted_since_sweep += 1
        if self._admitted_since_sweep >= self._sweep_at:
            # What was admitted is no less admitted where the dead cannot be told just now.
            with contextlib.suppress(OSError):
                self.sweep()

    def require_alive(self, cgroup: Cgroup | None) -> None:
        """Refuse with ENODEV a cgroup that was removed; None, the machine, always lives."""
        if cgroup is not None and self._removals is not None:
            self._removals.require(cgroup)

    def close(self, opening: Opening) -> None:
        """End what belongs to an open file, after its last close."""
        if opening.poller is not None:
            self._exchange.end(opening.token)

    def sweep(self) -> None:
        """End the registrations whose eventfd is closed."""
        living = self._exchange.sweep()
        self._sweep_at = living + _SWEEP_SLACK
        self._admitted_since_sweep = 0

    def _keep(self, caller: Caller, event_fd: int, token: int) -> object:
        try:
            return self._signaller.keep(caller, event_fd, token)
        except Refusal as refusal:
            if refusal.number not in (errno.ENFILE, errno.ENOMEM):
                raise
        # What dead registrations hold, and what waits for use, may be all that is missing.
        self.sweep()
        self._signaller.give_up_spares()
        return self._signaller.keep(caller, event_fd, token)

    def _follow(self, control: ControlFileRules) -> None:
        """See to it that the end of the cgroup will be noticed, before anybody relies on that."""
        if control.cgroup is not None and self._removals is not None:
            self._removals.follow(control.cgroup)
            try:
                # Those of a removed cgroup of that name end before there is another.
                self._removals.end_if_gone(control.cgroup.path)
            except OSError as error:
                raise refusal_of(error) from None

    def _require_control_file(self, control: ControlFileRules, caller: Caller, fd: int) -> None:
        """Refuse a control_fd that the writer may not read, EACCES, or that is another file, EINVAL.

        One wrong file passes: that of a removed cgroup, where another has its name.  Their numbers differ,
        but libfuse knows a file by its path while it is open anywhere, so the kernel has one inode for both;
        whoever looks at the new one has its number written over the old.  Only libfuse could give the new
        one a node of its own.  It does no harm: who listens where is up to the file that is written to.
        """
        require_open(caller, fd)
        inode = read_inode(caller, fd)
        if not _may_read(inode, caller):
            raise Refusal(errno.EACCES, "the writer may not read the control file")
        if inode.number not in control.accepted_inodes or inode.device != self.device:
            raise Refusal(errno.EINVAL, "control_fd is not this directory's control file")

    def _require_quota(self, uid: int) -> None:
        if uid == 0 or not self._is_used_up(uid):
            return
        # Whoever goes on writing at the limit makes us sweep for a tenth of the time, no more.
        began = time.monotonic()
        if began >= self._may_sweep_at:
            self.sweep()
            self._may_sweep_at = began + 10 * (time.monotonic() - began)
        if self._is_used_up(uid):
            raise Refusal(errno.EDQUOT, "the user holds too many registrations")

    def _is_used_up(self, uid: int) -> bool:
        held = self._exchange.held_by(uid)
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
