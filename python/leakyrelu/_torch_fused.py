"""The fused operation of `leakyrelu.torch`: bias, LeakyReLU, scale and clamp, as the StyleGAN ports have it.

Value: `t = input + bias`, `u = t > 0 ? t : t * negative_slope`, `v = u * scale`, `clamp(v, -clamp, clamp)`, each step
rounded, bit for bit what these four operations of torch give one after the other. float16 and bfloat16 are widened to
float32, computed there, and rounded once, at the end.
"""

import math
from typing import Optional

import torch
from torch import Tensor, nn

from leakyrelu import _torch_traced
from leakyrelu._torch_composed import composed

_fused = torch.ops.leakyrelu.fused_leaky_relu
_is_compiling = torch.compiler.is_compiling


def fused_leaky_relu(
    input: Tensor,
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    scale: float = 2**0.5,
    *,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """`leaky_relu(input + bias, negative_slope) * scale`, clamped, in one pass.

    For the backward it keeps one bit per element, and a second one where there is a clamp. Names and order are those of
    the StyleGAN2 ports (`op/fused_act.py`), whose compiled extension this replaces.

    Args:
        input: tensor of any shape, float16, bfloat16, float32 or float64.
        bias: tensor of one dimension, as long as `dim` of `input`; cast to its dtype.
        negative_slope: factor for elements of `input + bias` that are not greater than zero.
        scale: factor for the result.
        clamp: 0 or more: the result is held in `[-clamp, clamp]`. None: it is not.
        dim: the dimension of `input` along which the bias runs.

    Returns:
        Tensor of the input's shape, dtype and strides, differentiable to any order by `input` and `bias`.

    Raises:
        RuntimeError: `bias` does not fit, `clamp` is negative, or `input` is of another dtype.
        IndexError: `input` has no such `dim`.
    """
    if _is_compiling():
        return _torch_traced.fused(input, bias, negative_slope, scale, clamp, dim)
    result: Tensor = _fused(input, bias, negative_slope, scale, clamp, dim)
    return result


def _scripted(
    input: Tensor,
    bias: Optional[Tensor] = None,  # noqa: UP045
    negative_slope: float = 0.2,
    scale: float = 2**0.5,
    clamp: Optional[float] = None,  # noqa: UP045
    dim: int = 1,
) -> Tensor:
    return composed(input, bias, negative_slope, scale, clamp, dim)


# What TorchScript compiles in its place.
fused_leaky_relu.__prepare_scriptable__ = lambda: _scripted  # type: ignore[attr-defined]


class FusedLeakyReLU(nn.Module):
    """`fused_leaky_relu` with a bias of its own along dimension 1, zeros at first.

    Parameters, positional order and state (`bias`, of shape `(channel,)`) are those of the StyleGAN2 ports.

    Args:
        channel: extent of dimension 1 of the inputs.
        bias: whether there is one.
        negative_slope: see `fused_leaky_relu`.
        scale: see `fused_leaky_relu`.
    """

    bias: nn.Parameter | None

    def __init__(self, channel: int, bias: bool = True, negative_slope: float = 0.2, scale: float = 2**0.5) -> None:
        super().__init__()
        self.register_parameter("bias", nn.Parameter(torch.zeros(channel)) if bias else None)
        self.negative_slope = negative_slope
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """Returns `fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)`."""
        return fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)

    def extra_repr(self) -> str:
        """What torch's repr of modules shows."""
        channel = "" if self.bias is None else f"{len(self.bias)}, "
        return f"{channel}bias={self.bias is not None}, negative_slope={self.negative_slope}, scale={self.scale}"


# NVIDIA's: the gain unless given.
_GAINS = {"linear": 1.0, "relu": math.sqrt(2), "lrelu": math.sqrt(2)}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "cuda",
) -> Tensor:
    """`bias_act` of NVIDIA's StyleGAN2-ADA and StyleGAN3, for three of its activations.

    Args:
        x: see `fused_leaky_relu`.
        b: the bias.
        dim: the dimension of `x` along which the bias runs.
        act: "linear", "relu" or "lrelu". "relu" is composed of torch's own operations: it is 0 where a LeakyReLU of
            slope 0 is -0 or, at minus infinity, NaN.
        alpha: the slope of "lrelu", 0.2 unless given.
        gain: the scale; unless given 1 for "linear" and the square root of 2 for the others.
        clamp: None, or a negative number as there: none.
        impl: "cuda" or "ref"; both are this one.

    Returns:
        Tensor like `x`.

    Raises:
        ValueError: `act` is another activation, or `impl` is neither.
        RuntimeError, IndexError: see `fused_leaky_relu`.
    """
    if not isinstance(act, str) or act not in _GAINS:
        raise ValueError(f"act must be one of {', '.join(map(repr, _GAINS))}, not {act!r}")
    if impl not in ("cuda", "ref"):
        raise ValueError(f"impl must be 'cuda' or 'ref', not {impl!r}")
    scale = _GAINS[act] if gain is None else gain
    limit = None if clamp is None or clamp < 0 else clamp
    if act == "relu":
        return composed(x, b, None, scale, limit, dim)
    slope = 1.0 if act == "linear" else 0.2 if alpha is None else alpha
    return fused_leaky_relu(x, b, slope, scale, clamp=limit, dim=dim)
