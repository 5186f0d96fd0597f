"""Proves that gradients of any order are torch's, whatever form they arrive in and whoever asks."""

import threading
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import DTYPES, assert_same, filled, specials
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef

from leakyrelu.torch import LeakyReLU, leaky_relu, leaky_relu_

SLOPE = 0.3
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])
by_slope = pytest.mark.parametrize("slope", [0.3, -0.3])


def native(x: Tensor, slope: float = SLOPE, inplace: bool = False) -> Tensor:
    return F.leaky_relu(x, slope)


def ours(x: Tensor, slope: float = SLOPE, inplace: bool = False) -> Tensor:
    return leaky_relu(x * 1, slope, inplace) if inplace else leaky_relu(x, slope)


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


# ---- Higher orders


@by_inplace
@by_slope
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_derivatives_of_every_order(dtype: torch.dtype, order: int, slope: float, inplace: bool) -> None:
    x = leaf(50, dtype=dtype)

    def derivative(function) -> Tensor:
        value = (function(x**3, slope, inplace) ** 2).sum()
        for _ in range(order):
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.sum()
        return gradient

    assert_same(derivative(ours), derivative(native))


@by_slope
def test_second_derivative_by_the_incoming_gradient(slope: float) -> None:
    """The backward is linear in the incoming gradient, with the same mask."""

    def double_backward(function) -> tuple[Tensor, ...]:
        x, dy = leaf(4, 5), leaf(4, 5).detach().neg().requires_grad_()
        (dx,) = torch.autograd.grad(function(x, slope), x, dy, create_graph=True)
        (ddy,) = torch.autograd.grad(dx, dy, torch.ones_like(dx) * 3, create_graph=True)
        return dx, ddy

    for actual, expected in zip(double_backward(ours), double_backward(native), strict=True):
        assert_same(actual, expected)


def test_gradient_penalty() -> None:
    """The R1 step: a gradient's norm is part of what is minimised."""

    def step(activation: type[nn.Module]) -> list[Tensor]:
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Conv2d(1, 4, 3), activation(0.2), nn.Conv2d(4, 4, 3), activation(0.2), nn.Flatten())
        image = torch.randn(2, 1, 8, 8, requires_grad=True)
        score = critic(image).sum()
        (gradient,) = torch.autograd.grad(score, image, create_graph=True)
        (score + gradient.square().sum()).backward()
        return [p.grad for p in critic.parameters()]

    for actual, expected in zip(step(LeakyReLU), step(nn.LeakyReLU), strict=True):
        assert_same(actual, expected)


# ---- The form in which a gradient arrives

SHAPE = (2, 3, 4, 5)
INPUTS = {
    "contiguous": lambda: torch.randn(SHAPE),
    "channels_last": lambda: torch.randn(SHAPE).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(5, 4, 3, 2).permute(3, 2, 1, 0),
    "gaps": lambda: torch.randn(2, 3, 4, 10)[..., ::2],
    "expanded": lambda: torch.randn(2, 1, 4, 1).expand(SHAPE),
}
GRADIENTS = {
    **INPUTS,
    "expanded_scalar": lambda: torch.randn(()).expand(SHAPE),
    "offset": lambda: torch.randn(121)[1:].view(SHAPE),
    "overlapping": lambda: torch.randn(40).as_strided(SHAPE, (9, 5, 2, 1)),
    "unaligned_strides": lambda: torch.randn(2, 3, 4, 7)[..., 1:6],
}


@by_inplace
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("layout", INPUTS)
def test_gradients_of_any_strides(layout: str, gradient: str, inplace: bool) -> None:
    x, dy = INPUTS[layout]().requires_grad_(), GRADIENTS[gradient]()
    (actual,) = torch.autograd.grad(ours(x, SLOPE, inplace), x, dy)
    (expected,) = torch.autograd.grad(native(x), x, dy)
    assert_same(actual.contiguous(), expected.contiguous())


