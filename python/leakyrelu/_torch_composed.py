"""The fused operation as torch's own ones, for compilers to fuse and exporters to know."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor


def composed(
    input: Tensor,
    bias: Optional[Tensor],  # noqa: UP045 (TorchScript reads it)
    negative_slope: Optional[float],  # noqa: UP045
    scale: float,
    clamp: Optional[float],  # noqa: UP045
    dim: int,
) -> Tensor:
    """See `leakyrelu.torch.fused_leaky_relu`; without a slope ReLU in LeakyReLU's place."""
    narrow = input.dtype == torch.float16 or input.dtype == torch.bfloat16
    v = input.float() if narrow else input
    if bias is not None:
        shape = [1] * input.dim()
        shape[dim] = -1
        v = v + bias.to(input.dtype).to(v.dtype).reshape(shape)
    v = (F.relu(v) if negative_slope is None else F.leaky_relu(v, negative_slope)) * scale
    if clamp is not None:
        v = v.clamp(-clamp, clamp)
    return v.to(input.dtype)
