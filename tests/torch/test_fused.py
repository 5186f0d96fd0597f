"""Proves the fused operation, bias + LeakyReLU + scale + clamp, against torch's four operations one after the other."""

import copy
import io
import math
import pickle
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch._dynamo.compiled_autograd
import torch.nn.functional as F
from tensor_cases import assert_same, four_operations
from torch import Tensor, nn

from leakyrelu._saved_bytes import recorded
from leakyrelu.torch import FusedLeakyReLU, bias_act, fused_leaky_relu

pytestmark = pytest.mark.filterwarnings("ignore")

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def numbers(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0, special: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    if special:
        info = torch.finfo(dtype)
        odd = [0.0, -0.0, math.inf, -math.inf, math.nan, info.max, -info.max, info.smallest_normal / 2, -info.tiny]
        where = torch.rand(shape, generator=generator) < 0.3
        picked = torch.tensor(odd, dtype=torch.float64)[torch.randint(len(odd), shape, generator=generator)]
        x = torch.where(where, picked, x)
    return x.to(dtype)


# Every way to lie in memory.
LAYOUTS: dict[str, Callable[[torch.dtype], Tensor]] = {
    "contiguous": lambda t: numbers((2, 5, 7, 3), t),
    "channels_last": lambda t: numbers((2, 5, 7, 3), t).contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: numbers((6, 5, 9), t).transpose(1, 2),
    "permuted": lambda t: numbers((3, 4, 5, 6), t).permute(2, 0, 3, 1),
    "sliced": lambda t: numbers((4, 9, 12), t)[:, 1:7, ::2],
    "expanded": lambda t: numbers((1, 5, 1), t).expand(3, 5, 8),
    "two_dims": lambda t: numbers((33, 70), t),
    "long_rows": lambda t: numbers((2, 3, 1, 1025), t),
    "channels_last_wide": lambda t: numbers((2, 300, 3, 2), t).contiguous(memory_format=torch.channels_last),
    "one_element": lambda t: numbers((1, 1), t),
    "empty": lambda t: numbers((0, 4), t),
}
by_layout = pytest.mark.parametrize("layout", LAYOUTS)


def assert_equal_gradients(actual: Tensor, expected: Tensor) -> None:
    """Sums in another order differ in their last bits."""
    torch.testing.assert_close(actual, expected, equal_nan=True)


# ---- Values, gradients and what is kept


@by_layout
@by_dtype
def test_values_and_gradients(dtype: torch.dtype, layout: str) -> None:
    x = LAYOUTS[layout](dtype)
    for dim, slope, scale, clamp in product((1, -1), (0.2, -0.7, 0.0, 1.5), (2**0.5, -1.0), (None, 1.25)):
        bias = numbers((x.size(dim),), dtype, seed=1)
        ours = [x.detach().requires_grad_(), bias.clone().requires_grad_()]
        theirs = [x.detach().requires_grad_(), bias.clone().requires_grad_()]
        y = fused_leaky_relu(ours[0], ours[1], slope, scale, clamp=clamp, dim=dim)
        expected = four_operations(theirs[0], theirs[1], slope, scale, clamp, dim)
        assert_same(y.detach(), expected.detach())
        dy = numbers(tuple(x.shape), dtype, seed=2)
        dx, db = torch.autograd.grad(y, ours, dy)
        expected_dx, _ = torch.autograd.grad(expected, theirs, dy)
        assert_same(dx.contiguous(), expected_dx.contiguous())
        others = [i for i in range(x.dim()) if i != dim % x.dim()]
        assert_same(db, expected_dx.sum(others))


@by_layout
def test_strides_are_torchs(layout: str) -> None:
    x = LAYOUTS[layout](torch.float32)
    bias = torch.zeros(x.size(1))
    assert fused_leaky_relu(x, bias).stride() == four_operations(x, bias).stride()


@by_dtype
def test_without_bias(dtype: torch.dtype) -> None:
    x = numbers((3, 70), dtype).requires_grad_()
    y = fused_leaky_relu(x, None, 0.1, 3.0, clamp=2.0)
    expected = four_operations(x, None, 0.1, 3.0, 2.0)
    assert_same(y.detach(), expected.detach())
    dy = numbers((3, 70), dtype, seed=1)
    assert_same(*(torch.autograd.grad(result, x, dy)[0] for result in (y, expected)))


def test_without_bias_scale_and_clamp_it_is_leaky_relu() -> None:
    x = numbers((1000,), torch.float32)
    assert_same(fused_leaky_relu(x, None, 0.2, 1.0), F.leaky_relu(x, 0.2))


@pytest.mark.parametrize("clamp", [0.0, -0.0, 1e-40, math.inf])
def test_odd_clamps(clamp: float) -> None:
    x = numbers((500,), torch.float32).requires_grad_()
    y, expected = fused_leaky_relu(x, None, clamp=clamp), four_operations(x, None, clamp=clamp)
    assert_same(y.detach(), expected.detach())
    assert_same(y.detach(), four_operations(x.detach(), None, clamp=clamp))
    dy = numbers((500,), torch.float32, seed=1)
    assert_same(*(torch.autograd.grad(result, x, dy)[0] for result in (y, expected)))


@pytest.mark.parametrize("slope", [math.inf, -math.inf, math.nan])
@by_dtype
def test_odd_slopes_and_scales(dtype: torch.dtype, slope: float) -> None:
    x = numbers((500,), dtype)
    assert_same(fused_leaky_relu(x, None, slope), four_operations(x, None, slope))
    assert_same(fused_leaky_relu(x, None, 0.2, slope), four_operations(x, None, 0.2, slope))


def kept_bytes(function: Callable[[], Tensor]) -> int:
    blocks = {}

    def keep(tensor: Tensor) -> Tensor:
        blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(blocks.values())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@by_dtype
def test_kept_bits(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 16, 8, 8).to(dtype).to(memory_format=memory_format).requires_grad_()
    bias = torch.zeros(16, dtype=dtype, requires_grad=True)
    assert kept_bytes(lambda: fused_leaky_relu(x, bias)) == x.numel() // 8
    assert kept_bytes(lambda: fused_leaky_relu(x, bias, clamp=1.0)) == x.numel() // 4
    assert kept_bytes(lambda: four_operations(x, bias, clamp=1.0)) >= x.numel() * 4


def test_gradient_of_one_of_them() -> None:
    x, bias = numbers((4, 6), torch.float32, special=False), torch.ones(6)
    (dx,) = torch.autograd.grad(fused_leaky_relu(x.requires_grad_(), bias).sum(), x)
    (db,) = torch.autograd.grad(fused_leaky_relu(x.detach(), bias.requires_grad_()).sum(), bias)
    assert_same(dx, torch.autograd.grad(four_operations(x, bias).sum(), x)[0])
    assert_same(db, torch.autograd.grad(four_operations(x, bias).sum(), bias)[0])


def test_no_gradient_keeps_nothing() -> None:
    x = numbers((4, 6), torch.float32).requires_grad_()
    with torch.no_grad():
        assert not fused_leaky_relu(x).requires_grad
    with torch.inference_mode():
        assert_same(fused_leaky_relu(x.detach(), torch.ones(6)), four_operations(x.detach(), torch.ones(6)))


def test_grad_fn() -> None:
    y = fused_leaky_relu(torch.randn(2, 3, requires_grad=True))
    assert y.grad_fn.name().startswith("FusedLeakyRe")
    assert isinstance(y.grad_fn, torch.autograd.graph.Node)


def test_backward_twice_is_an_error() -> None:
    y = fused_leaky_relu(torch.randn(2, 3, requires_grad=True), clamp=1.0).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_backward_releases_the_bits() -> None:
    x = torch.randn(2, 64, requires_grad=True)
    with recorded() as saved:
        y = fused_leaky_relu(x, clamp=1.0)
    assert saved.bytes() == x.numel() // 4
    y.sum().backward()
    assert saved.bytes() == 0, "while y still has its node"


# ---- Gradients of gradients


@pytest.mark.parametrize("clamp", [None, 0.8])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_gradgradcheck(memory_format: torch.memory_format, clamp: float | None) -> None:
    x = numbers((2, 3, 2, 2), torch.float64, special=False).to(memory_format=memory_format).requires_grad_()
    bias = numbers((3,), torch.float64, seed=1, special=False).requires_grad_()

    def function(x: Tensor, bias: Tensor) -> Tensor:
        return fused_leaky_relu(x, bias, 0.3, 1.7, clamp=clamp)

    assert torch.autograd.gradcheck(function, (x, bias))
    assert torch.autograd.gradgradcheck(function, (x, bias))


@pytest.mark.parametrize("clamp", [None, 0.8])
def test_gradient_penalty(clamp: float | None) -> None:
    """R1: the loss has the gradient of the output in it, and its own gradient reaches every parameter."""

    def gradients(function: Callable[..., Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 1, 3)
        bias = torch.randn(8, requires_grad=True)
        x = torch.randn(2, 3, 9, 9, requires_grad=True)
        score = second(function(first(x), bias, 0.2, 2**0.5, clamp=clamp)).square().sum()
        (dx,) = torch.autograd.grad(score, x, create_graph=True)
        parameters = [*first.parameters(), *second.parameters(), bias]
        return list(torch.autograd.grad(dx.square().sum() + score, parameters, allow_unused=True))

    for actual, expected in zip(gradients(fused_leaky_relu), gradients(four_operations), strict=True):
        assert_equal_gradients(actual, expected)


# ---- The ports


def rosinality(input: Tensor, bias: Tensor | None = None, negative_slope: float = 0.2, scale: float = 2**0.5) -> Tensor:
    """What rosinality/stylegan2-pytorch computes without its extension, as BasicSR and mmcv do: bias along dim 1."""
    if bias is None:
        return F.leaky_relu(input, negative_slope) * scale
    rest = [1] * (input.ndim - bias.ndim - 1)
    return F.leaky_relu(input + bias.view(1, bias.shape[0], *rest), negative_slope) * scale


def nvidia(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """What StyleGAN2-ADA's and StyleGAN3's bias_act computes without its extension."""
    slope, default_gain = {"linear": (None, 1.0), "relu": (0.0, 2**0.5), "lrelu": (0.2, 2**0.5)}[act]
    if b is not None:
        x = x + b.reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    if act == "relu":
        x = F.relu(x)
    elif act == "lrelu":
        x = F.leaky_relu(x, slope if alpha is None else alpha)
    gain = default_gain if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None or clamp < 0 else x.clamp(-clamp, clamp)


def compared(ours: Callable, theirs: Callable, *shapes: tuple[int, ...], **arguments: Any) -> None:
    """Values, gradients and gradients of a penalty on these."""

    def run(function: Callable) -> list[Tensor]:
        given = [numbers(shape, torch.float64, seed, special=False) for seed, shape in enumerate(shapes)]
        given = [tensor.requires_grad_() for tensor in given]
        y = function(*given, **arguments)
        first = torch.autograd.grad(y.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), given)
        return [y, *first, *second]

    for actual, expected in zip(run(ours), run(theirs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 5), (2, 6, 5, 4)], ids=str)
def test_rosinality_and_its_likes(shape: tuple[int, ...]) -> None:
    compared(fused_leaky_relu, rosinality, shape, (shape[1],))
    compared(fused_leaky_relu, rosinality, shape)
    compared(fused_leaky_relu, rosinality, shape, (shape[1],), negative_slope=0.1, scale=1.0)
    assert_same(fused_leaky_relu(torch.ones(shape), None, 0.3, 2), rosinality(torch.ones(shape), None, 0.3, 2))


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 5, 4)], ids=str)
def test_nvidia(shape: tuple[int, ...], act: str) -> None:
    compared(bias_act, nvidia, shape, (shape[1],), act=act)
    compared(bias_act, nvidia, shape, (shape[0],), dim=0, act=act, gain=0.5, clamp=0.7)
    compared(bias_act, nvidia, shape, act=act, alpha=0.3, clamp=-1)
    x, b = numbers(shape, torch.float32, special=False), numbers((shape[1],), torch.float32, 1, special=False)
    assert_same(bias_act(x, b, 1, act, None, 2.0, 0.9, "ref"), nvidia(x, b, 1, act, None, 2.0, 0.9))


