"""The interpreter ends while other threads are inside a call: the process still ends as it should."""

import pytest
from exits import failed_exits

SETUP = """
import leakyrelu, numpy as np
x = np.linspace(-1, 1, 100_000, dtype=np.float32)
y = np.empty_like(x)
mask = leakyrelu.leaky_relu_with_mask(x)[1]
class Library:
    "Whose arrays are asked, and made, by Python code."
    def from_dlpack(array): return np.from_dlpack(array)
class Exporter:
    def __dlpack_device__(self): return x.__dlpack_device__()
    def __dlpack__(self, **options): return x.__dlpack__(**options)
    def __array_namespace__(self): return Library
class Slope:
    def __float__(self): return sum(0.0 for i in range(10))
def refused(call):
    try: call()
    except TypeError: pass
"""

CALLS = {
    "out": "leakyrelu.leaky_relu(x, out=y)",
    "fresh": "leakyrelu.leaky_relu(x)",
    "inplace": "leakyrelu.leaky_relu(y, inplace=True)",
    "with_mask": "leakyrelu.leaky_relu_with_mask(x, out=y)",
    "backward": "leakyrelu.leaky_relu_backward(x, mask, out=y)",
    "dlpack": "leakyrelu.leaky_relu(Exporter(), Slope())",
    "dtype": "refused(lambda: leakyrelu.leaky_relu(np.arange(3)))",
    "empty_cache": "leakyrelu.empty_cache()",
    "set_cache_limit": "leakyrelu.set_cache_limit(1 << 20)",
}


@pytest.mark.parametrize("name", CALLS)
def test_daemon_threads_inside_one_function(name: str) -> None:
    assert failed_exits(SETUP, [CALLS[name]] * 3, rounds=5) == []


def test_daemon_threads_inside_all_functions() -> None:
    assert failed_exits(SETUP, list(CALLS.values())) == []
