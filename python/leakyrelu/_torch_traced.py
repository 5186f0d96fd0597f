"""What torch.compile traces: operations whose backward sees their result, which the next layer keeps anyway."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from leakyrelu._torch_composed import checked, composed, sum_of_bias, unclamped, widened

_is_dynamo_compiling = torch.compiler.is_dynamo_compiling
_is_exporting = getattr(torch.compiler, "is_exporting", _is_dynamo_compiling)  # torch 2.7 and newer can tell


def keeps_result(negative_slope: object, *tensors: Tensor | None) -> bool:
    """Whether there is something to keep, the result tells the sign, and the compiler alone is looking.

    For slopes of 0 and more, result > 0 is input > 0, at NaN and infinities too.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    return (
        all(type(tensor) in (Tensor, nn.Parameter) for tensor in given)
        and any(tensor.requires_grad for tensor in given)
        and torch.is_grad_enabled()
        and not _is_exporting()
        and all(type(mode) is DeviceContext for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call]
        and isinstance(negative_slope, int | float)
        and negative_slope >= 0
    )


def fused(
    input: Tensor, bias: Tensor | None, negative_slope: float, scale: float, clamp: float | None, dim: int
) -> Tensor:
    """`composed`, keeping its result; with a clamp also a byte per element, where torch would keep two."""
    if (
        _is_dynamo_compiling()
        and keeps_result(negative_slope, input, bias)
        and negative_slope < math.inf  # what a clamp has stopped is 0 times that on either side
        and 1 <= scale < math.inf  # so that nothing greater than 0 becomes 0
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    ):
        bias, dim = checked(input, bias, clamp, dim)
        result: Tensor = _Fused.apply(input, bias, negative_slope, scale, clamp, dim)  # type: ignore[no-untyped-call]
        return result
    return composed(input, bias, negative_slope, scale, clamp, dim)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        bias: Tensor | None,
        negative_slope: float,
        scale: float,
        clamp: float | None,
        dim: int,
    ) -> Tensor:
        v = unclamped(input, bias, negative_slope, scale, dim)
        within = []
        if clamp is not None:
            within.append((v >= -clamp) & (v <= clamp))
            v = v.clamp(-clamp, clamp)
        output = v.to(input.dtype)
        ctx.save_for_backward(output, *within)
        ctx.negative_slope, ctx.scale, ctx.dim = negative_slope, scale, dim
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        output, *within = ctx.saved_tensors
        # The compiler turns it off here, and its eager backend would then know of no second derivative.
        with torch.enable_grad():
            h = widened(grad)
            for inside in within:
                h = torch.where(inside, h, 0.0)
            h = h * ctx.scale
            h = torch.where(output > 0, h, h * ctx.negative_slope)
            of_bias = sum_of_bias(h, ctx.dim).to(grad.dtype) if ctx.needs_input_grad[1] else None
            return h.to(grad.dtype), of_bias, None, None, None, None
