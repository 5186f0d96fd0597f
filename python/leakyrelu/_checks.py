"""What arrays have in common, whatever memory they are in: what must be true of those of one call."""

import sys
from collections.abc import Sequence
from typing import Any

from leakyrelu import _core

*_OTHERS, _LAST = _core.DTYPES
SUPPORTED = f"{', '.join(_OTHERS)} and {_LAST}"
CUDA_DEVICE_TYPES = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged

Shape = tuple[int, ...]


def require_same(name: str, dtype: str, shape: Shape, source_name: str, source_dtype: str, source_shape: Shape) -> None:
    """Raises unless an output has dtype and shape of its source."""
    if dtype != source_dtype:
        raise TypeError(f"{name} has dtype {dtype}, {source_name} has {source_dtype}; they must be the same")
    if shape != source_shape:
        raise ValueError(f"{name} has shape {shape}, {source_name} has {source_shape}; they must be the same")


def require_mask(dtype: str, shape: Shape) -> None:
    """Raises unless an array can be a mask: of which length it must be, and whether it is contiguous, others ask."""
    if dtype != "uint8":
        raise TypeError(f"mask has dtype {dtype}; it must be uint8, as leaky_relu_with_mask returns it")
    if len(shape) != 1:
        raise ValueError(f"mask has shape {shape}; it must have one dimension, as leaky_relu_with_mask returns it")


def is_dense(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Whether the elements lie one behind the other, in some order of the dims. Strides are in bytes."""
    if 0 in shape:
        return True
    expected = itemsize
    for stride, extent in sorted(zip(strides, shape, strict=True)):
        if extent != 1:
            if stride != expected:
                return False
            expected *= extent
    return True


def library_of(x: Any) -> Any:
    """The module that has the from_dlpack for arrays of the kind of `x`."""
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    return sys.modules[type(x).__module__.partition(".")[0]]
