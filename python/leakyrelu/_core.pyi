"""Types of the native module, see bindings/array/module.cc."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str
DTYPES: dict[str, int]

def forward(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    negative_slope: float,
    mask: NDArray[np.uint8] | None,
    dtype: int,
) -> None: ...
def backward(
    grad: NDArray[Any],
    mask: NDArray[np.uint8],
    out: NDArray[Any],
    negative_slope: float,
    dtype: int,
) -> None: ...
def readable_from_dlpack(source: object) -> tuple[NDArray[Any], bool]: ...
def writable_from_dlpack(source: object) -> tuple[NDArray[Any], bool]: ...
def bfloat16_to_dlpack(array: NDArray[np.uint16], owner: object) -> object: ...
def targets() -> tuple[list[str], list[str], str]: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
