"""The functions on arrays: checks with names in their messages, fresh outputs, the way to and from other libraries.

All work on a NumPy view of the caller's memory; the arithmetic is behind `leakyrelu._core`.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from leakyrelu import _core
from leakyrelu._checks import CUDA_DEVICE_TYPES, SUPPORTED, is_dense, library_of, require_mask, require_same

Array = TypeVar("Array")

_UINT8 = np.dtype(np.uint8)
_NEVER_LARGE = 1 << 20  # bytes: below, memory_stats() need not be asked

# NumPy dtype -> dtype of leakyrelu.h. One joins when the first such array comes: importing the library that
# defines bfloat16 (ml_dtypes) is left to those who use it.
_codes: dict[np.dtype[Any], int] = {}
_BFLOAT16 = _core.DTYPES["bfloat16"]
_NAMES = {code: name for name, code in _core.DTYPES.items()}


class _View(NamedTuple):
    """An array's memory as NumPy sees it. bfloat16 of another library is uint16, for NumPy has none of its own."""

    array: NDArray[Any]
    code: int  # dtype of leakyrelu.h


def leaky_relu(
    x: Array,
    negative_slope: SupportsFloat | SupportsIndex = 0.01,
    inplace: bool = False,
    *,
    out: Any = None,
) -> Array:
    """Returns `x > 0 ? x : x * negative_slope`, element by element.

    Zero and NaN take the slope's side: NaN stays NaN, and a negative slope turns +0 into -0. float32 is
    computed with the slope rounded to float32; float16 and bfloat16 are widened to float32 and rounded
    to nearest even; float64 is computed in float64. Definition:
    https://pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html

    Args:
        x: NumPy array or any array that speaks DLPack, on the CPU or a CUDA device, of float16, bfloat16,
            float32 or float64, of any shape and strides. A torch tensor is handed to `leakyrelu.torch`,
            gradient and errors included.
        negative_slope: factor for elements that are not greater than zero; any number.
        inplace: write the result over `x` and return `x`.
        out: array to write to and return: `x` itself or one that shares no element with it, of the
            same shape and dtype.

    Returns:
        An array of the kind, shape and dtype of `x`: fresh (in C order, or in the order of `x` where
        that is dense), or `x`, or `out`.

    Raises:
        TypeError: `x` or `out` is no array, or of another dtype; `negative_slope` is no number.
        ValueError: `out` has another shape, is read-only, overlaps `x` without being it, or holds an
            element twice; a finite `negative_slope` is too large for float32 and `x` is not float64;
            both `inplace` and `out` are given.
        MemoryError: there is no memory for the result.
        RuntimeError: CUDA refuses.
    """
    if inplace and out is not None:
        raise ValueError("inplace=True and out are both given; give one of them")
    if _is_tensor(x):
        tensor: Array = _into(out, _tensors().leaky_relu(x, negative_slope, inplace))
        return tensor
    slope = _to_slope(negative_slope)
    if inplace:
        out = x
    out_name = "x" if inplace else "out"
    if _is_on_cuda(x):
        on_device: Array = _cuda().forward(x, slope, out, out_name, keep_mask=False)[0]
        return on_device
    source = _readable(x, "x")
    target = _output(source, out, out_name, "x")
    _core.forward(source.array, target, slope, None, source.code)
    result: Array = _like(x, target, source.code) if out is None else out
    return result


def leaky_relu_with_mask(
    x: Array, negative_slope: SupportsFloat | SupportsIndex = 0.01, *, out: Any = None
) -> tuple[Array, Array]:
    """Returns `leaky_relu(x, negative_slope)` and the mask that `leaky_relu_backward` needs.

    Args:
        x: as for `leaky_relu`, of n elements.
        negative_slope: as for `leaky_relu`.
        out: as for `leaky_relu`; `out=x` works in place, for every slope.

    Returns:
        (y, mask): y as for `leaky_relu`; mask of uint8 and shape (ceil(n / 8),), where bit i % 8 (least
        significant first) of byte i // 8 is `x_i > 0`, i counting in C order of the shape, whatever the
        strides. That is `numpy.packbits(x.ravel() > 0, bitorder="little")`.

    Raises:
        TypeError, ValueError, MemoryError, RuntimeError: as for `leaky_relu`.
    """
    if _is_tensor(x):
        tensor, bits = _tensors().leaky_relu_with_mask(x, negative_slope)
        return _into(out, tensor), bits
    slope = _to_slope(negative_slope)
    if _is_on_cuda(x):
        on_device: tuple[Array, Array] = _cuda().forward(x, slope, out, "out", keep_mask=True)
        return on_device
    source = _readable(x, "x")
    target = _output(source, out, "out", "x")
    size = _core.mask_bytes(source.array.size)
    mask = _allocate(size, lambda: np.empty(size, _UINT8))
    _core.forward(source.array, target, slope, mask, source.code)
    y: Array = _like(x, target, source.code) if out is None else out
    return y, _like(x, mask, None)


