"""What each command does: parsed arguments in, an exit code out, or Exit raised.

Each imports what it needs when it runs: a shell that registers an eventfd should not wait for FUSE to be
loaded.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pressurefs import client, exitcodes, mountinfo
from pressurefs.exitcodes import Exit, or_exit
from pressurefs.pressure.levels import PROFILES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from pressurefs.pressure.window import Verdict
    from pressurefs.sources.selection import Origin

_RESERVED_OPTIONS = {
    *("foreground", "debug", "nothreads", "fsname", "subtype", "default_permissions"),
    *("use_ino", "hard_remove"),
    *("attr_timeout", "entry_timeout", "negative_timeout", "operations", "mountpoint", "raw_fi", "encoding"),
}
_FD_DIGITS_MAX = 9
_FD_WISH = re.compile(r"(\d+)=([^@]+)(?:@(/.*))?")


def mount(parsed: argparse.Namespace) -> int:
    """Serve until asked to stop."""
    try:
        from pressurefs.daemon.daemon import Daemon, Settings  # noqa: PLC0415
    except ImportError as error:
        if "_native" in str(error):
            why = f"the compiled module is missing ({error})"
            raise Exit(exitcodes.COMPILED_MODULE_MISSING, "mount", why) from None
        raise
    from pressurefs.sources.selection import Roots  # noqa: PLC0415

    if parsed.ready_fd is not None and not os.path.exists(f"/proc/self/fd/{parsed.ready_fd}"):
        raise Exit(exitcodes.USAGE, f"--ready-fd {parsed.ready_fd}", "is not open")
    settings = Settings(
        mountpoint=parsed.mountpoint,
        source=parsed.source,
        profile=PROFILES[parsed.profile],
        debug=parsed.debug,
        cgroup=parsed.cgroup,
        roots=Roots(Path(parsed.proc)),
        options=_mount_options(parsed.options),
        ready_fd=parsed.ready_fd,
        record=parsed.record,
    )
    Daemon(settings).run()
    return exitcodes.DONE


def _mount_options(lists: Sequence[str]) -> dict[str, str | bool]:
    """Read ``-o a,b=c`` as libfuse wants it; root's mounts are for everybody."""
    options: dict[str, str | bool] = {"allow_other": True} if os.geteuid() == 0 else {}
    for option in filter(None, ",".join(lists).split(",")):
        name, given, value = option.partition("=")
        if name in _RESERVED_OPTIONS:
            raise Exit(exitcodes.USAGE, f"-o {name}", "is pressurefs's own to set")
        options[name] = value if given else True
    return options


def umount(parsed: argparse.Namespace) -> int:
    """Unmount."""
    from pressurefs.daemon.mountpoint import unmount  # noqa: PLC0415

    mountpoint = _require_mount(parsed.mountpoint)
    with or_exit(exitcodes.UNEXPECTED, mountpoint):
        unmount(mountpoint)
    return exitcodes.DONE


def execute(parsed: argparse.Namespace) -> int:
    """Become a command that has eventfds, registered."""
    wishes: dict[int, tuple[str, str | None]] = {}
    for text in parsed.wishes:
        match = _FD_WISH.fullmatch(text)
        if match is None:
            raise Exit(exitcodes.USAGE, f"--fd {text}", "not N=LEVEL[@/cgroup]")
        fd = _usable_fd(match[1], wishes)
        wishes[fd] = match[2], match[3]
    mount = _found_mount() if wishes else None
    for fd in wishes:
        _open_eventfd(fd)
    for fd, (wish, cgroup) in wishes.items():
        _register(fd, wish, client.control_path(mount, cgroup))
    return _become(parsed.words)


def eventfd_new(parsed: argparse.Namespace) -> int:
    """Become a command that has eventfds, registered nowhere."""
    fds: list[int] = []
    words = list(parsed.words)
    while words and words[0].isdecimal():
        fds.append(_usable_fd(words.pop(0), fds))
    if words[:1] == ["--"]:
        del words[0]
    if not fds or not words:
        raise Exit(exitcodes.USAGE, "eventfd new", "wants numbers and a command: eventfd new 5 6 -- COMMAND")
    for fd in fds:
        _open_eventfd(fd)
    return _become(words)