@pytest.mark.parametrize("layout", INPUTS)
def test_gradients_are_laid_out_as_the_input(layout: str) -> None:
    """Before AccumulateGrad, which has a layout of its own in mind."""
    x, dy = INPUTS[layout]().requires_grad_(), torch.randn(SHAPE)
    (dx,) = torch.autograd.grad(leaky_relu(x), x, dy)
    (expected,) = torch.autograd.grad(F.leaky_relu(x), x, dy)
    assert_same(dx, expected)


@pytest.mark.parametrize("layout", INPUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sum_backward(dtype: torch.dtype, layout: str) -> None:
    grads = []
    for function in (ours, native):
        x = INPUTS[layout]().to(dtype).detach()
        x = torch.zeros_like(x).copy_(filled(dtype, *SHAPE)).requires_grad_()
        function(x).sum().backward()
        grads.append(x.grad)
    assert_same(*grads)


def test_undefined_gradient() -> None:
    """An output that the loss does not depend on gives no gradient, not a crash."""

    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
            ctx.set_materialize_grads(False)
            return a.clone()

        @staticmethod
        def backward(ctx, grad: Tensor):
            return grad, None

    x = leaf(5)
    First.apply(x * 2, ours(x)).sum().backward()
    assert_same(x.grad, torch.full((5,), 2.0))


def test_undefined_gradient_alone() -> None:
    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a: Tensor) -> Tensor:
            return a.clone()

        @staticmethod
        def backward(ctx, grad: Tensor) -> None:
            return None

    grads = []
    for function in (ours, native):
        x = leaf(5)
        Nothing.apply(function(x)).sum().backward()
        grads.append(x.grad)
    assert grads == [None, None]


def test_unneeded_input() -> None:
    """autograd.grad for another input than this one."""
    x, w = leaf(5), leaf(5)
    y = ours(x) * w
    (dw,) = torch.autograd.grad(y.sum(), w)
    assert_same(dw, native(x.detach()))
    assert x.grad is None


def test_fake_gradient() -> None:
    with FakeTensorMode() as mode:
        x = mode.from_tensor(torch.randn(3, 4)).requires_grad_()
        y = ours(x)
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        assert type(y) is type(dx)
        assert dx.shape == (3, 4)


def test_meta_gradient() -> None:
    x = torch.randn(3, 4, device="meta", requires_grad=True)
    ours(x).sum().backward()
    assert x.grad.device.type == "meta"
    assert x.grad.shape == (3, 4)


def test_gradient_of_a_dispatch_subclass() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    x = leaf(3, 4)
    incoming = TwoTensor(torch.ones(3, 4), torch.full((3, 4), 2.0))
    (dx,) = torch.autograd.grad(ours(x), x, incoming)
    assert type(dx) is TwoTensor
    (expected,) = torch.autograd.grad(native(x), x, torch.ones(3, 4))
    assert_same(dx.a, expected)
    assert_same(dx.b, expected * 2)


def test_batched_gradient_of_channels_last() -> None:
    x = INPUTS["channels_last"]().requires_grad_()
    dy = torch.randn(3, *SHAPE)
    (actual,) = torch.autograd.grad(ours(x), x, dy, is_grads_batched=True)
    (expected,) = torch.autograd.grad(native(x), x, dy, is_grads_batched=True)
    assert_same(actual.contiguous(), expected.contiguous())


def test_gradient_with_a_tangent() -> None:
    """Forward over reverse: the incoming gradient carries a tangent."""
    x = leaf(3, 4)
    tangents = []
    for function in (ours, native):
        y = function(x)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(torch.ones(3, 4), torch.full((3, 4), 5.0))
            (dx,) = torch.autograd.grad(y, x, dual)
            tangents.append(torch.autograd.forward_ad.unpack_dual(dx).tangent.clone())
    assert_same(*tangents)


# ---- Life of the graph


@by_inplace
def test_retain_graph(inplace: bool) -> None:
    x = leaf(20)
    y = ours(x, SLOPE, inplace)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    second = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    assert_same(first, second)


def test_second_backward_says_what_torch_says() -> None:
    errors = []
    for function in (ours, native):
        y = function(leaf(20)).sum()
        y.backward()
        with pytest.raises(RuntimeError) as error:
            y.backward()
        errors.append(str(error.value))
    assert errors[0] == errors[1]
    assert "second time" in errors[0]


