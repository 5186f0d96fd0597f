"""Proves that under torch.compile nothing is kept for LeakyReLU but its result, which the next layer keeps anyway.

So for the fused operation, which keeps a byte per element besides where it has a clamp.

Bytes are counted as blocks of memory that autograd holds, in tensors of a layer's size. Unless a test says "inductor",
the compiler's last step, by a C++ compiler, is left out: what is kept has been decided before.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
import torch.autograd.forward_ad as fwAD
import torch.nn.functional as F
from tensor_cases import assert_same, four_operations
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leakyrelu.torch import LeakyReLU, convert, fused_leaky_relu, leaky_relu, patched, saved_bytes

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS = 3
BACKEND = "aot_eager_decomp_partition"
SHAPE = (2, 4, 16, 16)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Chain(nn.Module):
    """Convolutions with an activation after each but the last, or before each in a residual block."""

    def __init__(self, activation: Callable[[Tensor], Tensor], residual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolutions = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(LAYERS))
        self.activation, self.residual = activation, residual

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = convolution(self.activation(x)) + x if self.residual else self.activation(convolution(x))
        return x


native = partial(F.leaky_relu, negative_slope=0.1)
ours = partial(leaky_relu, negative_slope=0.1)


def data(dtype: torch.dtype = torch.float32, batch: int = SHAPE[0]) -> Tensor:
    x = torch.randn(batch, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    return x.to(dtype).requires_grad_()


def step(model: nn.Module, x: Tensor) -> tuple[list[Tensor], float]:
    """The output and all gradients, and the large tensors that were kept, in units of x."""
    sizes = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.nbytes() >= x.numel():  # a byte per element or more, so no parameters and no statistics
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = model(x)
    gradients = torch.autograd.grad(y, [x, *model.parameters()], torch.cos(data(y.dtype)).detach())
    return [y.detach(), *gradients], sum(sizes.values()) / x.untyped_storage().nbytes()


def compare(
    make: Callable[[Callable[[Tensor], Tensor]], nn.Module],
    x: Tensor,
    activations: tuple[Callable[[Tensor], Tensor], ...] = (native, ours),
    **options,
) -> tuple[float, float]:
    """What is kept by torch's own and by ours, compiled, after their results have been compared bit for bit."""
    results = []
    for activation in activations:
        torch._dynamo.reset()
        results.append(step(torch.compile(make(activation), **{"backend": BACKEND} | options), x))
    for actual, expected in zip(results[1][0], results[0][0], strict=True):
        assert_same(actual, expected)
    return results[0][1], results[1][1]


# ---- What is kept


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", [BACKEND, "inductor"])
def test_plain_chain(backend: str, dynamic: bool) -> None:
    """What convolutions see; torch keeps a byte per element more for each activation, ours for the last alone."""
    kept_by_torch, kept = compare(Chain, data(), fullgraph=True, dynamic=dynamic, backend=backend)
    assert kept == LAYERS + 0.25
    assert kept_by_torch == LAYERS + 0.25 * LAYERS


def test_residual_chain() -> None:
    kept_by_torch, kept = compare(partial(Chain, residual=True), data(), fullgraph=True)
    assert kept < kept_by_torch


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    kept_by_torch, kept = compare(lambda f: Chain(f).to(dtype), data(dtype), fullgraph=True)
    assert kept < kept_by_torch


def test_autocast() -> None:
    class Autocast(Chain):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    kept_by_torch, kept = compare(Autocast, data(), fullgraph=True)
    assert kept < kept_by_torch


def test_several_graphs() -> None:
    class Broken(Chain):
        def forward(self, x: Tensor) -> Tensor:
            for convolution in self.convolutions:
                x = self.activation(convolution(x))
                torch._dynamo.graph_break()
            return x

    kept_by_torch, kept = compare(Broken, data())
    assert kept < kept_by_torch


def test_in_place() -> None:
    """torch's own keeps the result there, and so does ours."""
    inplace = partial(F.leaky_relu, negative_slope=0.1, inplace=True)
    torch._dynamo.reset()
    expected, kept_by_torch = step(torch.compile(Chain(inplace), backend=BACKEND, fullgraph=True), data())
    torch._dynamo.reset()
    actual, kept = step(torch.compile(Chain(partial(ours, inplace=True)), backend=BACKEND, fullgraph=True), data())
    for a, b in zip(actual, expected, strict=True):
        assert_same(a, b)
    assert kept == kept_by_torch == LAYERS + 0.25


def test_checkpoint_inside() -> None:
    class Checkpointed(Chain):
        def forward(self, x: Tensor) -> Tensor:
            for convolution in self.convolutions:
                x = checkpoint(lambda x, layer=convolution: self.activation(layer(x)), x, use_reentrant=False)
            return x

    kept_by_torch, kept = compare(Checkpointed, data(), fullgraph=True)
    assert kept <= kept_by_torch


