"""Bad calls, each with the whole of what must come of it: class and words of the error, and nothing changed.

What torch's own function says, ours says too: see test_arguments.py. Here is what only ours can say.
"""

import math
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bad_calls import Table
from torch import Tensor, nn

import leakyrelu
import leakyrelu.torch
from leakyrelu.torch import (
    FusedLeakyReLU,
    LeakyReLU,
    bias_act,
    convert,
    fused_leaky_relu,
    leaky_relu,
    leaky_relu_,
    patch,
    patched,
    saved_bytes,
    unpatch,
)

ops = torch.ops.leakyrelu
IN_PYTHON = leakyrelu.torch._torch.__name__ == "leakyrelu._torch_in_python"

BEYOND_FLOAT32 = (
    "negative_slope is too large for float32, in which float16, bfloat16 and float32 arrays are computed; it must be "
    "at most 3.4028234663852886e38 in magnitude, or infinite, or NaN"
)
OR_TORCHS = "value cannot be converted to type float without overflow" if IN_PYTHON else BEYOND_FLOAT32
MASK = "mask must be a uint8 tensor of one dimension, as leaky_relu_with_mask returns it, not of {} and {} dimensions"
MASK_BYTES = "mask has {} bytes; 10 elements need 2"
CLAMP = "fused_leaky_relu: clamp must be 0 or more, or None, not {}"
BIAS = "fused_leaky_relu: bias must have one dim of 3, as dim 1 of input has, not the shape {}"
DTYPE = "fused_leaky_relu: input must be of a floating-point dtype, not {}"
ACT = "act must be one of 'linear', 'relu', 'lrelu', not {}"
ALSO = "also must be a list of modules, {}"
NO_NAME = (
    "also: the module without has no name for torch.nn.functional.leaky_relu or leaky_relu_; give the modules that "
    "import them by name, others need nothing"
)
MODEL = "model must be a torch.nn.Module, not a {}"
LEAF = "a leaf Variable that requires grad is being used in an in-place operation."
DIM = "Dimension out of range (expected to be in range of [{}, {}], but got {})"


def named(dtype: torch.dtype, in_cpp: str) -> str:
    """As torch's C++ calls it."""
    return str(dtype) if IN_PYTHON else in_cpp


X = torch.tensor([-1.0, 2.0, math.nan])
TEN = torch.ones(10)
IMAGES, BIASES = torch.ones(2, 3), torch.ones(3)
LEAVES = torch.ones(3, requires_grad=True)
WITHOUT = ModuleType("without")