def test_mask_is_freed_by_backward() -> None:
    masks = []

    def pack(mask: Tensor) -> Tensor:
        masks.append(StorageWeakRef(mask.untyped_storage()))
        return mask

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda mask: mask):
        y = ours(leaf(20)).sum()
    assert not masks[0].expired()
    y.backward()
    assert masks[0].expired()


def test_input_may_be_overwritten_before_backward() -> None:
    """More than torch offers: it keeps the input, ours does not."""
    x = leaf(20)
    h = x * 1
    y = ours(h)
    with torch.no_grad():
        h.zero_()
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert_same(dx, torch.autograd.grad(native(x).sum(), x)[0])


@by_slope
def test_result_in_place_may_be_overwritten_before_backward(slope: float) -> None:
    x = leaf(20)
    y = leaky_relu_(x * 1, slope)
    z = y.mul_(2).add_(1)
    (dx,) = torch.autograd.grad(z.sum(), x)
    assert_same(dx, torch.autograd.grad((native(x, slope) * 2 + 1).sum(), x)[0])


def test_others_notice_that_what_they_saved_was_changed() -> None:
    x = leaf(20)
    h = x.exp()  # keeps its result
    leaky_relu_(h)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        h.sum().backward()


@by_slope
@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
def test_version_counter(requires_grad: bool, slope: float) -> None:
    versions = []
    for function in (leaky_relu, F.leaky_relu):
        x = torch.randn(5, requires_grad=requires_grad) * 1
        before = x._version
        y = function(x, slope)
        assert (x._version, y._version) == (before, 0)
        function(x, slope, inplace=True)
        versions.append(x._version - before)
    assert versions[0] == versions[1] == 1


def test_version_is_shared_with_the_base_of_a_view() -> None:
    base = torch.randn(4, 5)
    leaky_relu_(base[1])
    assert base._version == 1


# ---- In place: views, leaves, modes

VIEWS = {
    "row": lambda t: t[1],
    "column": lambda t: t[:, 2],
    "step": lambda t: t[::2, 1::2],
    "transpose": lambda t: t.t(),
    "view": lambda t: t.view(5, 4),
    "diagonal": lambda t: t.diagonal(),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "view_of_view": lambda t: t[1:].t()[2:],
    "as_strided": lambda t: t.as_strided((2, 3), (9, 2), 1),
    "whole": lambda t: t[:],
    "empty": lambda t: t[:0],
}


@by_slope
@pytest.mark.parametrize("by_grad", [False, True], ids=["backward", "grad"])
@pytest.mark.parametrize("view", VIEWS)
def test_in_place_on_a_view(view: str, by_grad: bool, slope: float) -> None:
    """The base's gradient goes through; the rest of the base is untouched."""
    results = []
    for function in (lambda v: leaky_relu_(v, slope), lambda v: v.copy_(native(v.clone(), slope))):
        x = leaf(4, 5)
        base = x * 1
        function(VIEWS[view](base))
        loss = (base**2).sum()
        grad = torch.autograd.grad(loss, x)[0] if by_grad else (loss.backward(), x.grad)[1]
        results.append((base, grad))
    assert_same(results[0][0], results[1][0])
    assert_same(results[0][1], results[1][1])


@pytest.mark.parametrize("view", VIEWS)
def test_in_place_on_a_view_is_in_the_history_of_its_result(view: str) -> None:
    """That of the tensor returned, which is the view: normalisation layers return views."""
    gradients = []
    for function in (lambda t: leaky_relu(t, 0.3, True), lambda t: F.leaky_relu(t, 0.3, True)):
        x = torch.arange(-10.0, 10.0).view(4, 5).requires_grad_()
        y = function(VIEWS[view](x * 1))
        (y * torch.linspace(1, 2, y.numel()).view(y.shape)).sum().backward()
        gradients.append(x.grad)
    assert_same(*gradients)


def test_view_made_before_sees_the_change_in_its_history() -> None:
    results = []
    for function in (leaky_relu_, lambda t: F.leaky_relu(t, inplace=True)):
        x = leaf(4, 5)
        base = x * 1
        view = base[1]
        function(base)
        (view * 3).sum().backward()
        results.append((view, x.grad))
    assert_same(results[0][0], results[1][0])
    assert_same(results[0][1], results[1][1])