@pytest.mark.parametrize("way", ["converted", "patched"])
def test_every_way_to_ours(way: str) -> None:
    x = data()
    expected, _ = step(torch.compile(Chain(nn.LeakyReLU(0.1)), backend=BACKEND, fullgraph=True), x)
    torch._dynamo.reset()
    if way == "converted":
        actual, kept = step(torch.compile(convert(Chain(nn.LeakyReLU(0.1))), backend=BACKEND, fullgraph=True), x)
    else:
        with patched():
            actual, kept = step(torch.compile(Chain(nn.LeakyReLU(0.1)), backend=BACKEND, fullgraph=True), x)
    for a, b in zip(actual, expected, strict=True):
        assert_same(a, b)
    assert kept == LAYERS + 0.25


def test_saved_bytes_of_a_compiled_model() -> None:
    report = saved_bytes(torch.compile(Chain(LeakyReLU(0.1)), backend=BACKEND), data())
    assert report.ours < report.torch


def test_default_device_changes_nothing() -> None:
    with torch.device("cpu"):
        kept_by_torch, kept = compare(Chain, data(), fullgraph=True)
    assert kept < kept_by_torch


# ---- When it is torch's own


@pytest.mark.parametrize("slope", [-0.3, float("nan")])
def test_slopes_that_the_result_does_not_tell(slope: float) -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0, float("nan"), float("inf"), -float("inf")], requires_grad=True)

    def gradient(function: Callable) -> Tensor:
        compiled = torch.compile(lambda x: function(x, slope), fullgraph=True, backend=BACKEND)
        return torch.autograd.grad(compiled(x).sum(), x)[0]

    assert_same(gradient(leaky_relu), gradient(F.leaky_relu))


@pytest.mark.parametrize("backend", [BACKEND, "inductor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_every_kind_of_number(dtype: torch.dtype, backend: str) -> None:
    """y > 0 is x > 0, where y overflows or underflows too."""
    largest, smallest = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    numbers = [0.0, smallest * torch.finfo(dtype).eps, smallest, 1.0, largest, float("inf")]
    x = torch.tensor([sign * n for n in numbers for sign in (1, -1)] + [float("nan")], dtype=dtype).requires_grad_()
    dy = torch.tensor([1.0, -2.0, float("nan")], dtype=dtype)[torch.arange(len(x)) % 3]
    slopes = (0.0, -0.0, 0.01, 1, 3.0, float("inf"))

    def run(function: Callable) -> list[Tensor]:
        torch._dynamo.reset()
        compiled = torch.compile(lambda x: [function(x, slope) for slope in slopes], fullgraph=True, backend=backend)
        results = compiled(x)
        gradients = [torch.autograd.grad(y, x, dy, retain_graph=True)[0] for y in results]
        return [y.detach() for y in results] + gradients

    for actual, expected in zip(run(leaky_relu), run(F.leaky_relu), strict=True):
        assert_same(actual, expected)


def test_functional_transforms_inside() -> None:
    def run(function: Callable, x: Tensor) -> list[Tensor]:
        def loss(x: Tensor) -> Tensor:
            return function(x, 0.1).square().sum()

        return [
            torch.func.grad(loss)(x),
            torch.func.vmap(torch.func.grad(loss))(x),
            torch.func.jvp(loss, (x,), (x,))[1],
        ]

    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    for given in (x, x.clone().requires_grad_()):
        actual = torch.compile(partial(run, leaky_relu), backend="aot_eager")(given)
        for a, b in zip(actual, run(F.leaky_relu, given), strict=True):
            assert_same(a.detach(), b.detach())


def test_subclasses_keep_their_kind() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    x = TwoTensor(torch.randn(3, 5), torch.randn(3, 5))
    y = torch.compile(lambda x: leaky_relu(x, 0.1), fullgraph=True, backend="aot_eager")(x)
    assert type(y) is TwoTensor
    assert_same(y.a, F.leaky_relu(x.a, 0.1))
    assert_same(y.b, F.leaky_relu(x.b, 0.1))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not_strict"])
def test_aot_inductor_and_export_see_one_operator(strict: bool) -> None:
    program = torch.export.export(Chain(LeakyReLU(0.1)), (data(),), strict=strict).run_decompositions({})
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names.count("aten.leaky_relu.default") == LAYERS
    assert "aten.clone.default" not in names


# ---- The fused operation


class Biased(nn.Module):
    def __init__(self, function: Callable, clamp: float | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(2)))
        self.function, self.clamp = function, clamp

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.bias, clamp=self.clamp)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", [BACKEND, "inductor"])
@pytest.mark.parametrize("clamp", [None, 1.0])
def test_fused_chain(clamp: float | None, backend: str, dynamic: bool) -> None:
    """A byte per element is kept for the last one's sign, and one each for a clamp; torch keeps them for all."""
    activations = Biased(four_operations, clamp), Biased(fused_leaky_relu, clamp)
    kept_by_torch, kept = compare(Chain, data(), activations, fullgraph=True, dynamic=dynamic, backend=backend)
    bytes_of_clamp = 0 if clamp is None else 0.25 * LAYERS
    assert kept == LAYERS + 0.25 + bytes_of_clamp
    assert kept_by_torch == LAYERS + 0.25 * LAYERS + bytes_of_clamp


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_fused_chain_of_half_precision(dtype: torch.dtype) -> None:
    activations = Biased(four_operations), Biased(fused_leaky_relu)
    kept_by_torch, kept = compare(lambda f: Chain(f).to(dtype), data(dtype), activations, fullgraph=True)
    assert kept < kept_by_torch


