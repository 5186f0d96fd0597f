"""Proves that the fused operation on a CUDA device gives what torch's four operations give on the CPU, bit for bit."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from cuda_card import current_device, fake_card, launches_under_gil, real_card
from tensor_cases import DTYPES, INF, NAN, assert_same, filled, four_operations, packed, specials
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)

from leakyrelu.torch import FusedLeakyReLU, _torch, bias_act, fused_leaky_relu

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
by_clamp = pytest.mark.parametrize("clamp", [None, 1.25])
by_device = pytest.mark.parametrize("device", [f"cuda:{i}" for i in range(torch.cuda.device_count())])


def test_the_library_was_built_with_cuda() -> None:
    assert _torch.HAS_CUDA, "built without a CUDA compiler; the tests below would prove torch's operators"


# ---- Values and gradients


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2)


# Of a tensor of 4 dims, every way to lie in memory.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda t: t,
    "channels_last": channels_last,
    "sliced": lambda t: t[1:, ::2, :, 1:4],
    "offset": lambda t: t.flatten()[1:836].view(5, -1),
    "transposed": lambda t: t.transpose(0, 3),
    "permuted and sliced": lambda t: t.permute(3, 1, 0, 2)[:, 1:],
    "expanded": lambda t: t[:, :1].expand(-1, 4, -1, -1),
    "two dims": lambda t: t.flatten(1),
    "one element": lambda t: t[1, 1:2, 1, 1:2],
    "none": lambda t: t[:, :, 2:2],
}
by_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def compare(x: Tensor, bias: Tensor | None, leaf: Tensor, *numbers: float | None, dim: int = 1) -> None:
    """`leaf` is `x` on the device, laid out alike. The bias's gradient, a sum of torch's, is not asked for."""
    slope, scale, clamp = numbers
    assert slope is not None
    assert scale is not None
    expected_leaf, leaf = x.detach().requires_grad_(), leaf.detach().requires_grad_()
    on_device = None if bias is None else bias.to(leaf.device)
    expected = four_operations(expected_leaf, bias, slope, scale, clamp, dim)
    y = fused_leaky_relu(leaf, on_device, slope, scale, clamp=clamp, dim=dim)
    assert y.device == leaf.device
    assert_same(y.cpu(), expected)
    with torch.no_grad():
        assert_same(fused_leaky_relu(leaf, on_device, slope, scale, clamp=clamp, dim=dim).cpu(), expected)
    dy = filled(x.dtype, *x.shape, seed=1)
    (expected_dx,) = torch.autograd.grad(expected, expected_leaf, dy)
    (dx,) = torch.autograd.grad(y, leaf, dy.to(leaf.device))
    assert dx.device == leaf.device
    assert_same(dx.cpu().contiguous(), expected_dx.contiguous())


@by_view
@by_dtype
def test_layouts(dtype: torch.dtype, view: Callable[[Tensor], Tensor]) -> None:
    base = filled(dtype, 4, 7, 6, 5)
    x, leaf = view(base), view(base.cuda())
    for dim, slope, (scale, clamp) in product((0, -1, 1), (0.2, -0.7), ((2**0.5, None), (-1.0, 1.25))):
        compare(x, filled(dtype, x.size(dim), seed=2), leaf, slope, scale, clamp, dim=dim)
    compare(x, None, leaf, 0.2, 2**0.5, None)
    compare(x, None, leaf, 0.2, 2**0.5, 0.5)


@by_clamp
@by_dtype
@pytest.mark.parametrize(
    "shape", [(3, 5, 41, 3), (2, 512, 4, 4), (2, 3, 64, 65), (20003, 3), (3, 20003), (1, 1)], ids=str
)
def test_sizes(shape: tuple[int, ...], dtype: torch.dtype, clamp: float | None) -> None:
    x, bias = filled(dtype, *shape), filled(dtype, shape[1], seed=2)
    compare(x, bias, x.cuda(), 0.2, 2**0.5, clamp)
    if len(shape) == 4:
        x = channels_last(filled(dtype, *(shape[i] for i in (0, 2, 3, 1))))
        compare(x, bias, channels_last(x.permute(0, 2, 3, 1).cuda()), 0.2, 2**0.5, clamp)


@by_dtype
def test_every_pair_of_special_values(dtype: torch.dtype) -> None:
    values = specials(dtype)
    x = values.expand(len(values), -1).contiguous()
    for slope, scale, clamp in product((0.2, -0.0, INF, NAN), (2**0.5, -0.0, INF, NAN, 1e39), (None, 1e-40)):
        compare(x, values, x.cuda(), slope, scale, clamp, dim=0)


def test_biases_of_any_stride() -> None:
    x, bias = filled(torch.float32, 4, 9, 5), filled(torch.float32, 40, seed=2)
    on_device = bias.cuda()
    for cut in (slice(1, 10), slice(3, 21, 2), slice(0, 9)):
        y = fused_leaky_relu(x.cuda(), on_device[cut])
        assert_same(y.cpu(), four_operations(x, bias[cut]))
    assert_same(fused_leaky_relu(x.cuda(), on_device[:1].expand(9)).cpu(), four_operations(x, bias[:1].expand(9)))


@by_clamp
def test_any_order_of_derivatives(clamp: float | None) -> None:
    """The backward is linear in the gradient, so its derivative by that is the same function."""
    x, dy, ddx = (filled(torch.float32, 5, 33, seed=seed) for seed in range(3))
    leaf, first, second = (t.cuda().requires_grad_() for t in (x, dy, ddx))
    y = fused_leaky_relu(leaf, None, -0.3, 1.5, clamp=clamp)
    (dx,) = torch.autograd.grad(y, leaf, first, create_graph=True)
    (back,) = torch.autograd.grad(dx, first, second, create_graph=True)
    (again,) = torch.autograd.grad(back, second, first)
    for actual, gradient in ((dx, dy), (back, ddx), (again, dy)):
        expected_leaf = x.clone().requires_grad_()
        expected = four_operations(expected_leaf, None, -0.3, 1.5, clamp)
        assert_same(actual.cpu(), torch.autograd.grad(expected, expected_leaf, gradient)[0])


def test_modules() -> None:
    x = filled(torch.float32, 2, 6, 7)
    layer = FusedLeakyReLU(6)
    with torch.no_grad():
        layer.bias.copy_(filled(torch.float32, 6, seed=1))  # type: ignore[union-attr]
        expected = four_operations(x, layer.bias)
        y = layer.cuda()(x.cuda())
        assert_same(y.cpu(), expected)
        z = bias_act(x.cuda(), layer.bias, act="lrelu", clamp=0.5)
        assert_same(z.cpu(), expected.clamp(-0.5, 0.5))
    with torch.inference_mode():
        assert_same(fused_leaky_relu(x.cuda()).cpu(), four_operations(x))


@real_card
@by_dtype
def test_torch_gives_the_same_on_the_device(dtype: torch.dtype) -> None:
    """And so are the bias's gradients, sums by torch of the same numbers."""
    x, bias, dy = filled(dtype, 64, 7, 1001), filled(dtype, 7, seed=1), filled(dtype, 64, 7, 1001, seed=2)
    results = []
    for function in (fused_leaky_relu, four_operations):
        leaves = [x.cuda().requires_grad_(), bias.cuda().requires_grad_()]
        y = function(*leaves, clamp=1.25)
        dx, db = torch.autograd.grad(y, leaves, dy.cuda())
        results.append((y.detach(), dx, db if function is fused_leaky_relu else dx.sum((0, 2))))
    for actual, expected in zip(*results, strict=True):
        assert_same(actual.cpu(), expected.cpu())