def test_in_place_on_a_view_of_a_tensor_without_gradient() -> None:
    """A part that comes to need a gradient makes the base need one."""
    base = torch.zeros(4, 5)
    x = leaf(5)
    base[1].copy_(x)
    leaky_relu_(base[1], SLOPE)
    base.sum().backward()
    assert_same(x.grad, torch.autograd.grad(native(x).sum(), x)[0])


IN_PLACE_ERRORS = {
    "leaf": lambda f: f(torch.ones(5, requires_grad=True)),
    "view_of_leaf": lambda f: f(torch.ones(5, requires_grad=True)[1:]),
    "parameter": lambda f: f(nn.Parameter(torch.ones(5))),
    "one_of_several_views": lambda f: f((torch.ones(6, requires_grad=True) * 1).chunk(2)[0]),
    "unbind": lambda f: f((torch.ones(2, 3, requires_grad=True) * 1).unbind()[0]),
    "expanded": lambda f: f(torch.ones(1).expand(5)),
    "expanded_grad": lambda f: f((torch.ones(1, requires_grad=True) * 1).expand(5)),
    "integer": lambda f: f(torch.ones(5, dtype=torch.int32)),
    "no_grad_view": lambda f: _view_made_without_grad(f),
    "inference_tensor": lambda f: f(_inference_tensor()),
    "inference_tensor_view": lambda f: f(_inference_tensor()[1:]),
}


def _view_made_without_grad(function) -> None:
    base = torch.ones(5, requires_grad=True) * 1
    with torch.no_grad():
        view = base[1:]
    function(view)


def _inference_tensor() -> Tensor:
    with torch.inference_mode():
        return torch.ones(5)


def outcome(call) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            return type(error).__name__, str(error)
    return "nothing", ""


@pytest.mark.parametrize("slope", [0.01, -0.3])
@pytest.mark.parametrize("case", IN_PLACE_ERRORS)
def test_in_place_is_refused_where_torch_refuses_it(case: str, slope: float) -> None:
    run = IN_PLACE_ERRORS[case]
    actual = outcome(lambda: run(lambda t: leaky_relu(t, slope, inplace=True)))
    expected = outcome(lambda: run(lambda t: F.leaky_relu(t, slope, inplace=True)))
    assert actual[0] == expected[0], (actual, expected)


OVERLAPPING = {
    "as_strided": lambda x: x.as_strided((4, 3), (2, 1)),
    "unfold": lambda x: x.unfold(0, 4, 2),
    "unfold_transposed": lambda x: x.unfold(0, 4, 2).t(),
    "as_strided_odd": lambda x: x.as_strided((2, 3), (3, 2)),  # strides that do not nest, yet no element twice
}


@pytest.mark.parametrize("make", OVERLAPPING.values(), ids=OVERLAPPING.keys())
@pytest.mark.parametrize(
    "inplace", [leaky_relu_, lambda x, slope: LeakyReLU(slope, True)(x)], ids=["function", "module"]
)
def test_in_place_over_a_view_that_overlaps_itself_is_torchs(make: Callable, inplace: Callable) -> None:
    actual, expected = (specials(torch.float32) for _ in range(2))
    assert inplace(make(actual), 0.5) is not None
    F.leaky_relu_(make(expected), 0.5)
    assert_same(actual, expected)


def test_in_place_over_a_view_that_overlaps_itself_has_torchs_gradient() -> None:
    def gradient(function: Callable) -> Tensor:
        x = specials(torch.float32).requires_grad_()
        y = function(OVERLAPPING["unfold"](x * 1), 0.5)
        return torch.autograd.grad(y.sum(), x)[0]

    assert_same(gradient(leaky_relu_), gradient(F.leaky_relu_))


def test_in_place_of_the_operators_over_a_view_that_overlaps_itself() -> None:
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            actual, expected = (specials(torch.float32) for _ in range(2))
            torch.ops.leakyrelu.leaky_relu_(OVERLAPPING["unfold"](actual), 0.5)
            torch.ops.aten.leaky_relu_(OVERLAPPING["unfold"](expected), 0.5)
            assert_same(actual, expected)


