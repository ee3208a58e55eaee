# SPDX-License-Identifier: MIT
"""The few calls of libbpf that it takes to load one BPF object and attach its programs.

By ctypes, since libbpf is needed at run time and by one source only: whoever builds or installs pressurefs
needs neither its headers nor a compiler that knows BPF.  libbpf.so.1 keeps its interface from 1.0 on.

A call answers NULL and errno, or a negative errno, on failure.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterable
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from pathlib import Path

_LIBRARY = "libbpf.so.1"

_KIND_FUNC = 12  # BTF_KIND_FUNC: a function's name; its type is the prototype

_SIGNATURES = {
    "libbpf_set_print": (c_void_p, [c_void_p]),
    "bpf_object__open_file": (c_void_p, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__find_map_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__find_program_by_name": (c_void_p, [c_void_p, c_char_p]),
    "bpf_object__next_program": (c_void_p, [c_void_p, c_void_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "bpf_program__name": (c_char_p, [c_void_p]),
    "bpf_program__set_autoload": (c_int, [c_void_p, c_bool]),
    "bpf_program__attach": (c_void_p, [c_void_p]),
    "bpf_link__destroy": (c_int, [c_void_p]),
    "btf__load_vmlinux_btf": (c_void_p, []),
    "btf__find_by_name_kind": (c_int, [c_void_p, c_char_p, c_uint32]),
    "btf__type_by_id": (POINTER(c_uint32), [c_void_p, c_uint32]),
    "btf__name_by_offset": (c_char_p, [c_void_p, c_uint32]),
    "btf__free": (None, [c_void_p]),
}


def open_libbpf() -> ctypes.CDLL:
    """Return the library; OSError where there is none, or one that is too old."""
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except OSError:
        raise FileNotFoundError(errno.ENOENT, f"there is no {_LIBRARY}") from None
    except AttributeError as error:
        raise OSError(errno.ENOSYS, f"{_LIBRARY}: {error}") from None
    # It would say on stderr what the errno says to us.
    library.libbpf_set_print(None)
    return library


def read_parameters(functions: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the parameters of those functions that this kernel has, from its BTF.

    OSError where the kernel has no BTF.
    """
    library = open_libbpf()
    btf = _require(library.btf__load_vmlinux_btf())
    try:
        found = {}
        for function in functions:
            number = library.btf__find_by_name_kind(btf, function.encode(), _KIND_FUNC)
            if number > 0:
                found[function] = _parameters(library, btf, number)
        return found
    finally:
        library.btf__free(btf)


def _parameters(library: ctypes.CDLL, btf: int, function: int) -> list[str]:
    # struct btf_type: name_off, info, type.  A prototype's parameters follow it, name_off and type of each;
    # the low half of its info says how many.
    prototype = library.btf__type_by_id(btf, library.btf__type_by_id(btf, function)[2])
    count = prototype[1] & 0xFFFF
    return [library.btf__name_by_offset(btf, prototype[3 + 2 * at]).decode() for at in range(count)]


class BpfObject:
    """An object file that clang made.  Lives until closed; so does all that it attached and gave."""

    def __init__(self, path: Path) -> None:
        """Raise OSError where it cannot be opened."""
        self._library = open_libbpf()
        self._links: list[int] = []
        self._mapped: list[tuple[ctypes.c_char, mmap.mmap]] = []
        self._object = _require(self._library.bpf_object__open_file(os.fsencode(path), None))

    def initial_memory(self, section: str) -> int:
        """Return the address of what a section of data will hold when it is loaded."""
        size = c_size_t()
        return _require(self._library.bpf_map__initial_value(self._map(section), ctypes.byref(size)))

    def shared_memory(self, section: str) -> int:
        """Return the address where a loaded section's data, no more than a page, are the program's own."""
        shared = mmap.mmap(self.map_fd(section), mmap.PAGESIZE)
        view = ctypes.c_char.from_buffer(shared)
        self._mapped.append((view, shared))
        return ctypes.addressof(view)

    def load(self, programs: Iterable[str]) -> None:
        """Load these programs and no other; OSError where the kernel does not let us, or refuses them."""
        wanted = set(programs)
        program = None
        while program := self._library.bpf_object__next_program(self._object, program):
            name = self._library.bpf_program__name(program).decode()
            self._library.bpf_program__set_autoload(program, name in wanted)
        _check(self._library.bpf_object__load(self._object))

    def attach(self, program: str) -> None:
        """Let a program run from here on."""
        found = _require(self._library.bpf_object__find_program_by_name(self._object, program.encode()))
        self._links.append(_require(self._library.bpf_program__attach(found)))

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map."""
        return int(self._library.bpf_map__fd(self._map(name)))

    def max_entries(self, name: str) -> int:
        """Return the size of a map; of a ring buffer in bytes."""
        return int(self._library.bpf_map__max_entries(self._map(name)))

    def close(self) -> None:
        """Detach and unload."""
        while self._links:
            self._library.bpf_link__destroy(self._links.pop())
        # A mapping is unmapped with the last that refers to it.
        self._mapped.clear()
        self._library.bpf_object__close(self._object)

    def _map(self, name: str) -> int:
        return _require(self._library.bpf_object__find_map_by_name(self._object, name.encode()))


def give_back_memory() -> None:
    """Return to the system what reading a kernel's types took, some 12 MB that would be kept, and locked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def _require(address: int | None) -> int:
    if not address:
        raise _error(ctypes.get_errno())
    return address


def _check(answer: int) -> None:
    if answer < 0:
        raise _error(-answer)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
