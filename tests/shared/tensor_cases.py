"""What the PyTorch tests share: dtypes, special values, slopes, equality of bits, the fused operation's definition."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INF, NAN = float("inf"), float("nan")
SLOPES = [0.0, -0.0, 0.01, -0.2, 1.0, 1.7, INF, -INF, NAN, 1e-45, 3.4e38]

_INTEGER = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Same class, dtype, shape, strides and the same bits; any NaN equals any NaN."""
    assert type(actual) is type(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.stride() == expected.stride()
    actual, expected = actual.detach(), expected.detach()
    differ = _bits(actual) != _bits(expected)
    if expected.is_floating_point():
        differ &= ~(actual.isnan() & expected.isnan()).contiguous()
    wrong = differ.nonzero()[:4].tolist()
    assert not wrong, (
        f"{differ.sum()} elements differ, the first at {wrong}: "
        f"{[actual[tuple(i)].item() for i in wrong]} should be "
        f"{[expected[tuple(i)].item() for i in wrong]}"
    )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(_INTEGER[tensor.element_size()])


def specials(dtype: torch.dtype) -> Tensor:
    """NaN of both signs, zeros, infinities, subnormals, the smallest and largest, ordinary ones."""
    info = torch.finfo(dtype)
    subnormals = [info.smallest_normal / 2, info.smallest_normal * info.eps]
    one_sided = [0.0, INF, NAN, info.max, info.smallest_normal, *subnormals, 1.0, 0.5, 3.25, 1000.0]
    half = torch.tensor(one_sided, dtype=torch.float64)
    return torch.cat([half, half.neg()]).to(dtype)


def filled(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    """Special values and normally distributed ones, mixed at random."""
    generator = torch.Generator().manual_seed(seed)
    ordinary = torch.randn(40, generator=generator, dtype=torch.float64).mul(4).to(dtype)
    pool = torch.cat([specials(dtype), ordinary])
    return pool[torch.randint(len(pool), shape, generator=generator)]


def packed(positive: Tensor) -> Tensor:
    """The mask, by NumPy."""
    mask = np.packbits(positive.numpy().ravel(), bitorder="little")
    return torch.empty(len(mask), dtype=torch.uint8).copy_(torch.from_numpy(mask))


def four_operations(
    input: Tensor,
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    scale: float = 2**0.5,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """What `fused_leaky_relu` is defined by. Narrow formats are widened and rounded once."""
    v = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    if bias is not None:
        shape = [1] * input.dim()
        shape[dim] = -1
        v = v + bias.to(input.dtype).to(v.dtype).view(shape)
    v = F.leaky_relu(v, negative_slope)
    v = v * scale
    if clamp is not None:
        limited = torch.clamp(v, -clamp, clamp)
        # The gradient of clamp at the bound itself is 1 until torch 2.13, as here, and 0 from 2.14 on. An infinite
        # clamp is torch's own in `fused_leaky_relu` too.
        is_defined = v.requires_grad and clamp < math.inf
        v = torch.where((v >= -clamp) & (v <= clamp), v, limited.detach()) if is_defined else limited
    return v.to(input.dtype)
