# SPDX-License-Identifier: MIT
"""The types of the compiled module: native/native.cdef.h and bpf/shared.h, as mypy reads them."""

from collections.abc import Iterable
from typing import Any, Literal, NewType, Protocol, TypeAlias, overload

Pointer: TypeAlias = Any  # of whatever type: NULL can stand in its place
Uring = NewType("Uring", object)
Aio = NewType("Aio", object)
Address = NewType("Address", object)
EventPathInC = NewType("EventPathInC", object)
ReaderInC = NewType("ReaderInC", object)
ThresholdsInC = NewType("ThresholdsInC", object)

class PollInC(Protocol):
    fuse_fd: int

class Writer(Protocol):
    pidfd: int

class Rows(Protocol):
    epoll_fd: int
    end_fd: int

class Number(Protocol):
    def __getitem__(self, at: Literal[0]) -> int: ...
    def __setitem__(self, at: Literal[0], value: int) -> None: ...

class ListenerInC(Protocol):
    token: int
    cgroup: int
    level: int
    mode: int
    uid: int
    pid: int
    target: int
    fd: int

class Pages(Protocol):
    cgroup: int
    scanned: int
    reclaimed: int

class WindowInC(Protocol):
    time_ns: int
    cgroup: int
    listening: int
    scanned: int
    reclaimed: int
    priority: int
    injected: int

class JudgedInC(Protocol):
    time_ns: int
    cgroup: int
    listening: int
    scanned: int
    reclaimed: int
    injected: int
    priority: int
    index_percent: int
    level: int
    flags: int

class JudgedArray(Protocol):
    def __getitem__(self, part: slice) -> Iterable[JudgedInC]: ...

class Known(Protocol):
    gfp: int
    memcg: int
    tree: int
    scanned: int
    reclaimed: int
    prio_gfp: int
    prio_memcg: int
    prio: int
    gfp_counted: int

class Shared(Protocol):
    machine_pages: int

class _Lib(Protocol):
    PFS_NO_PRIORITY: int
    PFS_NO_INDEX: int
    PFS_DEFAULT: int
    PFS_HIERARCHY: int
    PFS_LOCAL: int
    PFS_BY_URING: int
    PFS_BY_AIO: int
    PFS_BY_POLL: int
    PFS_SAMPLED: int
    PFS_WALKED: int
    PFS_SILENCED: int
    PFS_KEPT: int
    PFS_LOOK: int
    PFS_TAKE: int
    PFS_TIE: int
    PFS_ROW: int
    def pfs_look(self, tid: int, target_fd: int) -> int: ...
    def pfs_take(self, writer: Writer, pid: int, as_thread: bool, target_fd: int) -> int: ...
    def pfs_file_order(self, tid: int, target_fd: int, own_fd: int) -> int: ...
    def pfs_same_table(self, tid: int, other_tid: int) -> int: ...
    def pfs_uring_open(self) -> Uring: ...
    def pfs_uring_fd(self, uring: Uring) -> int: ...
    def pfs_uring_tie(self, uring: Uring, event_fd: int) -> int: ...
    def pfs_uring_untie(self, uring: Uring) -> int: ...
    def pfs_uring_keep_taken(self, uring: Uring, rows: Rows, taken: int, token: int) -> int: ...
    def pfs_uring_keep(
        self, uring: Uring, writer: Writer, rows: Rows, tid: int, target_fd: int, token: int, taken: Number
    ) -> int: ...
    def pfs_uring_close(self, uring: Uring) -> None: ...
    def pfs_aio_open(self) -> Aio: ...
    def pfs_aio_close(self, aio: Aio) -> None: ...
    def pfs_poll_read(self, poll: PollInC, has_waiter: bool, waiter: int) -> int: ...
    def pfs_event_path_open(self, top: int, listeners_max: int) -> EventPathInC: ...
    def pfs_event_path_tune(self, path: EventPathInC, thresholds: ThresholdsInC) -> None: ...
    def pfs_event_path_use_aio(self, path: EventPathInC, aio: Aio | object) -> None: ...
    def pfs_event_path_take_lost(self, path: EventPathInC, error: Number) -> int: ...
    def pfs_event_path_warm(self, path: EventPathInC) -> None: ...
    def pfs_event_path_attach(self, path: EventPathInC, listening_fd: int, shared: Address) -> int: ...
    def pfs_event_path_detach(self, path: EventPathInC) -> None: ...
    def pfs_event_path_close(self, path: EventPathInC) -> None: ...
    def pfs_listeners_add(
        self, path: EventPathInC, listener: ListenerInC, handle: Pointer, parent: int
    ) -> int: ...
    def pfs_listeners_drop(self, path: EventPathInC, row: int, token: int) -> int: ...
    def pfs_listeners_end(self, path: EventPathInC, row: int, token: int) -> int: ...
    def pfs_listeners_bury(self, path: EventPathInC, row: int, token: int) -> int: ...
    def pfs_listeners_signals_sent(self, path: EventPathInC, row: int, token: int) -> int: ...
    def pfs_places_set_parent(self, path: EventPathInC, cgroup: int, parent: int) -> None: ...
    def pfs_windows_add(
        self,
        path: EventPathInC,
        pages: Pages,
        listening: int,
        is_inherited: bool,
        scanned: int,
        reclaimed: int,
        priority: int,
        time_ns: int,
    ) -> int: ...
    def pfs_windows_fill(self, path: EventPathInC, window: WindowInC) -> None: ...
    def pfs_windows_inject(
        self, path: EventPathInC, cgroup: int, listening: int, is_inherited: bool, level: int, time_ns: int
    ) -> None: ...
    def pfs_walk_again(self, path: EventPathInC, start: int) -> None: ...
    def pfs_history_head(self, path: EventPathInC) -> int: ...
    def pfs_history_read(self, path: EventPathInC, start: Number, judged: JudgedArray, most: int) -> int: ...
    def pfs_reader_open(
        self, path: EventPathInC, map_fd: int, wait_fd: int, ring_bytes: int, told_fd: int
    ) -> ReaderInC: ...
    def pfs_reader_close(self, reader: ReaderInC) -> None: ...

class _FFI(Protocol):
    NULL: Pointer
    errno: int
    @overload
    def new(self, cdecl: Literal["struct pfs_writer *"]) -> Writer: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_rows *"]) -> Rows: ...
    @overload
    def new(self, cdecl: Literal["int *", "uint64_t *"]) -> Number: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_poll *"]) -> PollInC: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_thresholds *"], init: list[int]) -> ThresholdsInC: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_listener *"]) -> ListenerInC: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_pages *"], init: list[int]) -> Pages: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_window *"], init: dict[str, int]) -> WindowInC: ...
    @overload
    def new(self, cdecl: Literal["struct pfs_judged[]"], init: int) -> JudgedArray: ...
    @overload
    def cast(self, cdecl: Literal["void *"], value: int) -> Address: ...
    @overload
    def cast(self, cdecl: Literal["struct pfs_known *"], value: int) -> Known: ...
    @overload
    def cast(self, cdecl: Literal["struct pfs_shared *"], value: int) -> Shared: ...

lib: _Lib
ffi: _FFI