def state_of(value: Any) -> Any:
    """All bytes of the memory that a tensor or an array lies in, and how often it has been changed."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, Tensor) and not value.is_meta:
        return bytes(value.untyped_storage()), value._version
    return None


TABLE = Table(state_of, lambda: (F.leaky_relu, F.leaky_relu_))
row = TABLE.row


# ---- LeakyReLU

for dtype in (torch.float16, torch.bfloat16, torch.float32):
    for slope in (3.5e38, -1e300):
        for function in (leaky_relu, leaky_relu_, ops.leaky_relu, ops.leaky_relu_):
            row(RuntimeError, OR_TORCHS, function, X.to(dtype), slope)
        row(RuntimeError, OR_TORCHS, LeakyReLU(slope), X.to(dtype))
        row(RuntimeError, OR_TORCHS, LeakyReLU(slope, inplace=True), X.to(dtype))
        row(RuntimeError, BEYOND_FLOAT32, ops.leaky_relu_with_mask, X.to(dtype), slope)
        row(
            RuntimeError, BEYOND_FLOAT32, ops.leaky_relu_backward, X.to(dtype), torch.zeros(1, dtype=torch.uint8), slope
        )
for function in (leaky_relu_, LeakyReLU(0.1, inplace=True), ops.leaky_relu_):
    row(RuntimeError, LEAF, function, LEAVES)

# ---- Masks

for mask, dtype in (
    (torch.zeros(2, 1, dtype=torch.uint8), "Byte"),
    (torch.zeros((), dtype=torch.uint8), "Byte"),
    (torch.zeros(2, dtype=torch.int8), "Char"),
    (torch.zeros(2, dtype=torch.bool), "Bool"),
    (torch.zeros(2, dtype=torch.int64), "Long"),
    (torch.zeros(2), "Float"),
    (torch.zeros(10, dtype=torch.bool), "Bool"),
):
    row(RuntimeError, MASK.format(named(mask.dtype, dtype), mask.dim()), ops.leaky_relu_backward, TEN, mask, 0.3)
for length in (0, 1, 3):
    bits = torch.zeros(length, 2, dtype=torch.uint8)
    row(RuntimeError, MASK_BYTES.format(length), ops.leaky_relu_backward, TEN, bits[:, 0].contiguous(), 0.3)
    row(RuntimeError, MASK_BYTES.format(length), ops.leaky_relu_backward, TEN, bits[:, 0], 0.3)
    row(RuntimeError, MASK_BYTES.format(length), leakyrelu.leaky_relu_backward, TEN, bits[:, 0], 0.3)
row(
    RuntimeError,
    "mask is on meta, grad on cpu; they must be on the same device",
    ops.leaky_relu_backward,
    TEN,
    torch.zeros(2, dtype=torch.uint8, device="meta"),
)

# ---- Tensors given to the functions on arrays

for function, others in (
    (leakyrelu.leaky_relu, ()),
    (leakyrelu.leaky_relu_with_mask, ()),
    (leakyrelu.leaky_relu_backward, (torch.zeros(1, dtype=torch.uint8),)),
):
    for out, error, message in (
        (np.zeros(3, np.float32), TypeError, "out must be a tensor, as the input is, not ndarray"),
        ([0.0], TypeError, "out must be a tensor, as the input is, not list"),
        (
            torch.zeros(3, dtype=torch.float64),
            TypeError,
            "out has dtype torch.float64, the input has torch.float32; they must be the same",
        ),
        (
            torch.zeros(2, 3),
            ValueError,
            "out has shape torch.Size([2, 3]), the input has torch.Size([3]); they must be the same",
        ),
    ):
        row(error, message, function, X, *others, out=out)
row(
    TypeError,
    "out requires a gradient, which would be lost; pass out.detach()",
    leakyrelu.leaky_relu,
    X.numpy(),
    out=LEAVES,
)
row(ValueError, "inplace=True and out are both given; give one of them", leakyrelu.leaky_relu, X, inplace=True, out=X)

# ---- The fused operation

for bias in (torch.ones(2), torch.ones(4), torch.ones(1), torch.ones(1, 3), torch.tensor(1.0)):
    row(RuntimeError, BIAS.format(list(bias.shape)), fused_leaky_relu, IMAGES, bias)
    row(RuntimeError, BIAS.format(list(bias.shape)), bias_act, IMAGES, bias)
    row(RuntimeError, BIAS.format(list(bias.shape)), bias_act, IMAGES, bias, act="relu")
row(RuntimeError, BIAS.format([4]), FusedLeakyReLU(4), IMAGES)
row(
    RuntimeError,
    "fused_leaky_relu: input has no dims, so it can have no bias along one",
    fused_leaky_relu,
    torch.tensor(1.0),
    BIASES,
)
row(
    RuntimeError,
    "fused_leaky_relu: bias is on meta, input on cpu; they must be on the same device",
    fused_leaky_relu,
    IMAGES,
    torch.ones(3, device="meta"),
)
for clamp in (-1.0, math.nan, -math.inf):
    row(RuntimeError, CLAMP.format(clamp if IN_PYTHON else f"{clamp:g}"), fused_leaky_relu, IMAGES, clamp=clamp)
for act in ("linear", "relu", "lrelu"):
    row(RuntimeError, CLAMP.format("nan"), bias_act, IMAGES, act=act, clamp=math.nan)
    row(IndexError, DIM.format(-2, 1, 2), bias_act, IMAGES, BIASES, 2, act)
for dim in (2, -3, 2**40):
    row(IndexError, DIM.format(-2, 1, dim), fused_leaky_relu, IMAGES, BIASES, dim=dim)
for dtype, in_cpp in ((torch.int32, "Int"), (torch.bool, "Bool"), (torch.complex64, "ComplexFloat")):
    row(RuntimeError, DTYPE.format(named(dtype, in_cpp)), fused_leaky_relu, IMAGES.to(dtype))
    row(RuntimeError, DTYPE.format(dtype), bias_act, IMAGES.to(dtype), act="relu")
row(RuntimeError, OR_TORCHS, fused_leaky_relu, IMAGES, None, 1e39)
row(RuntimeError, OR_TORCHS, FusedLeakyReLU(3, negative_slope=1e39), IMAGES)
row(
    TypeError,
    "fused_leaky_relu() takes from 1 to 4 positional arguments but 5 were given",
    fused_leaky_relu,
    IMAGES,
    None,
    0.2,
    1.0,
    0.5,
)
for act in ("swish", "", "LRELU", None, 3, ["relu"]):
    row(ValueError, ACT.format(repr(act)), bias_act, IMAGES, act=act)
for impl in ("cpu", "", None, ["ref"]):
    row(ValueError, f"impl must be 'cuda' or 'ref', not {impl!r}", bias_act, IMAGES, impl=impl)

# ---- Models

for model in (None, 1, "model", [LeakyReLU()], nn.Linear, lambda x: x):
    row(TypeError, MODEL.format(type(model).__name__), convert, model)
    row(TypeError, MODEL.format(type(model).__name__), saved_bytes, model, X)
for function in (patch, lambda also: patched(also).__enter__()):
    for also in (F, None, 1):
        row(TypeError, ALSO.format(f"such as [module], not a {type(also).__name__}"), function, also)
    row(TypeError, ALSO.format("but has a str in it"), function, ["torch"])
    row(TypeError, ALSO.format("but has a str in it"), function, "torch")
    row(TypeError, ALSO.format("but has a NoneType in it"), function, [F, None])
    row(
        ValueError,
        NO_NAME,
        function,
        [WITHOUT],
    )
row(RuntimeError, "unpatch() without a patch() before it", unpatch)


@pytest.mark.parametrize("number", range(len(TABLE)), ids=TABLE.name_of)
def test_bad_call(number: int) -> None:
    TABLE.check(number)


CANNOT_BE = [None, "0.5", [0.5], 1j, object()]
SIGNATURE = {
    "negative_slope": "float",
    "scale": "float",
    "clamp": "Optional[float]",
    "dim": "int",
    "bias": "Optional[Tensor]",
}


@pytest.mark.parametrize("name", SIGNATURE)
@pytest.mark.parametrize("value", CANNOT_BE, ids=lambda value: type(value).__name__)
def test_what_no_argument_of_the_fused_function_can_be(name: str, value: Any) -> None:
    """torch reads these arguments, and says which and what would be right."""
    if value is None and name in ("bias", "clamp"):
        pytest.skip("it can")
    message = (
        f"leakyrelu::fused_leaky_relu() Expected a value of type '{SIGNATURE[name]}' for argument '{name}' but instead "
        f"found type '{type(value).__name__}'.\n"
    )
    before = IMAGES.clone()
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}"):
        fused_leaky_relu(IMAGES, **{name: value})
    assert torch.equal(IMAGES, before)