@pytest.mark.parametrize("backend", [BACKEND, "inductor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_fused_on_every_kind_of_number(dtype: torch.dtype, backend: str) -> None:
    """The result's sign is that of input + bias where it must be, and is not asked where it is not."""
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps
    numbers = [0.0, least, 2 * least, info.smallest_normal, 0.5, 1.0, 3.0, info.max, math.inf]
    x = torch.tensor([sign * n for n in numbers for sign in (1, -1)] + [math.nan], dtype=dtype).repeat(3, 1)
    bias = torch.tensor([0.0, least, -1.0], dtype=dtype)
    dy = torch.tensor([1.0, -2.0, math.nan, -0.0], dtype=dtype)[torch.arange(x.numel()) % 4].view_as(x)
    calls: list[tuple[float, float, float | None]] = [(0.2, 1.0, None), (0.0, 1.5, None), (3.0, 1.5, 1.5)]
    calls.append((0.2, 1.5, 1e-10))
    calls += [(0.2, 0.5, None), (-0.3, 1.5, 1.0), (math.nan, 1.5, None), (math.inf, 1.5, 1e-10)]  # torch's own
    if backend == BACKEND:
        calls.append((0.2, 1.5, 0.0))  # where Inductor's own clamp loses the sign of zeros

    def run(function: Callable) -> list[Tensor]:
        torch._dynamo.reset()
        arguments = x.clone().requires_grad_(), bias.clone().requires_grad_()
        compiled = torch.compile(
            lambda x, bias: [function(x, bias, s, k, clamp=clamp, dim=0) for s, k, clamp in calls],
            fullgraph=True,
            backend=backend,
        )
        results = compiled(*arguments)
        gradients = [torch.autograd.grad(y, arguments, dy, retain_graph=True) for y in results]
        return [y.detach() for y in results] + [gradient for pair in gradients for gradient in pair]

    for actual, expected in zip(run(fused_leaky_relu), run(four_operations), strict=True):
        assert_same(actual, expected)


def _step(function: Callable, x: Tensor, bias: Tensor) -> object:
    arguments = [t for t in (x, bias) if t.requires_grad]
    y = torch.compile(function, backend="aot_eager", fullgraph=True)(x, bias)
    return y, torch.autograd.grad(y.square().sum(), arguments) if arguments else None


def _second_derivative(function: Callable, x: Tensor, bias: Tensor) -> object:
    y = torch.compile(function, backend="eager", fullgraph=True)(x, bias)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    return torch.autograd.grad(gradient.square().sum(), (x, bias))


def _inside(transform: Callable) -> Callable:
    def run(function: Callable, x: Tensor, bias: Tensor) -> object:
        return torch.compile(partial(transform, function), backend="aot_eager", fullgraph=True)(x, bias)

    return run


def _dual(function: Callable, x: Tensor, bias: Tensor) -> object:
    with fwAD.dual_level():
        result = fwAD.unpack_dual(function(fwAD.make_dual(x, 2 * x), bias))
        return result.primal, result.tangent


WAYS: dict[str, Callable[[Callable, Tensor, Tensor], object]] = {
    "input_and_bias": _step,
    "input_alone": lambda f, x, bias: _step(f, x, bias.detach()),
    "bias_alone": lambda f, x, bias: _step(f, x.detach(), bias),
    "neither": lambda f, x, bias: _step(f, x.detach(), bias.detach()),
    "bias_of_another_dtype": lambda f, x, bias: _step(f, x, bias.detach().double().requires_grad_()),
    "second_derivative": _second_derivative,
    "checkpoint": lambda f, x, bias: _step(partial(checkpoint, f, use_reentrant=False), x, bias),
    "jvp": _inside(lambda f, x, bias: torch.func.jvp(lambda x: f(x, bias), (x,), (x,))),
    "vmap": _inside(lambda f, x, bias: torch.func.vmap(lambda bias: f(x, bias))(torch.stack((bias, -bias)))),
    "grad": _inside(lambda f, x, bias: torch.func.grad(lambda x: f(x, bias).square().sum())(x)),
    "hessian": _inside(lambda f, x, bias: torch.func.hessian(lambda bias: f(x, bias).square().sum())(bias)),
    "dual": _inside(_dual),
}


@pytest.mark.parametrize("clamp", [None, 1.0])
@pytest.mark.parametrize("way", WAYS)
def test_fused_in_every_way(way: str, clamp: float | None) -> None:
    def run(function: Callable) -> list[Tensor]:
        torch._dynamo.reset()
        x, bias = data().detach().requires_grad_(), torch.linspace(-1, 1, 4).requires_grad_()
        results = WAYS[way](lambda x, bias: function(x, bias, clamp=clamp), x, bias)
        return [leaf for leaf in torch.utils._pytree.tree_leaves(results) if leaf is not None]

    for actual, expected in zip(run(fused_leaky_relu), run(four_operations), strict=True):
        assert_same(actual.detach(), expected.detach())
