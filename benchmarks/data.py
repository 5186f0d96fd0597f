"""The operands of a case, made once for all its sides, and what must come out, by an oracle in plain NumPy."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cases import BACKWARD, BACKWARD_OPERATOR, FORWARD_AND_BACKWARD, Case

Array = NDArray[Any]

# Elements of the memory under a layout, and the view of it; both of 10^6 elements.
_LAYOUTS: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "transposed": (10**6, lambda base: base.reshape(1000, 1000).T),
    "sliced": (1024 * 1000, lambda base: base.reshape(1000, 1024)[:, 12:1012]),
    "stepped": (2 * 10**6, lambda base: base.reshape(1000, 2000)[:, ::2]),
}
_RANDOM_ELEMENTS = 1 << 20  # then they repeat, which nobody's speed depends on


def numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def normal_numbers(dtype: np.dtype[Any], elements: int, seed: int) -> Array:
    """Of magnitude 1 to 2 and either sign: neither they nor their hundredths are subnormal in any dtype."""
    random = np.random.default_rng(seed)
    count = min(elements, _RANDOM_ELEMENTS)
    numbers = random.uniform(1, 1.99, count) * random.choice([-1.0, 1.0], count)
    return np.resize(numbers.astype(dtype), elements)


def bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def same(found: Array, expected: Array) -> Array:
    """For each element, whether the bits are the same; any NaN equals any NaN."""
    found, expected = found.ravel(), expected.ravel()
    equal: Array = bits(found) == bits(expected)
    if not equal.all():
        equal |= np.isnan(found) & np.isnan(expected)
    return equal


def oracle(x: Array, v: Array, slope: float) -> Array:
    """`x > 0 ? v : v * slope` by the contract's words."""
    with np.errstate(all="ignore"):
        scaled = v * slope if v.dtype == np.float64 else (v.astype(np.float32) * np.float32(slope)).astype(v.dtype)
        return np.where(x > 0, v, scaled)


class Data:
    """Operands as NumPy arrays, and as tensors whose memory is torch's, as it is for torch's users."""

    def __init__(self, case: Case, x: Array | None = None) -> None:
        self.case = case
        self._dtype = numpy_dtype(case.dtype)
        if x is None:
            elements, view = _LAYOUTS.get(case.layout, (case.elements, lambda base: base))
            self._base = normal_numbers(self._dtype, elements, seed=0)
            self.x = view(self._base)
        else:
            self._base = self.x = x
        assert self.x.size == case.elements

    @cached_property
    def g(self) -> Array:
        """The gradient by the output."""
        return normal_numbers(self._dtype, self.case.elements, seed=1).reshape(self.x.shape)

    @cached_property
    def y(self) -> Array:
        """Memory to write to, already handed out by the kernel."""
        return self.g.copy()

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        with np.errstate(invalid="ignore"):
            return np.packbits(self.x.ravel() > 0, bitorder="little")

    @cached_property
    def tensor(self) -> Tensor:
        """x."""
        strides = tuple(stride // self.x.itemsize for stride in self.x.strides)
        offset = (self.x.ctypes.data - self._base.ctypes.data) // self.x.itemsize if self.x.size else 0
        return _as_tensor(self._base).clone().as_strided(self.x.shape, strides, offset)

    @cached_property
    def tensor_g(self) -> Tensor:
        return _as_tensor(self.g).clone()

    def leaf(self) -> Tensor:
        """x on the same memory, for a side that wants its gradient."""
        return self.tensor.detach().requires_grad_()

    def expected(self) -> Array:
        if self.case.operation in (BACKWARD, BACKWARD_OPERATOR, FORWARD_AND_BACKWARD):
            return oracle(self.x, self.g, self.case.slope)
        return oracle(self.x, self.x, self.case.slope)


def _as_tensor(array: Array) -> Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def as_array(result: Any) -> Array:
    """A side's result, whatever its kind; of several results the first."""
    if isinstance(result, list | tuple):
        result = result[0]
    if isinstance(result, Tensor):
        result = result.detach()
        if result.dtype == torch.bfloat16:
            return cast(Array, result.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
        return cast(Array, result.numpy())
    return np.asarray(result)
