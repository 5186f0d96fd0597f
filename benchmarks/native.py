"""The sides in C and C++, all called by ctypes (native.cc): leakyrelu.h, copies, a plain loop."""

import ctypes
import functools
import weakref
from collections.abc import Callable
from ctypes import c_double, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Array, Data
from benchmarks.measure import Side
from benchmarks.peers import Peer
from leakyrelu import _core

OURS_C = "leakyrelu, C"
LIBRARY = "libnative_peers.so"
MEMCPY = "memcpy"
STREAM = "copy, streaming stores"
COPIES = (MEMCPY, STREAM)
PLAIN_LOOP = "plain C++ loop"

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "native_set_num_threads": (None, [c_int32]),
    "native_run": (None, [c_void_p]),
    "native_destroy": (None, [c_void_p]),
    "native_forward": (c_void_p, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_backward": (c_void_p, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_memcpy": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "native_stream": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "native_plain_loop": (c_void_p, [c_int32, c_void_p, c_void_p, c_size_t, c_double]),
}


def load(folder: Path) -> ctypes.CDLL:
    """The library in a build's folder.

    Raises:
        OSError: It is not there.
    """
    library = ctypes.CDLL(str(folder / LIBRARY))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Call:
    """A call that the library has prepared, with the memory that it works on."""

    def __init__(self, library: ctypes.CDLL, address: int, data: Data) -> None:
        self.pointer = c_void_p(address)
        self.data = data
        weakref.finalize(self, library.native_destroy, address)


class Native(Peer):
    """A side by the function that prepares its call; null, and so no side, where it has no such operation."""

    def __init__(self, library: ctypes.CDLL, name: str, prepare: Callable[[ctypes.CDLL, Case, Data], Any]) -> None:
        self.name = name
        self._library = library
        self._prepare = prepare

    def side(self, case: Case, data: Data) -> Side | None:
        # Where it takes less than the way through ctypes there is nothing to see.
        if case.layout != "contiguous" or case.elements == cases.TINY:
            return None
        address: int | None = self._prepare(self._library, case, data)
        if address is None:
            return None
        call = _Call(self._library, address, data)
        names = {"run": self._library.native_run, "pointer": call.pointer, "call": call}
        return Side(self.name, "run(pointer)", names, "call.data.y")


def _ours(library: ctypes.CDLL, case: Case, data: Data) -> Any:
    """leakyrelu.h, in a copy of the library that was built for this."""
    dtype, count, slope = _core.DTYPES[case.dtype], case.elements, case.slope
    match case.operation:
        case cases.FORWARD:
            return library.native_forward(dtype, *_addresses(data.x, data.y), None, count, slope)
        case cases.KEEPING:
            return library.native_forward(dtype, *_addresses(data.x, data.y, data.mask), count, slope)
        case cases.BACKWARD:
            return library.native_backward(dtype, *_addresses(data.g, data.mask, data.y), count, slope)
    return None


def _copy(function: str, library: ctypes.CDLL, case: Case, data: Data) -> Any:
    """As many bytes from memory to memory that is warm."""
    if case.operation not in (cases.FORWARD, cases.KEEPING, cases.BACKWARD):
        return None
    source = data.g if case.operation == cases.BACKWARD else data.x
    return getattr(library, function)(*_addresses(source, data.y), source.nbytes)


def _plain_loop(library: ctypes.CDLL, case: Case, data: Data) -> Any:
    """The formula as g++ -O3 -march=native compiles it."""
    if case.operation != cases.FORWARD:
        return None
    return library.native_plain_loop(_core.DTYPES[case.dtype], *_addresses(data.x, data.y), case.elements, case.slope)


def _addresses(*arrays: Array) -> list[int]:
    return [array.ctypes.data for array in arrays]


def native_peers(library: ctypes.CDLL) -> list[Peer]:
    return [
        Native(library, OURS_C, _ours),
        Native(library, MEMCPY, functools.partial(_copy, "native_memcpy")),
        Native(library, STREAM, functools.partial(_copy, "native_stream")),
        Native(library, PLAIN_LOOP, _plain_loop),
    ]