def leaky_relu_backward(
    grad: Array,
    mask: Any,
    negative_slope: SupportsFloat | SupportsIndex = 0.01,
    *,
    out: Any = None,
) -> Array:
    """Returns the gradient by the input: `x > 0 ? grad : grad * negative_slope`, with `x > 0` from the mask.

    It is linear in `grad`, so the same call with the same mask is also its own derivative.

    Args:
        grad: gradient by the output, of n elements; kinds, dtypes and strides as `x` of `leaky_relu`.
        mask: what `leaky_relu_with_mask` returned: uint8, shape (ceil(n / 8),), contiguous.
        negative_slope: the slope of the forward.
        out: as for `leaky_relu`; `out=grad` works in place.

    Returns:
        An array of the kind, shape and dtype of `grad`: fresh, or `out`.

    Raises:
        TypeError: as for `leaky_relu`, and where `mask` is not an array of uint8.
        ValueError: as for `leaky_relu`, and where `mask` has not one byte for 8 elements of `grad`,
            is not contiguous or shares memory with `out`.
    """
    if _is_tensor(grad):
        tensor: Array = _into(out, _tensors().leaky_relu_backward(grad, mask, negative_slope))
        return tensor
    slope = _to_slope(negative_slope)
    if _is_on_cuda(grad):
        on_device: Array = _cuda().backward(grad, mask, slope, out)
        return on_device
    source = _readable(grad, "grad")
    bits = _readable_mask(mask)
    target = _output(source, out, "out", "grad")
    _core.backward(source.array, bits, target, slope, source.code)
    result: Array = _like(grad, target, source.code) if out is None else out
    return result


