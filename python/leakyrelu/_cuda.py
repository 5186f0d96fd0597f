"""The functions on arrays in the memory of a CUDA device, of whatever library speaks DLPack.

Those of CuPy run on its current stream and get their memory from it, so that nothing waits. Other libraries
have no stream that could be asked for: there a call runs on the default stream, gets memory from CUDA, and
returns when the result is there.
"""

from __future__ import annotations  # a build without CUDA has no _core.CudaArray to be named

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from leakyrelu import _core
from leakyrelu._checks import CUDA_DEVICE_TYPES, SUPPORTED, is_dense, library_of, require_mask, require_same

_DEFAULT_STREAM = 1  # as CUDA and DLPack say


class _Output(NamedTuple):
    """What a call writes to."""

    view: _core.CudaArray
    array: Any  # as its library has it; None: fresh memory of ours, which is to become an array when it is complete


def forward(x: Any, negative_slope: float, out: Any, out_name: str, keep_mask: bool) -> tuple[Any, Any]:
    """Returns (y, mask); y is `out` unless that is None, and mask is None unless it is to be kept."""
    with _place_of(x, "x", out) as place:
        source = place.source()
        y = place.output(out, out_name, source)
        mask = place.empty_bytes(source, _core.mask_bytes(math.prod(source.shape))) if keep_mask else None
        bits = mask.view if mask else None
        _core.cuda_forward(source, y.view, negative_slope, bits, place.stream, place.waits)
        return place.array(y), place.array(mask) if mask else None


def backward(grad: Any, mask: Any, negative_slope: float, out: Any) -> Any:
    """Returns the gradient by the input, in `out` unless that is None."""
    with _place_of(grad, "grad", mask, out) as place:
        source = place.source()
        bits = place.mask(mask)
        result = place.output(out, "out", source)
        _core.cuda_backward(source, bits, result.view, negative_slope, place.stream, place.waits)
        return place.array(result)


class _Place:
    """Where a call runs and where its memory comes from."""

    stream = _DEFAULT_STREAM
    waits = True  # until the result is there
    all_writable = False  # else only DLPack 1.0 can say that memory may be written to

    def __init__(self, x: Any, name: str) -> None:
        self._x = x
        self._name = name
        self._device = int(x.__dlpack_device__()[1])

    def source(self) -> _core.CudaArray:
        view = self._view(self._x, self._name, writable=False)
        if view.dtype not in _core.DTYPES:
            raise TypeError(f"{self._name} has dtype {view.dtype}; supported are {SUPPORTED}")
        return view

    def output(self, out: Any, name: str, source: _core.CudaArray) -> _Output:
        if out is None:
            return self._empty_like(source, is_dense(source.shape, source.strides, source.itemsize))
        view = self._view(out, name, writable=True)
        require_same(name, view.dtype, view.shape, self._name, source.dtype, source.shape)
        return _Output(view, out)

    def mask(self, mask: Any) -> _core.CudaArray:
        view = self._view(mask, "mask", writable=False)
        require_mask(view.dtype, view.shape)
        if not is_dense(view.shape, view.strides, view.itemsize):
            raise ValueError("mask is not contiguous; a copy of it would be")
        return view

    def empty_bytes(self, source: _core.CudaArray, count: int) -> _Output:
        return _Output(_core.CudaArray.empty_bytes(source, count), None)

    def _empty_like(self, source: _core.CudaArray, same_strides: bool) -> _Output:
        return _Output(_core.CudaArray.empty_like(source, same_strides), None)

    def array(self, output: _Output) -> Any:
        """What the caller gets."""
        return library_of(self._x).from_dlpack(output.view.exported()) if output.array is None else output.array

    def _view(self, x: Any, name: str, writable: bool) -> _core.CudaArray:
        if getattr(x, "requires_grad", False):
            raise TypeError(f"{name} requires a gradient, which would be lost; pass {name}.detach()")
        with _dlpack_errors(name):
            device = x.__dlpack_device__()
        self._require_here(device, name)
        with _dlpack_errors(name), _current_device_of(x):
            try:
                capsule = x.__dlpack__(stream=self.stream, max_version=(1, 0))
            except TypeError:  # does not know max_version
                capsule = x.__dlpack__(stream=self.stream)
            view = _core.CudaArray.from_dlpack(capsule)
        self._require_here(view.device, name)
        if writable and not (view.writable or self.all_writable):
            raise ValueError(f"{name} is read-only; it must be writable")
        return view

    def _require_here(self, device: Any, name: str) -> None:
        kind, number = map(int, device)
        if kind not in CUDA_DEVICE_TYPES or number != self._device:
            here = f"CUDA device (2, {self._device}), as {self._name}"
            raise TypeError(f"{name} is on DLPack device ({kind}, {number}); it must be on {here}")


class _CuPyPlace(_Place):
    """CuPy's stream and memory, which are those of the device that is current."""

    waits = False
    all_writable = True

    def __init__(self, x: Any, name: str) -> None:
        super().__init__(x, name)
        self._cupy = sys.modules["cupy"]
        self.stream = self._cupy.cuda.get_current_stream().ptr or _DEFAULT_STREAM

    def empty_bytes(self, source: _core.CudaArray, count: int) -> _Output:
        return self._fresh(self._cupy.empty(count, self._cupy.uint8))

    def _empty_like(self, source: _core.CudaArray, same_strides: bool) -> _Output:
        return self._fresh(self._cupy.empty_like(self._x, order="K" if same_strides else "C"))

    def _fresh(self, array: Any) -> _Output:
        return _Output(self._view(array, "a fresh array", writable=True), array)


@contextlib.contextmanager
def _place_of(x: Any, name: str, *others: Any) -> Iterator[_Place]:
    if not hasattr(_core, "CudaArray"):
        raise TypeError(
            f"{name} is in the memory of a CUDA device, and this leakyrelu was built without CUDA; with nvcc (12.8 or "
            "newer) in PATH, pip install --no-build-isolation --force-reinstall --no-deps --no-binary leakyrelu "
            "leakyrelu builds it anew"
        )
    with _current_device_of(x):
        all_cupy = all(array is None or _is_cupy(array) for array in (x, *others))
        yield _CuPyPlace(x, name) if all_cupy else _Place(x, name)


def _is_cupy(x: Any) -> bool:
    cupy = sys.modules.get("cupy")  # who has an array of it has imported it
    return cupy is not None and isinstance(x, cupy.ndarray)


def _current_device_of(x: Any) -> contextlib.AbstractContextManager[Any]:
    """Makes the device of an array current for CuPy, which has a stream for each."""
    device: contextlib.AbstractContextManager[Any] = x.device if _is_cupy(x) else contextlib.nullcontext()
    return device


@contextlib.contextmanager
def _dlpack_errors(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise TypeError(f"{name} does not give access to its memory by DLPack: {error}") from error
