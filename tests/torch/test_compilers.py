"""Proves that compilers, exporters and tracers see torch's own operator and its results.

What torch.compile keeps for the backward is in test_compiled_bytes.py.
"""

import contextlib
import copy
import io
import shutil
from collections.abc import Callable, Iterator

import pytest
import torch
import torch._dynamo.compiled_autograd
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor, nn

from leakyrelu.torch import LeakyReLU, convert, leaky_relu, leaky_relu_, patched

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Recorder:
    """A compiler's backend that keeps the graphs of forward and backward."""

    def __init__(self) -> None:
        from torch._dynamo.backends.common import aot_autograd

        self.operators: list[str] = []
        self.backend = aot_autograd(fw_compiler=self.record, bw_compiler=self.record)

    def record(self, graph: torch.fx.GraphModule, inputs: list) -> Callable:
        from functorch.compile import make_boxed_func

        self.operators += [str(n.target) for n in graph.graph.nodes if n.op == "call_function"]
        return make_boxed_func(graph.forward)

    def check(self, *expected: str) -> None:
        for name in expected:
            assert f"aten.{name}.default" in self.operators
        assert not any("leakyrelu" in name for name in self.operators)


def model(activation: type[nn.Module] = nn.LeakyReLU, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), activation(0.2, inplace), nn.Linear(8, 3), activation(0.2, inplace))


def data(rows: int = 5) -> Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(1))


# Everything by which a model may come to ours.
WAYS = {
    "module": (lambda: model(LeakyReLU), contextlib.nullcontext),
    "converted": (lambda: convert(model()), contextlib.nullcontext),
    "patched": (model, patched),
}
by_way = pytest.mark.parametrize("way", WAYS)
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])


# ---- torch.compile


@by_way
@pytest.mark.parametrize("dynamic", [False, True, None], ids=["static", "dynamic", "automatic"])
def test_compiled_model(dynamic: bool | None, way: str) -> None:
    make, context = WAYS[way]
    recorder = Recorder()
    with context():
        ours = torch.compile(make(), fullgraph=True, backend=recorder.backend, dynamic=dynamic)
        for rows in (5, 7):
            x, native_x = data(rows).requires_grad_(), data(rows).requires_grad_()
            y = ours(x)
            y.sum().backward()
            expected = model()(native_x)
            expected.sum().backward()
            torch.testing.assert_close(y, expected)
            torch.testing.assert_close(x.grad, native_x.grad)
    recorder.check("leaky_relu")


def test_compiled_model_without_a_gradient_has_the_graph_of_the_original() -> None:
    graphs = []
    for make in (model, lambda: model(LeakyReLU), lambda: convert(model())):
        torch._dynamo.reset()
        recorder = Recorder()
        compiled = torch.compile(make().requires_grad_(False), fullgraph=True, backend=recorder.backend)
        compiled(data())
        graphs.append(recorder.operators)
    assert graphs[0] == graphs[1] == graphs[2]


@by_inplace
@pytest.mark.parametrize("slope", [0.3, -0.3])
@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
def test_compiled_function(requires_grad: bool, slope: float, inplace: bool) -> None:
    recorder = Recorder()
    compiled = torch.compile(lambda x: leaky_relu(x * 2, slope, inplace), fullgraph=True, backend=recorder.backend)
    x = data().requires_grad_(requires_grad)
    y = compiled(x)
    assert_same(y.detach(), F.leaky_relu(x.detach() * 2, slope))
    recorder.check("leaky_relu")
    if requires_grad:
        dy = data(5).neg()
        (dx,) = torch.autograd.grad(y, x, dy)
        assert_same(dx, torch.autograd.grad(F.leaky_relu(x * 2, slope), x, dy)[0])


@pytest.mark.parametrize("slope", [0.3, -0.3])
def test_compiled_in_place_changes_the_argument(slope: float) -> None:
    recorder = Recorder()
    compiled = torch.compile(lambda x: leaky_relu_(x, slope), fullgraph=True, backend=recorder.backend)
    x = data()
    expected = F.leaky_relu(x, slope)
    compiled(x)
    assert_same(x, expected)


def test_compiled_patched_function() -> None:
    recorder = Recorder()
    with patched():
        compiled = torch.compile(lambda x: F.leaky_relu(x, 0.3), fullgraph=True, backend=recorder.backend)
        assert_same(compiled(data()), leaky_relu(data(), 0.3))
    recorder.check("leaky_relu")


def test_compiled_while_patched_runs_on_afterwards() -> None:
    compiled = torch.compile(model(), backend="aot_eager")
    with patched():
        inside = compiled(data())
    assert_same(compiled(data()), inside)