@real_card
@by_clamp
def test_gradcheck(clamp: float | None) -> None:
    x = torch.randn(4, 5, 3, dtype=torch.float64, device="cuda", requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, device="cuda", requires_grad=True)

    def function(x: Tensor, bias: Tensor) -> Tensor:
        return fused_leaky_relu(x, bias, 0.3, 1.7, clamp=clamp)

    assert torch.autograd.gradcheck(function, (x, bias))
    assert torch.autograd.gradgradcheck(function, (x, bias))


# ---- What is kept, and where


@by_dtype
def test_one_bit_an_element_and_two_with_a_clamp(dtype: torch.dtype) -> None:
    x, bias = filled(dtype, 3, 5, 67), filled(dtype, 5, seed=1)
    t = x.double() + bias.double().view(1, 5, 1)
    for clamp in (None, 1.5):
        saved: list[Tensor] = []
        with saved_tensors_hooks(lambda t, saved=saved: (saved.append(t), t)[1], lambda t: t):  # type: ignore[misc]
            y = fused_leaky_relu(x.cuda().requires_grad_(), bias.cuda(), 0.2, 1.0, clamp=clamp)
        assert "FusedLeakyReluBackward" in type(y.grad_fn).__name__
        assert len(saved) == (1 if clamp is None else 2)
        assert all(mask.is_cuda for mask in saved)
        assert_same(saved[0].cpu(), packed(t > 0))
        if clamp is not None:
            v = four_operations(x.float() if dtype.itemsize == 2 else x, bias, 0.2, 1.0)
            assert_same(saved[1].cpu(), packed(v.abs() <= clamp))


