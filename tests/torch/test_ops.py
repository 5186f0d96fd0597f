"""Proves that torch.ops.leakyrelu.* are good operators and that the mask is NumPy's packbits."""

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import DTYPES, assert_same, filled, packed
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

import leakyrelu.torch

ops = torch.ops.leakyrelu
SHAPE = (2, 3, 4, 5)

INPUTS = {
    "plain": lambda: torch.randn(SHAPE),
    "grad": lambda: torch.randn(SHAPE, requires_grad=True),
    "strided": lambda: torch.randn(5, 4, 6)[..., ::2].permute(2, 0, 1),
    "strided_grad": lambda: torch.randn(5, 4, 6)[..., ::2].permute(2, 0, 1).requires_grad_(),
    "channels_last": lambda: torch.randn(SHAPE).to(memory_format=torch.channels_last),
    "channels_last_grad": lambda: torch.randn(SHAPE).to(memory_format=torch.channels_last).requires_grad_(),
    "bfloat16_grad": lambda: torch.randn(13, dtype=torch.bfloat16, requires_grad=True),
    "float16": lambda: torch.randn(13, dtype=torch.float16),
    "float64_grad": lambda: torch.randn(13, dtype=torch.float64, requires_grad=True),
    "0-d": lambda: torch.randn((), requires_grad=True),
    "empty": lambda: torch.randn(0, 3, requires_grad=True),
    "meta": lambda: torch.randn(3, 4, device="meta"),
}
by_input = pytest.mark.parametrize("name", INPUTS)
by_slope = pytest.mark.parametrize("slope", [0.01, -0.3])
# opcheck calls the operators with clones of these; what it writes over must not be a leaf.
checked = [name for name in INPUTS if name != "meta"]


@by_slope
@pytest.mark.parametrize("name", checked)
def test_opcheck_leaky_relu(name: str, slope: float) -> None:
    opcheck(ops.leaky_relu.default, (INPUTS[name](), slope))


@by_slope
@pytest.mark.parametrize("name", [name for name in checked if "grad" not in name and name != "0-d"])
def test_opcheck_leaky_relu_in_place(name: str, slope: float) -> None:
    opcheck(ops.leaky_relu_.default, (INPUTS[name]().detach(), slope))


@by_slope
@pytest.mark.parametrize("name", checked)
def test_opcheck_leaky_relu_with_mask(name: str, slope: float) -> None:
    opcheck(ops.leaky_relu_with_mask.default, (INPUTS[name](), slope))


@by_slope
@pytest.mark.parametrize("name", checked)
def test_opcheck_leaky_relu_backward(name: str, slope: float) -> None:
    gradient = INPUTS[name]()
    mask = packed(torch.randn(gradient.shape) > 0)
    opcheck(ops.leaky_relu_backward.default, (gradient, mask, slope))


@pytest.mark.parametrize(
    ("op", "schema"),
    [
        ("leaky_relu", "(Tensor self, Scalar negative_slope=0.01) -> Tensor"),
        ("leaky_relu_", "(Tensor(a!) self, Scalar negative_slope=0.01) -> Tensor(a!)"),
        ("leaky_relu_with_mask", "(Tensor self, Scalar negative_slope=0.01) -> (Tensor, Tensor)"),
        (
            "leaky_relu_backward",
            "(Tensor grad, Tensor mask, Scalar negative_slope=0.01) -> Tensor",
        ),
    ],
)
def test_schema(op: str, schema: str) -> None:
    assert str(getattr(ops, op).default._schema) == f"leakyrelu::{op}{schema}"


@pytest.mark.parametrize("op", ["leaky_relu", "leaky_relu_", "leaky_relu_with_mask", "leaky_relu_backward"])
def test_tags(op: str) -> None:
    tags = getattr(ops, op).default.tags
    assert torch.Tag.pt2_compliant_tag in tags
    assert (torch.Tag.pointwise in tags) == (op in ("leaky_relu", "leaky_relu_"))


@by_slope
@by_input
def test_leaky_relu(name: str, slope: float) -> None:
    x = INPUTS[name]()
    actual, expected = ops.leaky_relu(x, slope), F.leaky_relu(x, slope)
    if name == "meta":
        assert (actual.device, actual.stride()) == (expected.device, expected.stride())
    else:
        assert_same(actual, expected)


@by_slope
@by_input
def test_leaky_relu_in_place(name: str, slope: float) -> None:
    x = INPUTS[name]().detach()
    expected = F.leaky_relu(x, slope)
    y = ops.leaky_relu_(x, slope)
    assert y is x
    assert x._version == 1
    if name != "meta":
        torch.testing.assert_close(x, expected, rtol=0, atol=0)


def test_default_slope() -> None:
    x = torch.randn(50)
    expected = F.leaky_relu(x)
    assert_same(ops.leaky_relu(x), expected)
    assert_same(ops.leaky_relu_with_mask(x)[0], expected)
    assert_same(ops.leaky_relu_backward(x, packed(x > 0)), expected)
    assert_same(ops.leaky_relu_(x.clone()), expected)


@by_slope
@pytest.mark.parametrize("name", checked)
def test_mask_counts_in_c_order(name: str, slope: float) -> None:
    x = INPUTS[name]()
    y, mask = ops.leaky_relu_with_mask(x, slope)
    assert_same(y, F.leaky_relu(x, slope))
    assert_same(mask, packed(x.detach() > 0))
    assert not mask.requires_grad


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000, 100003])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_backward_inverts_the_mask(dtype: torch.dtype, size: int) -> None:
    x, dy = filled(dtype, size, seed=1), filled(dtype, size, seed=2)
    mask = ops.leaky_relu_with_mask(x, 0.3)[1]
    expected = torch.ops.aten.leaky_relu_backward(dy, x, 0.3, False)
    assert_same(ops.leaky_relu_backward(dy, mask, 0.3), expected)


