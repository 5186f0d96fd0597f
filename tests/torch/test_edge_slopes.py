"""Proves that slopes at float32's and int64's ends are taken or refused as torch does."""

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import DTYPES, INF, NAN, assert_same, filled

from leakyrelu.torch import leaky_relu

FLOATS = [1e300, -1e300, 3.5e38]
INTEGERS = [2**64, -(2**64), 10**300, 10**400]  # more than 64 bits
NARROW = [dtype for dtype in DTYPES if dtype != torch.float64]


def name(value: int) -> str:
    return f"{value.bit_length()} bits, {'negative' if value < 0 else value % 100}"


@pytest.mark.parametrize("slope", FLOATS)
def test_float64_takes_any_float(slope: float) -> None:
    x = filled(torch.float64, 1000)
    assert_same(leaky_relu(x, slope), F.leaky_relu(x, slope))


@pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])
@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
@pytest.mark.parametrize("slope", FLOATS)
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_refused_before_anything_is_written(
    dtype: torch.dtype, slope: float, requires_grad: bool, inplace: bool
) -> None:
    x = filled(dtype, 100).requires_grad_(requires_grad) * 1
    before, version = x.detach().clone(), x._version
    with pytest.raises(Exception) as native:
        F.leaky_relu(x, slope)
    with pytest.raises(native.type):
        leaky_relu(x, slope, inplace)
    assert_same(x.detach(), before)
    assert x._version == version


@pytest.mark.parametrize("slope", INTEGERS, ids=name)
def test_integers_of_more_than_64_bits_are_refused(slope: int) -> None:
    x = filled(torch.float64, 100)
    with pytest.raises(OverflowError):
        F.leaky_relu(x, slope)
    with pytest.raises(OverflowError):
        leaky_relu(x, slope)


@pytest.mark.parametrize("slope", [INF, -INF, NAN])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_infinity_and_nan_are_no_errors(dtype: torch.dtype, slope: float) -> None:
    x = filled(dtype, 100)
    assert_same(leaky_relu(x, slope), F.leaky_relu(x, slope))


@pytest.mark.parametrize("slope", [2**62, 2**63 - 1, 2**63, -(2**63), 2**54 + 2**30 + 1], ids=name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_integers_of_64_bits(dtype: torch.dtype, slope: int) -> None:
    """The last one, as float32, is another number if it was float64 before."""
    x = filled(dtype, 1000)
    assert_same(leaky_relu(x, slope), F.leaky_relu(x, slope))