class Composed(nn.Module):
    """A port's module, in plain torch."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channel))

    def forward(self, input: Tensor) -> Tensor:
        return four_operations(input, self.bias)


def test_module() -> None:
    module = FusedLeakyReLU(6)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"bias": (6,)}
    assert not module.bias.any()
    assert repr(module) == "FusedLeakyReLU(6, bias=True, negative_slope=0.2, scale=1.4142135623730951)"
    assert not list(FusedLeakyReLU(6, False).parameters())
    positional = FusedLeakyReLU(6, True, 0.1, 2.0)
    assert (positional.negative_slope, positional.scale) == (0.1, 2.0)
    x = torch.randn(2, 6, 3)
    assert_same(FusedLeakyReLU(6, False)(x), rosinality(x))


def test_checkpoints_go_both_ways() -> None:
    ours, theirs = FusedLeakyReLU(6), Composed(6)
    nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 3)
    assert_same(ours(x).detach(), theirs(x).detach())
    theirs.load_state_dict(ours.state_dict())
    for clone in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_same(clone(x).detach(), ours(x).detach())


class Generator(nn.Module):
    """StyleGAN2-like: a constant, convolutions modulated by a style, noise left out."""

    def __init__(self, activation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.style = nn.Linear(5, 8)
        self.convolutions = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
        self.activations = nn.ModuleList(activation(8) for _ in range(2))
        self.to_rgb = nn.Conv2d(8, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.constant * (1 + self.style(z))[:, :, None, None]
        for convolution, activation in zip(self.convolutions, self.activations, strict=True):
            x = activation(convolution(F.interpolate(x, scale_factor=2)))
        return self.to_rgb(x)


def discriminator(activation: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), activation(8), nn.Conv2d(8, 8, 3, 2, 1, bias=False), activation(8),
        nn.Flatten(), nn.Linear(128, 1),
    )  # fmt: skip


def train(activation: Callable[[int], nn.Module], steps: int = 20) -> list[float]:
    torch.manual_seed(0)
    g, d = Generator(activation), discriminator(activation)
    optimisers = [torch.optim.Adam(model.parameters(), 1e-3, (0.0, 0.99)) for model in (g, d)]
    losses = []
    for _ in range(steps):
        real = torch.randn(4, 3, 16, 16, requires_grad=True)
        score = d(real)
        (gradient,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        loss_d = F.softplus(d(g(torch.randn(4, 5)).detach())).mean() + F.softplus(-score).mean()
        loss_d = loss_d + 5 * gradient.square().sum([1, 2, 3]).mean()
        optimisers[1].zero_grad()
        loss_d.backward()
        optimisers[1].step()
        loss_g = F.softplus(-d(g(torch.randn(4, 5)))).mean()
        optimisers[0].zero_grad()
        loss_g.backward()
        optimisers[0].step()
        losses += [loss_d.item(), loss_g.item()]
    return losses


def test_training_with_a_gradient_penalty() -> None:
    assert train(FusedLeakyReLU) == pytest.approx(train(Composed), rel=1e-5)


# ---- Autocast, compilers, transforms


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_bias_is_cast_to_the_inputs_dtype(dtype: torch.dtype) -> None:
    x, bias = numbers((4, 6), dtype), torch.randn(6, requires_grad=True)
    y = fused_leaky_relu(x.requires_grad_(), bias)
    assert y.dtype == dtype
    y.float().sum().backward()
    assert bias.grad.dtype == torch.float32


def test_autocast() -> None:
    x, convolution, module = torch.randn(2, 3, 5, 5), nn.Conv2d(3, 6, 3), FusedLeakyReLU(6)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(convolution(x))
        assert y.dtype == torch.bfloat16
        assert_same(y.detach(), four_operations(convolution(x), module.bias).detach())
    y.float().sum().backward()
    assert module.bias.grad.dtype == torch.float32


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compile(fresh_compiler: None, dynamic: bool) -> None:
    module = FusedLeakyReLU(6)
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (2, 3):
        x = torch.randn(rows, 6, 5, requires_grad=True)
        y = compiled(x)
        assert_same(y.detach(), module(x).detach())
        assert_same(torch.autograd.grad(y.sum(), x)[0], torch.autograd.grad(module(x).sum(), x)[0])


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (RuntimeError, {"bias": torch.ones(1)}),
        (RuntimeError, {"bias": torch.ones(2, 3)}),
        (RuntimeError, {"clamp": -1.0}),
        (IndexError, {"bias": torch.ones(6), "dim": 3}),
    ],
    ids=["of_one", "of_two_dims", "negative_clamp", "no_such_dim"],
)
def test_compiled_calls_are_checked(fresh_compiler: None, error: type[Exception], arguments: dict[str, Any]) -> None:
    x = torch.randn(2, 6, 5)
    with pytest.raises(error) as eager:
        fused_leaky_relu(x, **arguments)
    with pytest.raises(error) as compiled:
        torch.compile(lambda x: fused_leaky_relu(x, **arguments), backend="aot_eager")(x)
    assert str(compiled.value) == str(eager.value)
    with pytest.raises(torch.jit.Error) as scripted:
        torch.jit.script(fused_leaky_relu)(x, **arguments)
    assert f"builtins.{error.__name__}: {eager.value}".replace("-1.0", "-1.") in str(scripted.value)  # TorchScript's 1.


def test_inductor(fresh_compiler: None) -> None:
    compiled = torch.compile(lambda x, b: bias_act(x, b, act="lrelu", clamp=1.0), fullgraph=True)
    x, b = torch.randn(2, 6, 5, requires_grad=True), torch.randn(6, requires_grad=True)
    torch.testing.assert_close(compiled(x, b), four_operations(x, b, clamp=1.0))
    actual, expected = (torch.autograd.grad(f(x, b).sum(), (x, b)) for f in (
        compiled, lambda x, b: four_operations(x, b, clamp=1.0)
    ))  # fmt: skip
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not_strict"])
def test_export(strict: bool) -> None:
    module = FusedLeakyReLU(6)
    program = torch.export.export(module, (torch.randn(2, 6, 5),), strict=strict).run_decompositions({})
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.leaky_relu.default" in names
    assert not any("leakyrelu" in name for name in names)
    x = torch.randn(2, 6, 5)
    assert_same(program.module()(x).detach(), module(x).detach())


@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_compiled_autograd(fresh_compiler: None, memory_format: torch.memory_format, clamp: float | None) -> None:
    for rows in (2, 3):
        x = torch.randn(rows, 3, 4, 5).to(memory_format=memory_format).requires_grad_()
        bias = torch.randn(3, requires_grad=True)
        with torch._dynamo.compiled_autograd._enable(lambda graph: graph):
            fused_leaky_relu(x, bias, clamp=clamp).square().sum().backward()
        expected = torch.autograd.grad(four_operations(x, bias, clamp=clamp).square().sum(), (x, bias))
        assert_same(x.grad.contiguous(), expected[0].contiguous())
        assert_equal_gradients(bias.grad, expected[1])


def test_functional_transforms() -> None:
    x, bias = torch.randn(3, 4, 5), torch.randn(4)

    def loss(function: Callable[..., Tensor], x: Tensor, bias: Tensor) -> Tensor:
        return function(x, bias, clamp=1.5).square().sum()

    for transform in (
        lambda f: torch.func.grad(lambda x: loss(f, x, bias))(x),
        lambda f: torch.func.vmap(lambda x: f(x, bias, clamp=1.5, dim=0))(x),
        lambda f: torch.func.vmap(torch.func.grad(lambda x: loss(f, x.unsqueeze(0), bias)))(x),
        lambda f: torch.func.jvp(lambda x: f(x, bias), (x,), (x,))[1],
        lambda f: torch.func.hessian(lambda b: loss(f, x, b))(bias),
    ):
        assert_equal_gradients(transform(fused_leaky_relu), transform(four_operations))


def test_meta_and_fake_tensors() -> None:
    from torch._subclasses import FakeTensorMode

    y = fused_leaky_relu(torch.empty(2, 3, 4, device="meta"), torch.empty(3, device="meta"), clamp=1.0)
    assert y.device.type == "meta"
    assert y.shape == (2, 3, 4)
    with FakeTensorMode():
        assert fused_leaky_relu(torch.empty(2, 3, 4), torch.empty(3)).shape == (2, 3, 4)


def test_subclasses_keep_their_kind() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    x = TwoTensor(torch.randn(3, 5), torch.randn(3, 5))
    y = fused_leaky_relu(x)
    assert type(y) is TwoTensor
    assert_same(y.a, four_operations(x.a))


def test_script() -> None:
    scripted = torch.jit.script(FusedLeakyReLU(6))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    x = torch.randn(2, 6, 3)
    assert_same(torch.jit.load(file)(x).detach(), FusedLeakyReLU(6)(x).detach())
    assert "leakyrelu::" not in str(scripted.inlined_graph)


def test_opcheck() -> None:
    x, bias = torch.randn(2, 3, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    for arguments in ((x, bias), (x, None, 0.1, 1.0, 0.5), (x, bias, 0.1, 1.0, 0.5, 1)):
        torch.library.opcheck(torch.ops.leakyrelu.fused_leaky_relu.default, arguments)


# ---- Errors: see also test_torch_bad_calls.py


@by_dtype
def test_numbers_too_large_for_float32(dtype: torch.dtype) -> None:
    """torch's multiplication takes them for infinite; its leaky_relu and its clamp refuse them."""
    x = numbers((50,), dtype).requires_grad_()
    dy = numbers((50,), dtype, seed=1)
    for scale in (1e39, -1e39):
        y, expected = fused_leaky_relu(x, None, 0.2, scale), four_operations(x, None, 0.2, scale)
        assert_same(y.detach(), expected.detach())
        assert_same(*(torch.autograd.grad(result, x, dy)[0] for result in (y, expected)))
    if dtype != torch.float64:
        with pytest.raises(RuntimeError):
            fused_leaky_relu(x, None, 1e39)
        with pytest.raises(RuntimeError):
            fused_leaky_relu(x, None, clamp=1e39)
