"""Proves that special values, slopes, dtypes and sizes give torch's values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import DTYPES, SLOPES, assert_same, filled, specials
from torch import Tensor

from leakyrelu.torch import leaky_relu

pytestmark = [
    pytest.mark.parametrize("dtype", DTYPES, ids=str),
    pytest.mark.parametrize("slope", SLOPES, ids=str),
]

SIZES = [1, 5, 64, 1000, 100003]


def value_and_gradient(function, x: Tensor, slope: float, dy: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = function(leaf, slope)
    y.backward(dy)
    return y, leaf.grad


def ours_in_place(x: Tensor, slope: float) -> Tensor:
    copy = x.clone()
    y = leaky_relu(copy, slope, inplace=True)
    assert y is copy
    return y


@pytest.mark.parametrize("size", SIZES)
def test_out_of_place(size: int, dtype: torch.dtype, slope: float) -> None:
    x, dy = filled(dtype, size, seed=1), filled(dtype, size, seed=2)
    y, dx = value_and_gradient(leaky_relu, x, slope, dy)
    expected_y, expected_dx = value_and_gradient(F.leaky_relu, x, slope, dy)
    assert_same(y, expected_y)
    assert_same(dx, expected_dx)


@pytest.mark.parametrize("size", SIZES)
def test_in_place(size: int, dtype: torch.dtype, slope: float) -> None:
    """Against torch out of place: in place it refuses the gradient of negative slopes."""
    x, dy = filled(dtype, size, seed=3), filled(dtype, size, seed=4)
    y, dx = value_and_gradient(ours_in_place, x, slope, dy)
    expected_y, expected_dx = value_and_gradient(F.leaky_relu, x, slope, dy)
    assert_same(y, expected_y)
    assert_same(dx, expected_dx)


@pytest.mark.parametrize("size", SIZES)
def test_without_gradient(size: int, dtype: torch.dtype, slope: float) -> None:
    x = filled(dtype, size, seed=5)
    expected = F.leaky_relu(x, slope)
    assert_same(leaky_relu(x, slope), expected)
    assert_same(ours_in_place(x, slope), F.leaky_relu(x.clone(), slope, inplace=True))


def test_every_pair_of_special_values(dtype: torch.dtype, slope: float) -> None:
    """Value against gradient, so that a special gradient meets a special value."""
    values = specials(dtype)
    x, dy = (grid.contiguous() for grid in torch.meshgrid(values, values, indexing="ij"))
    y, dx = value_and_gradient(leaky_relu, x, slope, dy)
    expected_y, expected_dx = value_and_gradient(F.leaky_relu, x, slope, dy)
    assert_same(y, expected_y)
    assert_same(dx, expected_dx)
