"""The functions on arrays in the memory of a CUDA device, of whatever library speaks DLPack.

Those of CuPy run on its current stream and get their memory from it, so that nothing waits. Other libraries
have no stream that could be asked for: there a call runs on the thread's default stream, gets memory from
CUDA, and returns when the result is there.
"""

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from leakyrelu import _core
from leakyrelu._checks import SUPPORTED, is_dense, library_of, mask_bytes, require_mask, require_same

# CUDA's names for its default streams, and DLPack's.
_LEGACY_STREAM = 1
_PER_THREAD_STREAM = 2


class _Array(NamedTuple):
    """An array that a call writes to."""

    array: Any  # as its library has it; None: fresh memory, of which no library knows yet
    view: _core.CudaArray


def forward(x: Any, negative_slope: float, out: Any, out_name: str, keep_mask: bool) -> tuple[Any, Any]:
    """Returns (y, mask); y is `out` unless that is None, and mask is None unless it is to be kept."""
    with _place_of(x, "x", out) as place:
        source = place.source()
        y = place.output(out, out_name, source)
        mask = place.empty_bytes(source, mask_bytes(math.prod(source.shape))) if keep_mask else None
        _core.cuda_forward(source, y.view, negative_slope, mask.view if mask else None, place.stream)
    return place.result(y), place.result(mask) if mask else None


def backward(grad: Any, mask: Any, negative_slope: float, out: Any) -> Any:
    """Returns the gradient by the input, in `out` unless that is None."""
    with _place_of(grad, "grad", mask, out) as place:
        source = place.source()
        bits = place.mask(mask, math.prod(source.shape))
        result = place.output(out, "out", source)
        _core.cuda_backward(source, bits, result.view, negative_slope, place.stream)
    return place.result(result)


class _Place:
    """Where a call runs and where its memory comes from."""

    stream = _PER_THREAD_STREAM
    always_writable = False  # only DLPack 1.0 can say that memory may be written to

    def __init__(self, x: Any, name: str) -> None:
        self._x = x
        self._name = name
        self._device = tuple(map(int, x.__dlpack_device__()))

    def source(self) -> _core.CudaArray:
        view = self._view(self._x, self._name, writable=False)
        if view.dtype not in _core.DTYPES:
            raise TypeError(f"{self._name} has dtype {view.dtype}; supported are {SUPPORTED}")
        return view

    def output(self, out: Any, name: str, source: _core.CudaArray) -> _Array:
        if out is None:
            return self._empty_like(source)
        view = self._view(out, name, writable=True)
        require_same(name, view.dtype, view.shape, self._name, source.dtype, source.shape)
        return _Array(out, view)

    def mask(self, mask: Any, elements: int) -> _core.CudaArray:
        view = self._view(mask, "mask", writable=False)
        require_mask(view.dtype, view.shape, elements)
        if not is_dense(view.shape, view.strides, view.itemsize):
            raise ValueError("mask is not contiguous; a copy of it would be")
        return view

    def _view(self, x: Any, name: str, writable: bool) -> _core.CudaArray:
        try:
            device = tuple(map(int, x.__dlpack_device__()))
        except Exception as error:
            raise TypeError(f"{name} does not give access to its memory by DLPack: {error}") from error
        if device != self._device:
            raise TypeError(f"{name} is on DLPack device {device}; it must be on {self._device}, as {self._name}")
        try:
            try:
                capsule = x.__dlpack__(stream=self.stream, max_version=(1, 0))
            except TypeError:  # does not know max_version
                capsule = x.__dlpack__(stream=self.stream)
        except Exception as error:
            raise TypeError(f"{name} does not give access to its memory by DLPack: {error}") from error
        view = _core.CudaArray.from_dlpack(capsule)
        if writable and not (view.writable or self.always_writable):
            raise ValueError(f"{name} is read-only; it must be writable")
        return view

    def _empty_like(self, source: _core.CudaArray) -> _Array:
        dense = is_dense(source.shape, source.strides, source.itemsize)
        return _Array(None, _core.CudaArray.empty_like(source, dense))

    def empty_bytes(self, source: _core.CudaArray, count: int) -> _Array:
        return _Array(None, _core.CudaArray.empty_bytes(source, count))

    def finish(self) -> None:
        """Called when all is enqueued."""
        _core.cuda_synchronize(self._device[1], self.stream)

    def result(self, array: _Array) -> Any:
        """What the caller gets."""
        return library_of(self._x).from_dlpack(array.view.exported()) if array.array is None else array.array


class _CuPyPlace(_Place):
    """CuPy's stream and memory, which are those of the device that is current."""

    always_writable = True

    def __init__(self, x: Any, name: str) -> None:
        super().__init__(x, name)
        self._cupy = sys.modules["cupy"]
        self.stream = self._cupy.cuda.get_current_stream().ptr or _LEGACY_STREAM

    def _empty_like(self, source: _core.CudaArray) -> _Array:
        order = "K" if is_dense(source.shape, source.strides, source.itemsize) else "C"
        return self._fresh(self._cupy.empty_like(self._x, order=order))

    def empty_bytes(self, source: _core.CudaArray, count: int) -> _Array:
        return self._fresh(self._cupy.empty(count, self._cupy.uint8))

    def _fresh(self, array: Any) -> _Array:
        return _Array(array, self._view(array, "a fresh array", writable=True))

    def finish(self) -> None:
        """What comes next on the stream comes after."""


@contextlib.contextmanager
def _place_of(x: Any, name: str, *others: Any) -> Iterator[_Place]:
    if not hasattr(_core, "CudaArray"):
        raise TypeError(
            f"{name} is in the memory of a CUDA device, and this leakyrelu was built without CUDA; with nvcc in PATH, "
            "pip install --force-reinstall --no-deps --no-binary leakyrelu leakyrelu builds it anew"
        )
    cupy = sys.modules.get("cupy")  # who has an array of it has imported it
    if cupy is not None and all(array is None or isinstance(array, cupy.ndarray) for array in (x, *others)):
        with x.device:
            yield _CuPyPlace(x, name)
    else:
        place = _Place(x, name)
        yield place
        place.finish()
