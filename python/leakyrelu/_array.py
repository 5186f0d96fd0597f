"""The functions on arrays: what they take, give and raise. They are C++ from here on, in `leakyrelu._core`."""

from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import numpy as np

from leakyrelu import _core

Array = TypeVar("Array")


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
        that is dense), or `x`, or `out`. A fresh one of NumPy's that is large (see `memory_stats`) has
        its memory from its `base`, so `resize` refuses it as it refuses a view.

    Raises:
        TypeError: `x` or `out` is no array, or of another dtype; `negative_slope` is no number.
        ValueError: `out` has another shape, is read-only, overlaps `x` without being it, or holds an
            element twice; a finite `negative_slope` is too large for float32 and `x` is not float64;
            both `inplace` and `out` are given.
        MemoryError: there is no memory for the result.
        RuntimeError: CUDA refuses.
    """
    result: Array = _core.leaky_relu(x, negative_slope, inplace, out)
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
    result: tuple[Array, Array] = _core.leaky_relu_with_mask(x, negative_slope, out)
    return result


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
    result: Array = _core.leaky_relu_backward(grad, mask, negative_slope, out)
    return result


class LeakyReLU:
    """LeakyReLU as an object: `LeakyReLU(0.1)(x)` is `leaky_relu(x, 0.1)`.

    Args:
        negative_slope: factor for elements that are not greater than zero.
        inplace: write the result over the input and return the input.
    """

    def __init__(self, negative_slope: SupportsFloat | SupportsIndex = 0.01, inplace: bool = False) -> None:
        self.negative_slope = _core.to_slope(negative_slope)
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
