"""LeakyReLU at the speed of memory, keeping one bit per element for the backward.

    y  = x > 0 ? x    : x    * negative_slope
    dx = x > 0 ? grad : grad * negative_slope

on NumPy arrays and whatever speaks DLPack (JAX, ...), without a copy. The definition is that of
https://pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html, bit for bit what PyTorch computes.
"""

from leakyrelu._array import (
    LeakyReLU,
    empty_cache,
    get_num_threads,
    leaky_relu,
    leaky_relu_backward,
    leaky_relu_with_mask,
    memory_stats,
    set_cache_limit,
    set_num_threads,
)
from leakyrelu._core import __version__

__all__ = [
    "LeakyReLU",
    "__version__",
    "empty_cache",
    "get_num_threads",
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_with_mask",
    "memory_stats",
    "set_cache_limit",
    "set_num_threads",
]
