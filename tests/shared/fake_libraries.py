"""Two array libraries on the fake card, as small as the protocol allows: one like JAX, one like CuPy.

Memory of the fake card is the host's, so NumPy can see it; what DLPack says of an array is changed on the way.
"""

import ctypes
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
from capsules import Versioned, held_by
from cuda_card import Memory, process

_READ_ONLY = 1


def on_device(array: np.ndarray[Any, Any], device: int) -> np.ndarray[Any, Any]:
    """A copy in a device's memory, with the same strides and what lies between the elements."""
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.asarray(Memory(high - low, device))
    ctypes.memmove(memory.ctypes.data, low, high - low)
    return np.ndarray(array.shape, array.dtype, memory, array.ctypes.data - low, array.strides)


class Array:
    """An array on a device. As JAX's: for reading only, in DLPack 1.0 where that is asked for."""

    BFLOAT16, UINT, CPU, CUDA = 4, 1, 1, 2
    writable = False

    def __init__(self, host: np.ndarray[Any, Any], device: int = 0, device_type: int = CUDA) -> None:
        self.host = on_device(host, device)
        self.where = (device_type, device)
        self.streams: list[int | None] = []  # those that memory was asked for on

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.where

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> object:
        self.streams.append(stream)
        is_bfloat16 = self.host.dtype == ml_dtypes.bfloat16
        host = self.host.view(np.uint16) if is_bfloat16 else self.host
        capsule = host.__dlpack__(max_version=max_version)
        held = held_by(capsule)
        held.tensor.device_type, held.tensor.device_id = self.where
        if is_bfloat16:
            held.tensor.code = self.BFLOAT16
        if isinstance(held, Versioned) and not self.writable:
            held.flags |= _READ_ONLY
        return capsule

    def __array_namespace__(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(from_dlpack=from_dlpack)


def from_dlpack(exporter: Any) -> Array:
    """An Array over what another library gives."""
    device_type, device = exporter.__dlpack_device__()
    assert device_type == Array.CUDA
    capsule = exporter.__dlpack__(stream=3, max_version=(1, 0))
    tensor = held_by(capsule).tensor
    assert (tensor.device_type, tensor.device_id) == (device_type, device)
    tensor.device_type, tensor.device_id = Array.CPU, 0
    is_bfloat16 = tensor.code == Array.BFLOAT16
    if is_bfloat16:
        tensor.code = Array.UINT
    host = np.from_dlpack(_Exporter(capsule))
    array = Array.__new__(Array)
    array.host = host.view(ml_dtypes.bfloat16) if is_bfloat16 else host
    array.where = (device_type, device)
    array.streams = []
    return array


class _Exporter:
    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: object) -> object:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return Array.CPU, 0


class CuPyArray(Array):
    """As CuPy's: writable, but speaks no DLPack that could say so; with a device to make current."""

    writable = True

    def __init__(self, host: np.ndarray[Any, Any], device: int = 0, device_type: int = Array.CUDA) -> None:
        super().__init__(host, device, device_type)
        self.current_devices: list[int] = []  # when memory was asked for

    def __dlpack__(self, *, stream: int | None = None) -> object:  # type: ignore[override]
        self.current_devices.append(cupy.device)
        return super().__dlpack__(stream=stream)

    @property
    def device(self) -> Any:
        @contextmanager
        def current() -> Iterator[None]:
            before, cupy.device = cupy.device, self.where[1]
            process.cudaSetDevice(cupy.device)
            try:
                yield
            finally:
                cupy.device = before
                process.cudaSetDevice(before)

        return current()


class _CuPy(types.ModuleType):
    """What is used of CuPy."""

    ndarray = CuPyArray
    uint8 = np.uint8
    device = 0
    stream = 0  # the current one's handle; 0 is the default stream

    def __init__(self) -> None:
        super().__init__("cupy")
        self.cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=self.stream))

    def empty_like(self, x: CuPyArray, order: str) -> CuPyArray:
        return CuPyArray(np.empty_like(x.host, order=order), self.device)  # type: ignore[call-overload]

    def empty(self, count: int, dtype: Any) -> CuPyArray:
        return CuPyArray(np.empty(count, dtype), self.device)


cupy = _CuPy()


@contextmanager
def cupy_imported() -> Iterator[_CuPy]:
    """For a with block."""
    sys.modules["cupy"] = cupy
    try:
        yield cupy
    finally:
        del sys.modules["cupy"]