@pytest.mark.parametrize("name", checked)
def test_backward_takes_a_mask_in_c_order_whatever_the_strides(name: str) -> None:
    x = INPUTS[name]().detach()
    dy = torch.randn_like(x)
    mask = ops.leaky_relu_with_mask(x, 0.3)[1]
    actual = ops.leaky_relu_backward(dy, mask, 0.3)
    expected = torch.ops.aten.leaky_relu_backward(dy, x, 0.3, False)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_backward_is_differentiable() -> None:
    x, dy = torch.randn(50), torch.randn(50, requires_grad=True)
    mask = packed(x > 0)
    ops.leaky_relu_backward(dy, mask, 0.3).sum().backward()
    assert_same(dy.grad, torch.where(x > 0, 1.0, torch.tensor(0.3)))


def test_gradient_through_with_mask() -> None:
    x = torch.randn(50, requires_grad=True)
    ops.leaky_relu_with_mask(x, 0.3)[0].sum().backward()
    assert_same(x.grad, torch.where(x > 0, 1.0, torch.tensor(0.3)))


def test_mask_is_the_caller_s_to_change_but_not_silently() -> None:
    """The node keeps the returned mask; a change of it before backward is noticed."""
    x = torch.randn(50, requires_grad=True)
    y, mask = ops.leaky_relu_with_mask(x, 0.3)
    mask.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_strided_mask() -> None:
    x, dy = torch.randn(50), torch.randn(50)
    mask = packed(x > 0)
    strided = torch.stack([mask, mask], dim=1)[:, 0]
    assert_same(ops.leaky_relu_backward(dy, strided, 0.3), ops.leaky_relu_backward(dy, mask, 0.3))


@pytest.mark.parametrize(
    "dtype",
    [torch.int32, torch.bool, torch.complex64, torch.uint8, torch.float8_e4m3fn],
    ids=str,
)
@pytest.mark.parametrize("op", ["leaky_relu", "leaky_relu_", "leaky_relu_with_mask"])
def test_other_dtypes_are_refused_as_by_torch(op: str, dtype: torch.dtype) -> None:
    x = torch.ones(4).to(dtype)
    with pytest.raises(Exception) as native:
        torch.ops.aten.leaky_relu(x)
    with pytest.raises(native.type):
        getattr(ops, op)(x)


@pytest.mark.parametrize("name", INPUTS)
def test_fake_and_meta_strides(name: str) -> None:
    x = INPUTS[name]().detach()
    expected = F.leaky_relu(x)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
        y = ops.leaky_relu(fake, 0.3)
        z, mask = ops.leaky_relu_with_mask(fake, 0.3)
        dx = ops.leaky_relu_backward(fake, mask, 0.3)
        ops.leaky_relu_(fake, 0.3)
    for result in (y, z, dx):
        assert (result.shape, result.dtype, result.device) == (x.shape, x.dtype, x.device)
    assert y.stride() == z.stride() == expected.stride()
    assert (mask.dtype, mask.shape) == (torch.uint8, ((x.numel() + 7) // 8,))


def test_fake_backward_has_the_strides_of_the_real_one() -> None:
    for make in (INPUTS["strided"], INPUTS["channels_last"], lambda: torch.ones(1).expand(3, 4)):
        dy = make()
        mask = torch.zeros((dy.numel() + 7) // 8, dtype=torch.uint8)
        real = ops.leaky_relu_backward(dy, mask, 0.3)
        with FakeTensorMode() as mode:
            fake = ops.leaky_relu_backward(mode.from_tensor(dy), mode.from_tensor(mask), 0.3)
        assert fake.stride() == real.stride()


def test_vmap_of_the_operators() -> None:
    x = torch.randn(3, 20)
    torch.testing.assert_close(torch.vmap(lambda x: ops.leaky_relu(x, 0.3))(x), F.leaky_relu(x, 0.3), rtol=0, atol=0)
    _, masks = torch.vmap(lambda x: ops.leaky_relu_with_mask(x, 0.3))(x)
    for row, mask in zip(x, masks, strict=True):
        assert_same(mask.clone(), packed(row > 0))
    dx = torch.vmap(lambda g, m: ops.leaky_relu_backward(g, m, 0.3))(torch.ones(3, 20), masks)
    torch.testing.assert_close(dx, torch.where(x > 0, 1.0, torch.tensor(0.3)), rtol=0, atol=0)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiled_operators(dynamic: bool) -> None:
    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, mask = ops.leaky_relu_with_mask(x, 0.3)
        return y, mask, ops.leaky_relu_backward(y, mask, 0.3)

    torch._dynamo.reset()
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for size in (10, 17):
        x = torch.randn(size)
        for actual, expected in zip(compiled(x), run(x), strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_profiler_sees_the_operator() -> None:
    x = torch.randn(50)
    with torch.profiler.profile() as profile:
        leakyrelu.torch.leaky_relu(x)
        leakyrelu.torch.leaky_relu_(x)
    names = {event.name for event in profile.events()}
    assert {"leakyrelu::leaky_relu", "leakyrelu::leaky_relu_"} <= names
