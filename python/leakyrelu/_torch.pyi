"""Types of the native module, see bindings/torch/module.cc."""

from collections.abc import Callable

from torch import Tensor

HAS_CUDA: bool  # whether tensors on CUDA devices are taken

def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor: ...
def set_fallback(function: Callable[..., Tensor]) -> None: ...
def set_default_device_mode(mode: type) -> None: ...

class LeakyReluMaskBackward:
    """The type of `grad_fn`."""