def eventfd_read(parsed: argparse.Namespace) -> int:
    """Wait for an eventfd, and print its count."""
    try:
        link = os.readlink(f"/proc/self/fd/{parsed.fd}")
    except OSError:
        raise Exit(exitcodes.USAGE, f"descriptor {parsed.fd}", "is not open") from None
    if link != "anon_inode:[eventfd]":
        raise Exit(exitcodes.USAGE, f"descriptor {parsed.fd}", f"is no eventfd but {link}")
    count = client.wait(parsed.fd, parsed.timeout)
    if count is None:
        return exitcodes.TIMED_OUT
    print(count)
    return exitcodes.DONE


def wait(parsed: argparse.Namespace) -> int:
    """Wait for the first event."""
    event_fd, mount = os.eventfd(0), _found_mount()
    control = client.control_path(mount, parsed.cgroup)
    _register(event_fd, parsed.level, control)
    if client.wait(event_fd, parsed.timeout) is None:
        return exitcodes.TIMED_OUT
    # The end of the cgroup or of the mount is signalled, too, and by then the path is gone.
    if not control.exists():
        raise _end_of(mount, control)
    return exitcodes.DONE


def inject(parsed: argparse.Namespace) -> int:
    """Write into the debug directory of a mount."""
    path = Path(_require_mount(parsed.mountpoint), "vmpressure.debug", "inject")
    with or_exit(exitcodes.UNEXPECTED, str(path)):
        if not path.parent.is_dir():
            raise Exit(exitcodes.UNEXPECTED, parsed.mountpoint, "mounted without --debug")
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, os.fsencode(" ".join(parsed.words)))
    return exitcodes.DONE


def watch(parsed: argparse.Namespace) -> int:
    """Show events as they come."""
    from pressurefs.cli.watch import Listening, watch  # noqa: PLC0415

    mount = _found_mount()
    control = client.control_path(mount, parsed.cgroup)
    try:
        with or_exit(exitcodes.UNEXPECTED, f"register in {control}"):
            listening = Listening(mount, parsed.cgroup)
        watch(listening, sys.stdout, str(control.parent))
    except KeyboardInterrupt:
        return exitcodes.DONE
    raise _end_of(mount, control)


def _end_of(mount: str, control: Path) -> Exit:
    """Return what is said where a control file is gone."""
    if _is_pressurefs(mount):
        return Exit(exitcodes.UNEXPECTED, str(control.parent), "the cgroup was removed")
    return Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, mount, "was unmounted")


def status(parsed: argparse.Namespace) -> int:
    """Print what is known of a mount and of the machine."""
    from pressurefs.cli.machine import examine_machine, read_mount  # noqa: PLC0415

    mountpoint = _found_mount() if parsed.mountpoint is None else _require_mount(parsed.mountpoint)
    with or_exit(exitcodes.UNEXPECTED, mountpoint):
        known = read_mount(mountpoint)
    machine = examine_machine()
    if parsed.json:
        import json  # noqa: PLC0415

        print(json.dumps({**known, "machine": machine}))
    else:
        why_not = "not told: it takes root" if known["debug"] else "not told: mounted without --debug"
        _print_table({name: why_not if value is None else value for name, value in known.items()})
        print("\nWhat this machine allows the one who asks:")
        _print_table(machine)
    return exitcodes.DONE


def doctor(_parsed: argparse.Namespace) -> int:
    """Print what is known of the machine."""
    from pressurefs.cli.machine import examine_machine  # noqa: PLC0415

    _print_table(examine_machine())
    return exitcodes.DONE


def _print_table(rows: Mapping[str, object]) -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


def record(parsed: argparse.Namespace) -> int:
    """Write a trace."""
    from pressurefs.sources.recorder import record  # noqa: PLC0415
    from pressurefs.sources.selection import Origin, Roots, Selection  # noqa: PLC0415

    origin, take_windows = _hear_all(Origin(Roots(Path(parsed.proc))))
    with or_exit(exitcodes.SOURCE_UNAVAILABLE, f"source {parsed.source}"):
        selection = Selection(parsed.source, origin)
    with (
        or_exit(exitcodes.UNEXPECTED, parsed.file),
        Path(parsed.file).open("w", encoding="utf-8", buffering=1) as file,
    ):
        record(selection, take_windows, file, parsed.seconds)
    return exitcodes.DONE


def _hear_all(origin: Origin) -> tuple[Origin, Callable[[], Sequence[Verdict]]]:
    """Add what the kernel source needs, and return what gives its windows.

    Nothing without the compiled module, which the other sources do not need.
    """
    from pressurefs.cgroups.tree import CgroupRoot  # noqa: PLC0415

    try:
        from pressurefs.events.history import open_for_all  # noqa: PLC0415
    except ImportError:
        return origin, list
    cgroups = CgroupRoot.mounted()
    event_path, history = open_for_all(cgroups, PROFILES["rfc"])
    return origin._replace(cgroups=cgroups, event_path=event_path), history.take_filled