def test_slope_that_changes_between_calls() -> None:
    compiled = torch.compile(leaky_relu, fullgraph=True, backend="aot_eager")
    for slope in (0.1, 0.2, -0.3, 2, float("inf")):
        assert_same(compiled(data(), slope), F.leaky_relu(data(), slope))


def test_graph_break_around_it() -> None:
    def run(x: Tensor) -> Tensor:
        y = leaky_relu(x, 0.3)
        torch._dynamo.graph_break()
        return leaky_relu(y - 1, 0.3)

    compiled = torch.compile(run, backend="aot_eager")
    assert_same(compiled(data()), F.leaky_relu(F.leaky_relu(data(), 0.3) - 1, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_inductor(dtype: torch.dtype) -> None:
    """The default backend, by a C++ compiler, forward and backward."""

    def run(function: Callable, x: Tensor) -> tuple[Tensor, Tensor]:
        y = function(x)
        (dx,) = torch.autograd.grad(y.float().square().sum(), x)
        return y, dx

    ours = torch.compile(lambda x: leaky_relu(x, 0.3), fullgraph=True)
    x = torch.randn(3, 70).to(dtype).requires_grad_()
    for actual, expected in zip(run(ours, x), run(lambda x: F.leaky_relu(x, 0.3), x), strict=True):
        torch.testing.assert_close(actual, expected)


def test_functions_inside_compiled_regions_that_dynamo_skips() -> None:
    @torch.compiler.disable
    def eager(x: Tensor) -> Tensor:
        y = leaky_relu(x, 0.3)
        assert y.grad_fn.name() == "LeakyReluMaskBackward"
        return y

    compiled = torch.compile(lambda x: eager(x) * 2, backend="aot_eager")
    x = data().requires_grad_()
    compiled(x).sum().backward()
    assert x.grad is not None


@by_inplace
@pytest.mark.parametrize("slope", [0.3, -0.4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_compiled_autograd(memory_format: torch.memory_format, slope: float, inplace: bool) -> None:
    """Compiles the backward of an eager forward, hand-written nodes included."""
    for rows in (2, 3):
        x = torch.randn(rows, 3, 4, 5).to(memory_format=memory_format).requires_grad_()
        y = leaky_relu(x * 2, slope, inplace) ** 2
        with torch._dynamo.compiled_autograd._enable(lambda graph: graph):
            y.sum().backward()
        expected = torch.autograd.grad((F.leaky_relu(x * 2, slope) ** 2).sum(), x)[0]
        assert_same(x.grad.contiguous(), expected.contiguous())


def test_compiled_autograd_keeps_programs_apart() -> None:
    """One compiled for a slope or an order of dims is not used for another."""
    cases = [(0.1, (0, 1, 2)), (0.2, (0, 1, 2)), (0.1, (2, 0, 1)), (0.1, (1, 2, 0))]
    for slope, order in cases * 2:
        x = torch.randn(3, 3, 3).permute(order).requires_grad_()
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
            leaky_relu(x, slope).sum().backward()
        expected = torch.autograd.grad(F.leaky_relu(x, slope).sum(), x)[0]
        assert_same(x.grad.contiguous(), expected.contiguous())


def test_make_fx() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    def run(x: Tensor) -> Tensor:
        return torch.autograd.grad(leaky_relu(x, 0.3).sum(), x)[0]

    for tracing_mode in ("real", "fake", "symbolic"):
        graph = make_fx(run, tracing_mode=tracing_mode)(data().requires_grad_())
        names = [str(n.target) for n in graph.graph.nodes if n.op == "call_function"]
        assert "aten.leaky_relu.default" in names
        assert "aten.leaky_relu_backward.default" in names
        assert not any("leakyrelu" in name for name in names)


def test_make_fx_of_a_backward() -> None:
    """The graph of a backward traced apart from its forward is right for other values too."""
    from torch.fx.experimental.proxy_tensor import make_fx

    x = data().requires_grad_()
    y = leaky_relu(x, 0.3)
    graph = make_fx(lambda dy: torch.autograd.grad(y, x, dy, retain_graph=True)[0])(torch.ones(5, 4))
    dy = data().neg()
    expected = torch.autograd.grad(F.leaky_relu(x, 0.3), x, dy)[0]
    torch.testing.assert_close(graph(dy), expected, rtol=0, atol=0)


# ---- torch.export, ONNX


def exported_operators(program) -> list[str]:
    return [str(n.target) for n in program.graph.nodes if n.op == "call_function"]


@by_way
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not_strict"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_export(dynamic: bool, strict: bool, way: str) -> None:
    make, context = WAYS[way]
    shapes = ({0: torch.export.Dim("rows")},) if dynamic else None
    with context():
        program = torch.export.export(make(), (data(),), strict=strict, dynamic_shapes=shapes)
    names = exported_operators(program)
    assert names.count("aten.leaky_relu.default") == 2
    assert not any("leakyrelu" in name for name in names)
    rows = 9 if dynamic else 5
    torch.testing.assert_close(program.module()(data(rows)), model()(data(rows)))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not_strict"])
def test_export_in_place(strict: bool) -> None:
    program = torch.export.export(model(LeakyReLU, True), (data(),), strict=strict)
    names = exported_operators(program.run_decompositions({}))
    assert names.count("aten.leaky_relu.default") == 2
    torch.testing.assert_close(program.module()(data()), model()(data()))


def test_exported_program_can_be_saved_and_loaded() -> None:
    file = io.BytesIO()
    torch.export.save(torch.export.export(model(LeakyReLU), (data(),)), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(data()), model()(data()))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs g++")
def test_aot_inductor(tmp_path) -> None:
    program = torch.export.export(model(LeakyReLU), (data(),))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "model.pt2"))
    torch.testing.assert_close(torch._inductor.aoti_load_package(package)(data()), model()(data()))


@by_way
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_onnx(dynamo: bool, way: str, tmp_path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    make, context = WAYS[way]
    path = tmp_path / "model.onnx"
    with context():
        torch.onnx.export(make().eval(), (data(),), path, dynamo=dynamo, input_names=["x"], verbose=False)
    program = onnx.load(path)
    kinds = [node.op_type for node in program.graph.node]
    assert kinds.count("LeakyRelu") == 2
    (y,) = ReferenceEvaluator(program).run(None, {"x": data().numpy()})
    torch.testing.assert_close(torch.from_numpy(y), model()(data()).detach())


# ---- TorchScript


def script_operators(scripted) -> str:
    return str(scripted.inlined_graph)


@by_inplace
@by_way
def test_script(way: str, inplace: bool) -> None:
    make, context = WAYS[way]
    with context():
        scripted = torch.jit.script(make() if not inplace else convert(model(inplace=True)))
    assert "aten::leaky_relu" in script_operators(scripted)
    assert "leakyrelu::" not in script_operators(scripted)
    assert_same(scripted(data()), model()(data()))


def test_script_leaves_the_model_as_it_was() -> None:
    eager = model(LeakyReLU)
    torch.jit.script(eager)
    assert type(eager[1]) is LeakyReLU
    assert type(eager[3]) is LeakyReLU


def test_script_of_the_module_alone() -> None:
    scripted = torch.jit.script(LeakyReLU(0.3))
    assert_same(scripted(data()), F.leaky_relu(data(), 0.3))


def test_script_of_functions() -> None:
    def run(x: Tensor) -> Tensor:
        return leaky_relu_(leaky_relu(x, 0.3) - 1, 0.2)

    scripted = torch.jit.script(run)
    expected = F.leaky_relu(F.leaky_relu(data(), 0.3) - 1, 0.2)
    assert_same(scripted(data()), expected)


def test_script_of_a_patched_function() -> None:
    def run(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.3)

    with patched():
        scripted = torch.jit.script(run)
    assert_same(scripted(data()), F.leaky_relu(data(), 0.3))


def test_scripted_model_can_be_saved_and_loaded() -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(model(LeakyReLU)), file)
    file.seek(0)
    assert_same(torch.jit.load(file)(data()), model()(data()))


def test_gradient_of_a_scripted_model() -> None:
    scripted = torch.jit.script(model(LeakyReLU))
    expected = model()(data().requires_grad_())
    for _ in range(3):  # the profiling executor optimises later calls
        x, native_x = data().requires_grad_(), data().requires_grad_()
        scripted(x).sum().backward()
        model()(native_x).sum().backward()
        torch.testing.assert_close(x.grad, native_x.grad)
    assert_same(scripted(data()).detach(), expected.detach())


@by_inplace
@by_way
def test_trace(way: str, inplace: bool) -> None:
    make, context = WAYS[way]
    with context():
        traced = torch.jit.trace(make() if not inplace else convert(model(inplace=True)), data())
    assert "aten::leaky_relu" in script_operators(traced)
    assert "leakyrelu::" not in script_operators(traced)
    assert_same(traced(data(9)), model()(data(9)))


def test_trace_leaves_the_model_as_it_was() -> None:
    eager = model(LeakyReLU)
    torch.jit.trace(eager, data())
    assert type(eager[1]) is LeakyReLU


def test_trace_of_a_function() -> None:
    traced = torch.jit.trace(lambda x: leaky_relu(x, 0.3), data())
    assert "aten::leaky_relu" in str(traced.graph)
    assert_same(traced(data(9)), F.leaky_relu(data(9), 0.3))


# ---- torch.fx and quantisation


@by_way
def test_symbolic_trace(way: str) -> None:
    make, context = WAYS[way]
    with context():
        eager = make()
        traced = torch.fx.symbolic_trace(eager)
        assert_same(traced(data()), model()(data()))
    assert "leakyrelu" not in traced.code
    assert_same(copy.deepcopy(traced)(data()), model()(data()))


def test_symbolic_trace_of_a_function() -> None:
    traced = torch.fx.symbolic_trace(lambda x: leaky_relu(x, negative_slope=0.3))
    (node,) = [n for n in traced.graph.nodes if n.op == "call_function"]
    assert node.target is F.leaky_relu
    assert_same(traced(data()), F.leaky_relu(data(), 0.3))


def test_symbolic_trace_with_a_symbolic_slope() -> None:
    traced = torch.fx.symbolic_trace(lambda x, slope: leaky_relu(x, slope))
    assert_same(traced(data(), 0.3), F.leaky_relu(data(), 0.3))


@by_inplace
def test_symbolic_trace_in_place(inplace: bool) -> None:
    traced = torch.fx.symbolic_trace(lambda x: leaky_relu(x * 1, 0.3, inplace))
    assert_same(traced(data()), F.leaky_relu(data(), 0.3))


def test_symbolic_trace_in_place_negative() -> None:
    traced = torch.fx.symbolic_trace(lambda x: leaky_relu(x * 1, -0.3, True))
    assert_same(traced(data()), F.leaky_relu(data(), -0.3))


def test_symbolic_trace_of_the_module_finds_torchs_function() -> None:
    """A tracer knows torch's own modules as leaves and looks into all others, ours included."""
    traced = torch.fx.symbolic_trace(model(LeakyReLU))
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [F.leaky_relu] * 2
    assert_same(traced(data()), model()(data()))


@by_way
def test_fx_quantisation(way: str) -> None:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    def quantised(make: Callable) -> Tensor:
        prepared = prepare_fx(make().eval(), get_default_qconfig_mapping("x86"), (data(),))
        prepared(data(50))
        converted = convert_fx(prepared)
        return converted(data())

    make, context = WAYS[way]
    expected = quantised(model)
    with context():
        actual = quantised(make)
    assert_same(actual, expected)


def test_eager_quantisation() -> None:
    """torch swaps modules by exact class there, so ours stays; it takes quantised tensors too."""
    from torch.ao.quantization import DeQuantStub, QuantStub, default_qconfig, prepare
    from torch.ao.quantization import convert as quantise

    def quantised(activation: type[nn.Module]) -> Tensor:
        whole = nn.Sequential(QuantStub(), model(activation), DeQuantStub()).eval()
        whole.qconfig = default_qconfig
        prepared = prepare(whole)
        prepared(data(50))
        return quantise(prepared)(data())

    torch.testing.assert_close(quantised(LeakyReLU), quantised(nn.LeakyReLU), rtol=0, atol=0.03)


# ---- Autocast


@by_way
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: torch.dtype, way: str) -> None:
    make, context = WAYS[way]

    def run(network: nn.Module) -> list[Tensor]:
        x = data().requires_grad_()
        with torch.autocast("cpu", dtype):
            y = network(x)
        y.float().square().sum().backward()
        return [y, x.grad, *(p.grad for p in network.parameters())]

    with context():
        actual = run(make())
    for ours, native in zip(actual, run(model()), strict=True):
        assert_same(ours, native)


def test_autocast_does_not_cast_the_input_itself() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert leaky_relu(data()).dtype == torch.float32
        assert leaky_relu(data().half()).dtype == torch.float16


def test_autocast_does_not_switch_the_mask_off() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        y = leaky_relu(data().requires_grad_())
    assert y.grad_fn.name() == "LeakyReluMaskBackward"


def test_grad_scaler_and_optimiser_step() -> None:
    def train(activation: type[nn.Module]) -> list[Tensor]:
        network = model(activation)
        optimiser = torch.optim.Adam(network.parameters())
        scaler = torch.amp.GradScaler("cpu")
        for _ in range(3):
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = network(data()).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
        return [p.detach() for p in network.parameters()]

    for ours, native in zip(train(LeakyReLU), train(nn.LeakyReLU), strict=True):
        assert_same(ours, native)
