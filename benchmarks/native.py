"""The sides in C and C++, all called by ctypes: leakyrelu.h, copies, a plain loop, oneDNN, XNNPACK."""

import ctypes
import weakref
from ctypes import c_double, c_float, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Array, Data
from benchmarks.measure import Side
from benchmarks.peers import KINDS, Peer, known
from leakyrelu import _core

OURS_C = "leakyrelu, C"
LIBRARY = "libnative_peers.so"
MEMCPY = "memcpy"
STREAM = "copy, streaming stores"
COPIES = (MEMCPY, STREAM)
PLAIN_LOOP = "plain C++ loop"
ONEDNN = "oneDNN"
XNNPACK = "XNNPACK"

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "native_set_num_threads": (None, [c_int32]),
    "native_run": (None, [c_void_p]),
    "native_destroy": (None, [c_void_p]),
    "native_forward": (c_void_p, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_backward": (c_void_p, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_memcpy": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "native_stream": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "native_plain_loop": (c_void_p, [c_int32, c_void_p, c_void_p, c_size_t, c_double]),
    "onednn": (c_void_p, [c_int32, c_size_t, c_void_p, c_void_p, c_void_p, c_float]),
    "xnnpack": (c_void_p, [c_size_t, c_void_p, c_void_p, c_float]),
    "native_multiply": (None, [c_size_t]),
}


def load(folder: Path) -> ctypes.CDLL:
    """The library in a build's folder.

    Raises:
        OSError: It is not there, or what it is linked to is not.
    """
    library = ctypes.CDLL(str(folder / LIBRARY))
    for name, (result, arguments) in _SIGNATURES.items():
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    return library


class _Call:
    """A call that the library has prepared, with the memory that it works on."""

    def __init__(self, library: ctypes.CDLL, address: int, data: Data) -> None:
        self.pointer = c_void_p(address)
        self.data = data
        weakref.finalize(self, library.native_destroy, address)


class _Native(Peer):
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def side(self, case: Case, data: Data) -> Side | None:
        # Where it takes less than the way through ctypes there is nothing to see.
        if case.layout != "contiguous" or case.elements == cases.TINY:
            return None
        address: int | None = self._prepare(case, data)
        if address is None:
            return None
        call = _Call(self._library, address, data)
        names = {"run": self._library.native_run, "pointer": call.pointer, "call": call}
        return Side(self.name, "run(pointer)", names, "call.data.y")

    def _prepare(self, case: Case, data: Data) -> Any:
        """The address (int, as ctypes gives it) of a call that does the case's operation; None if there is none."""
        raise NotImplementedError


class OursC(_Native):
    """leakyrelu.h, in a copy of the library that was built for this."""

    name = OURS_C

    def _prepare(self, case: Case, data: Data) -> Any:
        dtype, count, slope = _core.DTYPES[case.dtype], case.elements, case.slope
        match case.operation:
            case cases.FORWARD:
                return self._library.native_forward(dtype, *_addresses(data.x, data.y), None, count, slope)
            case cases.KEEPING:
                return self._library.native_forward(dtype, *_addresses(data.x, data.y, data.mask), count, slope)
            case cases.BACKWARD:
                return self._library.native_backward(dtype, *_addresses(data.g, data.mask, data.y), count, slope)
        return None


class Copy(_Native):
    """As many bytes from memory to memory that is warm, by one of the ways."""

    def __init__(self, library: ctypes.CDLL, name: str, function: str) -> None:
        super().__init__(library)
        self.name = name
        self._copy = getattr(library, function)

    def _prepare(self, case: Case, data: Data) -> Any:
        if case.operation not in (cases.FORWARD, cases.KEEPING, cases.BACKWARD):
            return None
        source = data.g if case.operation == cases.BACKWARD else data.x
        return self._copy(*_addresses(source, data.y), source.nbytes)


class PlainLoop(_Native):
    """The formula as g++ -O3 -march=native compiles it."""

    name = PLAIN_LOOP

    def _prepare(self, case: Case, data: Data) -> Any:
        if case.operation != cases.FORWARD:
            return None
        dtype, x, y = _core.DTYPES[case.dtype], *_addresses(data.x, data.y)
        return self._library.native_plain_loop(dtype, x, y, case.elements, case.slope)


class OneDnn(_Native):
    """eltwise_relu with alpha."""

    name = ONEDNN
    dtypes = ("float32", "float16", "bfloat16")
    differs = (
        known([cases.FORWARD], dtypes, [0.0], KINDS)  # a plain ReLU there
        | known([cases.BACKWARD], dtypes, cases.CHECKED_SLOPES, ["NaN"])
        | known([cases.FORWARD], ["bfloat16"], cases.CHECKED_SLOPES, ["subnormals"])
    )

    def _prepare(self, case: Case, data: Data) -> Any:
        if case.operation not in (cases.FORWARD, cases.BACKWARD):
            return None
        dtype, x, y = _core.DTYPES[case.dtype], *_addresses(data.x, data.y)
        g = data.g.ctypes.data if case.operation == cases.BACKWARD else None
        return self._library.onednn(dtype, case.elements, x, g, y, case.slope)


class Xnnpack(_Native):
    """leaky_relu_nc_f32 on a pthreadpool."""

    name = XNNPACK
    dtypes = ("float32",)
    differs = known([cases.FORWARD], dtypes, cases.CHECKED_SLOPES, ["subnormals"]) | known(
        [cases.FORWARD], dtypes, [-0.2], ["zeros"]
    )

    def _prepare(self, case: Case, data: Data) -> Any:
        if case.operation != cases.FORWARD:
            return None
        return self._library.xnnpack(case.elements, *_addresses(data.x, data.y), case.slope)


def _addresses(*arrays: Array) -> list[int]:
    return [array.ctypes.data for array in arrays]


def native_peers(library: ctypes.CDLL) -> tuple[list[Peer], dict[str, str]]:
    """The sides that this library was built with, and why the others are missing."""
    peers: list[Peer] = [
        OursC(library),
        Copy(library, MEMCPY, "native_memcpy"),
        Copy(library, STREAM, "native_stream"),
        PlainLoop(library),
    ]
    missing = {}
    for name, function, maker, package in (
        (ONEDNN, "onednn", OneDnn, "libdnnl-dev, version 2,"),
        (XNNPACK, "xnnpack", Xnnpack, "libxnnpack-dev or libpthreadpool-dev"),
    ):
        if hasattr(library, function):
            peers.append(maker(library))
        else:
            missing[name] = f"{package} was not there when the benchmarks were built"
    return peers, missing
