"""The fused operation as torch's own ones, for compilers to fuse and exporters to know."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor


def checked(
    input: Tensor,
    bias: Optional[Tensor],  # noqa: UP045 (TorchScript reads it)
    clamp: Optional[float],  # noqa: UP045
    dim: int,
) -> tuple[Optional[Tensor], int]:  # noqa: UP045
    """The bias in the input's dtype, and its dim from 0 on. Raises for what bindings/torch/fused.cc refuses too."""
    if not input.is_floating_point():
        raise RuntimeError(f"fused_leaky_relu: input must be of a floating-point dtype, not {input.dtype}")
    if clamp is not None and not clamp >= 0:
        raise RuntimeError(f"fused_leaky_relu: clamp must be 0 or more, or None, not {clamp}")
    if bias is not None:
        dims = input.dim()
        if dims == 0:
            raise RuntimeError("fused_leaky_relu: input has no dims, so it can have no bias along one")
        if not -dims <= dim < dims:  # torch's words
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-dims}, {dims - 1}], but got {dim})"
            )
        dim = dim % dims  # and not %=, which is a float to TorchScript
        length = input.size(dim)
        if bias.dim() != 1 or len(bias) != length:
            raise RuntimeError(
                f"fused_leaky_relu: bias must have one dim of {length}, as dim {dim} of input has, "
                f"not the shape {list(bias.shape)}"
            )
        if bias.device != input.device:
            raise RuntimeError(
                f"fused_leaky_relu: bias is on {bias.device}, input on {input.device}; they must be on the same device"
            )
        bias = bias.to(input.dtype)
    return bias, dim


def unclamped(
    input: Tensor,
    bias: Optional[Tensor],  # noqa: UP045
    negative_slope: Optional[float],  # noqa: UP045
    scale: float,
    dim: int,
) -> Tensor:
    """`composed` without its clamp, of what is checked; float16 and bfloat16 give float32."""
    v = biased(input, bias, dim)
    return (F.relu(v) if negative_slope is None else F.leaky_relu(v, negative_slope)) * scale


def biased(input: Tensor, bias: Optional[Tensor], dim: int) -> Tensor:  # noqa: UP045
    v = widened(input)
    if bias is not None:
        shape = [1] * input.dim()
        shape[dim] = -1
        v = v + widened(bias).reshape(shape)
    return v


def widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16 else tensor


def composed(
    input: Tensor,
    bias: Optional[Tensor],  # noqa: UP045
    negative_slope: Optional[float],  # noqa: UP045
    scale: float,
    clamp: Optional[float],  # noqa: UP045
    dim: int,
) -> Tensor:
    """See `leakyrelu.torch.fused_leaky_relu`; without a slope ReLU in LeakyReLU's place. Checks what `checked` does."""
    bias, dim = checked(input, bias, clamp, dim)
    v = unclamped(input, bias, negative_slope, scale, dim)
    if clamp is not None:
        v = v.clamp(-clamp, clamp)
    return v.to(input.dtype)


def sum_of_bias(gradient: Tensor, dim: int) -> Tensor:
    """The bias's gradient: the input's, summed over all dims but the bias's own."""
    others = [i for i in range(gradient.dim()) if i != dim]
    return gradient.sum(others) if others else gradient