NOT_OVERLAPPING = {
    "slice": lambda x: x[:, ::2],
    "column": lambda x: x[1:, :, 3],
    "permuted": lambda x: x.permute(2, 0, 1)[::3],
    "empty": lambda x: x[:0, ::2],
    "dim_of_one": lambda x: x[:, :1].expand(6, 1, 10)[::2],
    "one_element": lambda x: x[2, 3, 4],
}


@pytest.mark.parametrize("make", NOT_OVERLAPPING.values(), ids=NOT_OVERLAPPING.keys())
def test_in_place_over_any_other_view_is_ours(make: Callable) -> None:
    saved: list[Tensor] = []
    view = make(leaf(6, 8, 10) * 1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        leaky_relu_(view)
    assert [t.dtype for t in saved] == [torch.uint8]


@pytest.mark.parametrize("case", ["leaf", "view_of_leaf", "one_of_several_views", "unbind"])
def test_autograd_in_place_errors_in_torchs_words(case: str) -> None:
    run = IN_PLACE_ERRORS[case]
    actual = outcome(lambda: run(lambda t: leaky_relu(t, inplace=True)))
    expected = outcome(lambda: run(lambda t: F.leaky_relu(t, inplace=True)))
    assert actual == expected


@by_slope
def test_leaf_in_place_without_grad_mode(slope: float) -> None:
    x = leaf(20)
    expected = F.leaky_relu(x.detach(), slope)
    with torch.no_grad():
        leaky_relu_(x, slope)
    assert_same(x.detach(), expected)
    assert x.is_leaf
    assert x.requires_grad


@by_slope
@by_inplace
def test_no_grad(inplace: bool, slope: float) -> None:
    x = leaf(20) * 1
    with torch.no_grad():
        y = leaky_relu(x.clone(), slope, inplace)
    assert not y.requires_grad
    assert_same(y, F.leaky_relu(x.detach(), slope))


@by_slope
@by_inplace
def test_inference_mode(inplace: bool, slope: float) -> None:
    x = leaf(20)
    with torch.inference_mode():
        y = leaky_relu(x.clone(), slope, inplace)
        assert y.is_inference()
        assert not y.requires_grad
    with torch.inference_mode():
        assert_same(y, F.leaky_relu(x.detach(), slope))


def test_inference_mode_changes_a_normal_tensor_in_place() -> None:
    x = torch.randn(5)
    expected, version = F.leaky_relu(x), x._version
    with torch.inference_mode():
        leaky_relu_(x)
    assert_same(x, expected)
    assert not x.is_inference()
    assert x._version == version + 1


def test_inference_tensor_outside_of_inference_mode() -> None:
    x = _inference_tensor()
    assert_same(leaky_relu(x), F.leaky_relu(x))
    assert leaky_relu(x).is_inference() == F.leaky_relu(x).is_inference()


def test_inference_tensor_does_not_become_part_of_a_graph() -> None:
    x = _inference_tensor()
    w = leaf(5)
    (leaky_relu(x) + w).sum().backward()
    assert_same(w.grad, torch.ones(5))


# ---- What watches autograd


def test_anomaly_mode_finds_nothing_where_nothing_is() -> None:
    with warnings.catch_warnings(), torch.autograd.detect_anomaly():
        warnings.simplefilter("ignore")
        x = leaf(5)
        ours(x).sum().backward()
    assert x.grad is not None


def test_anomaly_mode_names_the_node_that_made_nan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.set_detect_anomaly(True):
            x = leaf(5)
            y = leaky_relu(x, float("nan")).sum()
            with pytest.raises(RuntimeError, match=r"LeakyReluMaskBackward.*returned nan"):
                y.backward()


def test_anomaly_mode_shows_the_forward_call() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with torch.autograd.set_detect_anomaly(True):
            y = leaky_relu(leaf(5), float("nan")).sum()
            with pytest.raises(RuntimeError):
                y.backward()
    assert any("test_anomaly_mode_shows_the_forward_call" in str(w.message) for w in caught)


def test_detach() -> None:
    y = ours(leaf(5)).detach()
    assert not y.requires_grad
    assert y.grad_fn is None


def test_tensor_hooks_run_in_order() -> None:
    x, seen = leaf(5), []
    y = ours(x)
    x.register_hook(lambda g: seen.append("input"))
    y.register_hook(lambda g: (seen.append("output"), g * 2)[1])
    y.sum().backward()
    assert seen == ["output", "input"]
    assert_same(x.grad, torch.autograd.grad(native(x).sum(), x)[0] * 2)


def test_node_hooks() -> None:
    x, seen = leaf(5), []
    y = ours(x)
    y.grad_fn.register_prehook(lambda grads: seen.append("pre"))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append("post"))
    y.sum().backward()
    assert seen == ["pre", "post"]


