"""The interpreter ends while other threads are inside a call on tensors: the process still ends as it should.

Only calls that torch has no part in: what it does itself ends the process then, be it an operation, a gradient through
its engine, or to free a tensor. So the results are kept.
"""

from exits import failed_exits

SETUP = """
import torch, leakyrelu.torch
from leakyrelu.torch import LeakyReLU, leaky_relu, leaky_relu_
results = []
def values(size=20_000):
    return torch.linspace(-1, 1, size)
small, x, y, leaf = values(10), values(), values(), values().requires_grad_()
small_leaf, column = values(10).requires_grad_(), values(40_000)[::2]
small_inner, inner = small_leaf * 1, leaf * 1
module = LeakyReLU(0.2)
"""

WITH_RESULTS = [
    "leaky_relu(small)",
    "leaky_relu(small_leaf)",
    "leaky_relu(x)",
    "leaky_relu(column, 0.3)",
    "leaky_relu(leaf, -0.2)",
    "leaky_relu(inner)",
    "module(leaf)",
]

OTHERS = [
    "leaky_relu_(y)",
    "leaky_relu_(y, -0.2)",
    "leaky_relu_(small_inner)",
    "leaky_relu_(inner)",
    "leakyrelu.empty_cache()",
]


def test_daemon_threads_that_make_tensors() -> None:
    calls = [f"results.append({call})" for call in WITH_RESULTS]
    assert failed_exits(SETUP, calls, rounds=8, limit=500) == []  # of up to 80 KB each


def test_daemon_threads_that_make_none() -> None:
    assert failed_exits(SETUP, OTHERS, rounds=8) == []
