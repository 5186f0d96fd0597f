"""Types of the native module, see bindings/torch/module.cc."""

from collections.abc import Callable

from torch import Tensor

def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor: ...
def set_fallback(function: Callable[..., Tensor]) -> None: ...

class LeakyReluBackward:
    """The type of `grad_fn`."""