@by_device
def test_on_the_device_and_its_current_stream(device: str) -> None:
    x, dy = filled(torch.float32, 4, 1003), filled(torch.float32, 4, 1003, seed=1)
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
    leaf = torch.empty(4, 1003, device=device, requires_grad=True)
    bias = torch.empty(1003, device=device)
    with torch.cuda.stream(stream):
        with torch.no_grad():
            leaf.copy_(x, non_blocking=True)
            bias.copy_(x[0], non_blocking=True)
        y = fused_leaky_relu(leaf, bias, clamp=2.0)
        y.backward(dy.to(device, non_blocking=True))
    stream.synchronize()
    expected_leaf = x.clone().requires_grad_()
    expected = four_operations(expected_leaf, x[0], clamp=2.0)
    expected.backward(dy)
    assert_same(y.cpu(), expected)
    assert_same(leaf.grad.cpu(), expected_leaf.grad)  # type: ignore[union-attr,arg-type]
    assert torch.cuda.current_device() == 0


@fake_card
def test_the_device_is_what_it_was() -> None:
    x = filled(torch.float32, 10, 10).to("cuda:1")
    filled(torch.float32, 1).to("cuda:0")
    lazy = torch._lazy_clone(x)
    fused_leaky_relu(lazy, lazy[0])
    assert torch._C._is_cow_tensor(lazy), "what is only read is not copied"
    assert current_device() == 0


@fake_card
def test_the_gil_is_released() -> None:
    before = launches_under_gil()
    x = filled(torch.float32, 4, 2).cuda().requires_grad_()
    fused_leaky_relu(x, clamp=1.0).backward(filled(torch.float32, 4, 2).cuda())
    assert launches_under_gil() == before


def test_in_a_graph() -> None:
    """Captured once, replayed on other numbers."""
    x, dy, y, dx = (torch.empty(17, 59, device="cuda") for _ in range(4))
    bias = filled(torch.float32, 59, seed=3)
    leaf, on_device = x.requires_grad_(), bias.cuda()

    def work() -> None:
        result = fused_leaky_relu(leaf, on_device, clamp=1.5)
        y.copy_(result.detach())
        dx.copy_(torch.autograd.grad(result, leaf, dy)[0])

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        work()  # a first time outside, as torch wants it
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    for seed in range(2):
        numbers, gradient = filled(torch.float32, 17, 59, seed=seed), filled(torch.float32, 17, 59, seed=seed + 10)
        with torch.no_grad():
            x.copy_(numbers)
        dy.copy_(gradient)
        graph.replay()
        torch.cuda.synchronize()
        expected_leaf = numbers.clone().requires_grad_()
        expected = four_operations(expected_leaf, bias, clamp=1.5)
        assert_same(y.cpu(), expected)
        assert_same(dx.cpu(), torch.autograd.grad(expected, expected_leaf, gradient)[0])


def test_errors() -> None:
    x = filled(torch.float32, 2, 3).cuda()
    with pytest.raises(RuntimeError, match="bias is on cpu, input on cuda:0; they must be on the same device"):
        fused_leaky_relu(x, torch.ones(3))
    with pytest.raises(RuntimeError, match="negative_slope is too large for float32"):
        fused_leaky_relu(x, None, 1e300)
    with pytest.raises(RuntimeError, match="clamp must be 0 or more"):
        fused_leaky_relu(x, None, clamp=-1.0)