class LeakyReLU:
    """LeakyReLU as an object: `LeakyReLU(0.1)(x)` is `leaky_relu(x, 0.1)`.

    Args:
        negative_slope: factor for elements that are not greater than zero.
        inplace: write the result over the input and return the input.
    """

    def __init__(self, negative_slope: SupportsFloat | SupportsIndex = 0.01, inplace: bool = False) -> None:
        self.negative_slope = _to_slope(negative_slope)
        self.inplace = inplace

    def __call__(self, x: Array) -> Array:
        return leaky_relu(x, self.negative_slope, self.inplace)

    def __repr__(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"LeakyReLU(negative_slope={self.negative_slope}{inplace})"


def get_num_threads() -> int:
    """Returns the most threads that a call uses: what was set, else OMP_NUM_THREADS, else all cores."""
    return _core.get_num_threads()


def set_num_threads(num_threads: int) -> None:
    """Sets the most threads that a call uses, in the whole process; small arrays take fewer.

    Raises:
        TypeError: `num_threads` is no integer.
        ValueError: `num_threads` is below 1 or above 2**31 - 1.
    """
    _core.set_num_threads(_to_int(num_threads, "num_threads", 1, 2**31 - 1))


def empty_cache() -> None:
    """Gives the memory that is kept for the next large outputs back to the system.

    Outputs of 32 MiB and more, torch's too, lie on huge pages, and their memory is kept for reuse when
    they are freed, because fresh pages cost more time than LeakyReLU on them. Kept are no more than two
    of the largest; what is in use and what is kept is together never more than was in use at once
    before. The system takes what is kept when it is short of memory; what nothing reuses for some
    seconds is given back at the next large output or when one is freed.
    """
    _core.empty_cache()


def set_cache_limit(limit: int | None) -> None:
    """Sets how many bytes are kept at most, in the whole process; 0 turns the cache off.

    Args:
        limit: bytes, or None for the default: 1 GiB or an eighth of the memory that the process may use,
            whichever is less, or the environment variable LEAKYRELU_CACHE_LIMIT.

    Raises:
        TypeError: `limit` is neither an integer nor None.
        ValueError: `limit` is negative or above 2**63 - 1.
    """
    if limit is None:
        _core.set_cache_limit(-1)
        return
    _core.set_cache_limit(_to_int(limit, "limit", 0, 2**63 - 1))


def memory_stats() -> dict[str, int]:
    """Returns the state of the memory for large outputs.

    Returns:
        "in_use": bytes of large outputs that are not freed; "cached": bytes kept; "limit": most bytes that
        may be kept; "large": bytes from which an output is large; "reused" and "fresh": large outputs so
        far in kept memory and in memory from the system. Outputs in the C library's memory, as small ones
        are, and all while the limit is 0, do not count.
    """
    return _core.memory_stats()


def _to_int(value: Any, name: str, smallest: int, largest: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if not smallest <= value <= largest:
        raise ValueError(f"{name} is {value}; it must be at least {smallest} and at most {largest}")
    return int(value)


def _is_tensor(x: Any) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    return torch is not None and isinstance(x, torch.Tensor)


def _tensors() -> Any:
    from leakyrelu import torch

    return torch


def _is_on_cuda(x: Any) -> bool:
    """Whether an array says that it is in the memory of a CUDA device."""
    if isinstance(x, np.ndarray | np.generic):
        return False
    try:
        return int(x.__dlpack_device__()[0]) in CUDA_DEVICE_TYPES
    except Exception:
        return False  # asked again, where its memory is needed


def _cuda() -> Any:
    from leakyrelu import _cuda

    return _cuda


def _into(out: Any, result: Any) -> Any:
    """What a call on a tensor returns: `result`, or `out` with its values."""
    return result if out is None else out.copy_(result)


def _to_slope(value: SupportsFloat | SupportsIndex) -> float:
    # True is nearly always inplace=True in the wrong place; strings would pass through float().
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"negative_slope must be a number, not {value}; did you mean inplace={value}?")
    if isinstance(value, str | bytes | bytearray):
        raise TypeError(f"negative_slope must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"negative_slope must be a number, not {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"negative_slope is too large for float64: {value!r}") from None


def _numpy_code(dtype: np.dtype[Any], name: str) -> int:
    code = _codes.get(dtype)
    if code is not None:
        return code
    if dtype.isnative and dtype.name in _core.DTYPES:
        return _codes.setdefault(dtype, _core.DTYPES[dtype.name])
    order = "" if dtype.isnative else f" in {'big' if sys.byteorder == 'little' else 'little'}-endian order"
    raise TypeError(f"{name} has dtype {dtype}{order}; supported are {SUPPORTED}, in native byte order")


def _from_dlpack(x: Any, name: str, writable: bool) -> tuple[NDArray[Any], bool]:
    """A NumPy view of an array of another library, and whether it is bfloat16."""
    if not hasattr(type(x), "__dlpack__"):
        raise TypeError(
            f"{name} must be a NumPy array or one that speaks DLPack, not {type(x).__name__}; numpy.asarray makes one"
        )
    if getattr(x, "requires_grad", False):
        raise TypeError(f"{name} requires a gradient, which would be lost; pass {name}.detach()")
    try:
        return (_core.writable_from_dlpack if writable else _core.readable_from_dlpack)(x)
    except Exception:
        pass  # asked again, to hear why
    try:
        device = tuple(map(int, x.__dlpack_device__()))
        x.__dlpack__()
    except Exception as error:
        raise TypeError(f"{name} does not give access to its memory by DLPack: {error}") from error
    if device[0] != 1:
        raise TypeError(
            f"{name} is on DLPack device {device}; it must be on the CPU, (1, 0), or all on one CUDA device"
        )
    raise ValueError(f"{name} is read-only; it must be writable")


def _view(x: Any, name: str, writable: bool) -> _View:
    if isinstance(x, np.generic) and not writable:
        x = np.asarray(x)  # what NumPy makes of 0-d arrays on the way
    if isinstance(x, np.ndarray):
        masked = sys.modules.get("numpy.ma")  # not np.ma, which would import it
        if masked is not None and isinstance(x, masked.MaskedArray):
            raise TypeError(f"{name} is a masked array, whose mask would be lost; pass {name}.data or {name}.filled()")
        code = _numpy_code(x.dtype, name)
        if writable and not x.flags.writeable:
            raise ValueError(f"{name} is read-only; it must be writable")
        array = x
    else:
        array, is_bfloat16 = _from_dlpack(x, name, writable)
        code = _BFLOAT16 if is_bfloat16 else _numpy_code(array.dtype, name)
    return _View(array, code)


def _readable(x: Any, name: str) -> _View:
    return _view(x, name, writable=False)


def _readable_mask(mask: Any) -> NDArray[np.uint8]:
    array = mask if isinstance(mask, np.ndarray) else _from_dlpack(mask, "mask", writable=False)[0]
    require_mask("uint8" if array.dtype == _UINT8 else str(array.dtype), array.shape)  # str takes long
    if not array.flags.c_contiguous:
        raise ValueError("mask is not contiguous; numpy.ascontiguousarray makes it so")
    return array


def _output(source: _View, out: Any, name: str, source_name: str) -> NDArray[Any]:
    """The array to write to: `out`, checked, or a fresh one."""
    if out is None:
        return _allocate(source.array.nbytes, lambda: _empty_like(source.array))
    target = _view(out, name, writable=True)
    dtypes = _NAMES[target.code], _NAMES[source.code]
    require_same(name, dtypes[0], target.array.shape, source_name, dtypes[1], source.array.shape)
    return target.array


def _allocate(size: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """`make()`, an array of `size` bytes; a large one with memory that is kept for the next when it is freed."""
    return make() if size < _NEVER_LARGE or size < memory_stats()["large"] else _core.with_library_memory(make)


def _empty_like(array: NDArray[Any]) -> NDArray[Any]:
    """Fresh memory in C order, or in the order of `array` where that is dense."""
    dense = is_dense(array.shape, array.strides, array.itemsize)
    return np.empty_like(array, order="K" if dense else "C", subok=False)


def _like(x: Any, array: NDArray[Any], code: int | None) -> Any:
    """`array`, which nobody else holds, as an array of the kind of `x`; `code` None: not of its dtype."""
    if isinstance(x, np.ndarray | np.generic):
        return array
    exporter = _core.bfloat16_to_dlpack(array, array) if code == _BFLOAT16 else array
    return library_of(x).from_dlpack(exporter)  # TypeError, AttributeError: it speaks DLPack in one direction only
