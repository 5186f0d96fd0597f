"""The sides in C and C++, all called by ctypes: leakyrelu.h, copies, a plain loop, oneDNN, XNNPACK."""

import ctypes
import weakref
from ctypes import c_double, c_float, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Data
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
    "native_forward": (None, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_backward": (None, [c_int32, c_void_p, c_void_p, c_void_p, c_size_t, c_double]),
    "native_memcpy": (None, [c_void_p, c_void_p, c_size_t]),
    "native_stream": (None, [c_void_p, c_void_p, c_size_t]),
    "native_plain_loop": (None, [c_int32, c_void_p, c_void_p, c_size_t, c_double]),
    "native_multiply": (None, [c_size_t]),
    "onednn_create": (c_void_p, [c_int32, c_size_t, c_void_p, c_void_p, c_void_p, c_float]),
    "onednn_run": (None, [c_void_p]),
    "onednn_destroy": (None, [c_void_p]),
    "xnnpack_create": (c_void_p, [c_size_t, c_void_p, c_void_p, c_float]),
    "xnnpack_run": (None, [c_void_p]),
    "xnnpack_destroy": (None, [c_void_p]),
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


class _Native(Peer):
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def side(self, case: Case, data: Data) -> Side | None:
        # Where it takes less than the way through ctypes there is nothing to see.
        if case.layout != "contiguous" or case.elements == cases.TINY:
            return None
        return self._side(case, data)

    def _side(self, case: Case, data: Data) -> Side | None:
        raise NotImplementedError


class OursC(_Native):
    """leakyrelu.h, in a copy of the library that was built for this."""

    name = OURS_C

    def _side(self, case: Case, data: Data) -> Side | None:
        backward = case.operation == cases.BACKWARD
        if not backward and case.operation not in (cases.FORWARD, cases.KEEPING):
            return None
        source = data.g if backward else data.x
        names = {
            "f": self._library.native_backward if backward else self._library.native_forward,
            "dtype": c_int32(_core.DTYPES[case.dtype]),
            "x": c_void_p(source.ctypes.data),
            "y": c_void_p(data.y.ctypes.data),
            "mask": c_void_p(None if case.operation == cases.FORWARD else data.mask.ctypes.data),
            "n": c_size_t(case.elements),
            "s": c_double(case.slope),
            "operands": (source, data.mask, data.y),
        }
        arguments = "x, mask, y" if backward else "x, y, mask"
        return Side(self.name, f"f(dtype, {arguments}, n, s)", names, "operands[2]")


class Copy(_Native):
    """As many bytes from memory to memory that is warm, by one of the ways."""

    def __init__(self, library: ctypes.CDLL, name: str, function: str) -> None:
        super().__init__(library)
        self.name = name
        self._copy = getattr(library, function)

    def _side(self, case: Case, data: Data) -> Side | None:
        if case.operation not in (cases.FORWARD, cases.KEEPING, cases.BACKWARD):
            return None
        source = data.g if case.operation == cases.BACKWARD else data.x
        names = {
            "copy": self._copy,
            "x": c_void_p(source.ctypes.data),
            "y": c_void_p(data.y.ctypes.data),
            "bytes": c_size_t(source.nbytes),
            "operands": (source, data.y),
        }
        return Side(self.name, "copy(x, y, bytes)", names, "operands[1]")


class PlainLoop(_Native):
    """The formula as g++ -O3 -march=native compiles it."""

    name = PLAIN_LOOP

    def _side(self, case: Case, data: Data) -> Side | None:
        if case.operation != cases.FORWARD:
            return None
        names = {
            "f": self._library.native_plain_loop,
            "dtype": c_int32(_core.DTYPES[case.dtype]),
            "x": c_void_p(data.x.ctypes.data),
            "y": c_void_p(data.y.ctypes.data),
            "n": c_size_t(case.elements),
            "s": c_double(case.slope),
            "operands": (data.x, data.y),
        }
        return Side(self.name, "f(dtype, x, y, n, s)", names, "operands[1]")


class OneDnn(_Native):
    """eltwise_relu with alpha."""

    name = ONEDNN
    dtypes = ("float32", "float16", "bfloat16")
    differs = (
        known([cases.FORWARD], dtypes, [0.0], KINDS)  # a plain ReLU there
        | known([cases.BACKWARD], dtypes, cases.CHECKED_SLOPES, ["NaN"])
        | known([cases.FORWARD], ["bfloat16"], cases.CHECKED_SLOPES, ["subnormals"])
    )

    def _side(self, case: Case, data: Data) -> Side | None:
        if case.operation not in (cases.FORWARD, cases.BACKWARD):
            return None
        g = data.g.ctypes.data if case.operation == cases.BACKWARD else None
        dtype, x, y = _core.DTYPES[case.dtype], data.x.ctypes.data, data.y.ctypes.data
        primitive = self._library.onednn_create(dtype, case.elements, x, g, y, case.slope)
        return _primitive_side(self.name, self._library, "onednn", primitive, data)


class Xnnpack(_Native):
    """leaky_relu_nc_f32 on a pthreadpool."""

    name = XNNPACK
    dtypes = ("float32",)
    differs = known([cases.FORWARD], dtypes, cases.CHECKED_SLOPES, ["subnormals"]) | known(
        [cases.FORWARD], dtypes, [-0.2], ["zeros"]
    )

    def _side(self, case: Case, data: Data) -> Side | None:
        if case.operation != cases.FORWARD:
            return None
        x, y = data.x.ctypes.data, data.y.ctypes.data
        primitive = self._library.xnnpack_create(case.elements, x, y, case.slope)
        return _primitive_side(self.name, self._library, "xnnpack", primitive, data)


class _Primitive:
    """A library's primitive, with the memory that it works on."""

    def __init__(self, handle: int, data: Data, destroy: Any) -> None:
        self.handle = c_void_p(handle)
        self.operands = data.x, data.g
        self.y = data.y
        weakref.finalize(self, destroy, handle)


def _primitive_side(name: str, library: ctypes.CDLL, prefix: str, handle: int | None, data: Data) -> Side | None:
    if handle is None:
        return None
    primitive = _Primitive(handle, data, getattr(library, f"{prefix}_destroy"))
    names = {"run": getattr(library, f"{prefix}_run"), "handle": primitive.handle, "primitive": primitive}
    return Side(name, "run(handle)", names, "primitive.y")


def native_peers(library: ctypes.CDLL) -> tuple[list[Peer], dict[str, str]]:
    """The sides that this library was built with, and why the others are missing."""
    peers: list[Peer] = [
        OursC(library),
        Copy(library, MEMCPY, "native_memcpy"),
        Copy(library, STREAM, "native_stream"),
        PlainLoop(library),
    ]
    missing = {}
    for name, prefix, maker, package in (
        (ONEDNN, "onednn", OneDnn, "libdnnl-dev, version 2,"),
        (XNNPACK, "xnnpack", Xnnpack, "libxnnpack-dev or libpthreadpool-dev"),
    ):
        if hasattr(library, f"{prefix}_run"):
            peers.append(maker(library))
        else:
            missing[name] = f"{package} was not there when the benchmarks were built"
    return peers, missing