def plot(parsed: argparse.Namespace) -> int:
    """Draw a trace."""
    from pressurefs.cli.plot import build_series, draw  # noqa: PLC0415
    from pressurefs.sources.trace import TraceError, parse_trace  # noqa: PLC0415

    try:
        with or_exit(exitcodes.UNEXPECTED, parsed.file), Path(parsed.file).open(encoding="utf-8") as lines:
            header, parsed_samples = parse_trace(lines)
            samples = list(parsed_samples)
    except (TraceError, UnicodeDecodeError) as error:
        raise Exit(exitcodes.UNEXPECTED, parsed.file, error) from None
    cgroup = _cgroup_to_plot(parsed.file, parsed.cgroup, dict.fromkeys(one.cgroup for one in samples))
    thresholds = PROFILES[parsed.profile]
    series = build_series([one for one in samples if one.cgroup == cgroup], thresholds)
    what = f"{Path(parsed.file).name}, cgroup {cgroup}, profile {parsed.profile}"
    try:
        draw(series, header, what, thresholds, parsed.output)
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        why = "matplotlib is not installed (pip install matplotlib)"
        raise Exit(exitcodes.UNEXPECTED, "plot", why) from None
    except OSError as error:
        raise Exit(exitcodes.UNEXPECTED, parsed.output, error.strerror) from None
    return exitcodes.DONE


def _cgroup_to_plot(file: str, wanted: str | None, known: Mapping[str, None]) -> str:
    """Return the cgroup that was asked for, else the one there is, else the machine."""
    if not known:
        raise Exit(exitcodes.UNEXPECTED, file, "a trace without samples")
    if wanted is None and len(known) == 1:
        return next(iter(known))
    wanted = wanted or "/"
    if wanted not in known:
        raise Exit(exitcodes.USAGE, f"--cgroup {wanted}", f"{file} has {' '.join(sorted(known))}")
    return wanted


def _found_mount() -> str:
    try:
        return _require_mount(mountinfo.find_pressurefs())
    except FileNotFoundError as error:
        raise Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, "no mount", error.strerror) from None


def _require_mount(path: str) -> str:
    """Return the real path of a pressurefs mount; Exit where it is none."""
    mountpoint = os.path.realpath(path)
    if not _is_pressurefs(mountpoint):
        raise Exit(exitcodes.NOT_A_PRESSUREFS_MOUNT, path, "not a pressurefs mount")
    return mountpoint


def _is_pressurefs(mountpoint: str) -> bool:
    mounted = mountinfo.topmost(mountinfo.read_mountinfo(), mountpoint)
    return mounted is not None and mounted.filesystem_type == mountinfo.FILESYSTEM_TYPE


def _usable_fd(digits: str, taken: Sequence[int] | dict[int, tuple[str, str | None]]) -> int:
    fd = int(digits) if len(digits) <= _FD_DIGITS_MAX else -1
    limit = os.sysconf("SC_OPEN_MAX")
    if fd in taken or not 3 <= fd < limit:  # noqa: PLR2004, 0 to 2 are the standard streams
        raise Exit(
            exitcodes.USAGE, f"descriptor {digits}", f"not a number from 3 to {limit - 1} that is named once"
        )
    return fd


def _open_eventfd(fd: int) -> None:
    """Open an eventfd under just this number, for a command that will inherit it."""
    opened = os.eventfd(0, os.EFD_CLOEXEC)
    if opened == fd:
        os.set_inheritable(fd, True)  # noqa: FBT003
        return
    os.dup2(opened, fd, inheritable=True)
    os.close(opened)


def _register(event_fd: int, wish: str, control: Path) -> None:
    with or_exit(exitcodes.UNEXPECTED, f"register {wish!r} in {control}"):
        client.register(event_fd, wish, control)


def _become(words: list[str]) -> int:
    """Run a command in this process's place."""
    try:
        os.execvp(words[0], words)  # noqa: S606, that is what the user asked for
    except FileNotFoundError:
        raise Exit(exitcodes.COMMAND_NOT_FOUND, words[0], "command not found") from None
    except OSError as error:
        raise Exit(exitcodes.COMMAND_NOT_RUNNABLE, words[0], error.strerror) from None