def test_multi_grad_hook() -> None:
    x, seen = leaf(5), []
    a, b = ours(x), ours(x)
    torch.autograd.graph.register_multi_grad_hook((a, b), seen.append)
    (a + b).sum().backward()
    assert [g.tolist() for g in seen[0]] == [[1.0] * 5] * 2


def test_retain_grad_of_an_intermediate_in_place() -> None:
    grads = []
    for function in (leaky_relu_, lambda t: F.leaky_relu(t, inplace=True)):
        h = leaf(5) * 1
        h.retain_grad()
        function(h)
        h.sum().backward()
        grads.append(h.grad)
    assert_same(*grads)


def test_graph_can_be_walked() -> None:
    x = leaf(5)
    node = ours(x).grad_fn
    assert node.name() == "LeakyReluMaskBackward"
    assert repr(node).startswith("<LeakyReluMaskBackward ")
    assert isinstance(node, torch.autograd.graph.Node)
    ((parent, index),) = node.next_functions
    assert index == 0
    assert parent.variable is x


def test_node_called_by_hand() -> None:
    x = leaf(5)
    dx = ours(x).grad_fn(torch.ones(5))
    assert_same(dx, torch.autograd.grad(native(x).sum(), x)[0])


@by_inplace
def test_modules_full_backward_hooks(inplace: bool) -> None:
    results = []
    for cls in (LeakyReLU, nn.LeakyReLU):
        module, seen = cls(SLOPE, inplace=inplace), []
        module.register_full_backward_hook(lambda m, gi, go, seen=seen: seen.extend([*gi, *go]))
        module.register_full_backward_pre_hook(lambda m, go, seen=seen: seen.extend(go))
        x = leaf(5)
        call = outcome(lambda module=module, x=x: module(x * 1).sum().backward())
        results.append((call[0], [g.tolist() for g in seen], x.grad))
    assert results[0][:2] == results[1][:2]


# ---- Threads


def test_backward_in_many_threads() -> None:
    x = leaf(100000)
    expected = torch.autograd.grad(native(x).sum(), x)[0]
    results: dict[int, Tensor] = {}

    def work(index: int) -> None:
        for _ in range(5):
            h = x.detach().requires_grad_()
            ours(h).sum().backward()
            results[index] = h.grad

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 4
    for result in results.values():
        assert_same(result, expected)


@pytest.mark.parametrize("size", [10, 100000])
def test_backward_of_one_graph_in_two_threads(size: int) -> None:
    x = leaf(size)
    y = ours(x * 1).sum()
    results = []

    def work() -> None:
        for _ in range(20):
            results.append(torch.autograd.grad(y, x, retain_graph=True)[0])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 40
    expected = torch.autograd.grad(native(x).sum(), x)[0]
    for result in results:
        assert_same(result, expected)


def test_threads_while_a_hook_runs_python() -> None:
    """No deadlock between the node's lock and the interpreter's when unpacking takes time."""
    x = leaf(100000)

    def unpack(mask: Tensor) -> Tensor:
        sum(range(1000))
        return mask

    with torch.autograd.graph.saved_tensors_hooks(lambda mask: mask, unpack):
        y = ours(x * 1).sum()
    done = []

    def work() -> None:
        for _ in range(10):
            torch.autograd.grad(y, x, retain_graph=True)
        done.append(True)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [True] * 3
