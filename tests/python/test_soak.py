"""A million calls on small arrays and a thousand on large ones leave nothing behind, and all give the same."""

from collections.abc import Callable

import numpy as np
import pytest
from capsules import Exporter
from soaking import LARGE, MOST_GROWTH, SMALL, assert_nothing_left, growth, in_own_process

import leakyrelu

pytestmark = pytest.mark.slow

WAYS = ("fresh", "out", "inplace", "with_mask", "backward", "dlpack")


def call_of(way: str, elements: int) -> Callable[[], np.ndarray]:
    x = np.linspace(-1, 1, elements, dtype=np.float32)
    mask = leakyrelu.leaky_relu_with_mask(x)[1]
    out, exporter = np.empty_like(x), Exporter(x)
    calls: dict[str, Callable[[], np.ndarray]] = {
        "fresh": lambda: leakyrelu.leaky_relu(x, 0.5),
        "out": lambda: leakyrelu.leaky_relu(x, 0.5, out=out),
        "inplace": lambda: leakyrelu.leaky_relu(out, 1.0, inplace=True),
        "with_mask": lambda: leakyrelu.leaky_relu_with_mask(x, 0.5)[0],
        "backward": lambda: leakyrelu.leaky_relu_backward(x, mask, 0.5),
        "dlpack": lambda: leakyrelu.leaky_relu(exporter, 0.5),
    }
    return calls[way]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("way", WAYS)
def test_calls_leave_nothing_behind(way: str, size: tuple[int, int]) -> None:
    assert_nothing_left(call_of, way, size)


def test_a_leak_of_a_few_bytes_would_be_seen() -> None:
    assert in_own_process(leak) > MOST_GROWTH


def leak() -> int:
    kept: list[bytes] = []
    return growth(lambda: kept.append(bytes(1)), SMALL[1])
