"""Proves that PyTorch's own test material for LeakyReLU (OpInfo, ModuleInfo) passes with ours."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.testing._internal import composite_compliance
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.common_utils import noncontiguous_like
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

from leakyrelu.torch import LeakyReLU, leaky_relu

NATIVE: OpInfo = next(op for op in op_db if op.name == "nn.functional.leaky_relu")
OURS: OpInfo = copy.copy(NATIVE)
OURS.op = leaky_relu
OURS.inplace_variant = lambda x, negative_slope=0.01: leaky_relu(x, negative_slope, inplace=True)
MODULE = next(info for info in module_db if info.module_cls is nn.LeakyReLU)

by_dtype = pytest.mark.parametrize("dtype", sorted(NATIVE.dtypes, key=str), ids=str)


def samples(dtype: torch.dtype, requires_grad: bool = True) -> Iterator[SampleInput]:
    """torch's samples and references, and each again with strides."""
    for make in (NATIVE.sample_inputs, NATIVE.reference_inputs):
        for sample in make("cpu", dtype, requires_grad=requires_grad):
            yield sample
            yield sample.noncontiguous()


def few(dtype: torch.dtype = torch.float64) -> list[SampleInput]:
    """torch's own samples without the large ones, for what is slow, and each again with strides."""
    every = NATIVE.sample_inputs("cpu", dtype, requires_grad=True)
    chosen = [sample for sample in every if sample.input.numel() <= 100]
    assert len(chosen) >= 2
    return chosen + [sample.noncontiguous() for sample in chosen]


def call(op: OpInfo, sample: SampleInput) -> Tensor:
    return op.op(sample.input, *sample.args, **sample.kwargs)


def function(op: OpInfo, sample: SampleInput):
    return lambda x: op.op(x, *sample.args, **sample.kwargs)


def test_torch_has_the_material_that_these_tests_run_on() -> None:
    assert NATIVE.dtypes == {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    assert len(list(samples(torch.float32))) >= 8


@by_dtype
def test_values_and_strides(dtype: torch.dtype) -> None:
    for sample in samples(dtype):
        assert_same(call(OURS, sample), call(NATIVE, sample))


@by_dtype
def test_values_without_gradient(dtype: torch.dtype) -> None:
    for sample in samples(dtype, requires_grad=False):
        assert_same(call(OURS, sample), call(NATIVE, sample))


@by_dtype
def test_gradients(dtype: torch.dtype) -> None:
    for sample in samples(dtype):
        ours, native = call(OURS, sample), call(NATIVE, sample)
        incoming = torch.randn_like(native)
        (actual,) = torch.autograd.grad(ours, sample.input, incoming)
        (expected,) = torch.autograd.grad(native, sample.input, incoming)
        assert_same(actual, expected)


@by_dtype
def test_inplace_variant(dtype: torch.dtype) -> None:
    for sample in samples(dtype):
        results = []
        for op in (OURS, NATIVE):
            x = sample.input.clone()
            y = op.inplace_variant(x, *sample.args, **sample.kwargs)
            assert y is x
            slope = sample.kwargs.get("negative_slope", 0.01)
            if op is NATIVE and slope < 0:
                results.append((y, None))
            else:
                results.append((y, torch.autograd.grad(y, sample.input, torch.ones_like(y))[0]))
        (ours, ours_grad), (native, native_grad) = results
        assert_same(ours, native)
        if native_grad is not None:
            assert_same(ours_grad, native_grad)


def test_reference() -> None:
    """Against NumPy's formula in float64."""
    for sample in NATIVE.sample_inputs("cpu", torch.float64):
        slope = sample.kwargs.get("negative_slope", 0.01)
        x = sample.input
        torch.testing.assert_close(call(OURS, sample), torch.where(x > 0, x, x * slope), rtol=0, atol=0)


def test_error_inputs() -> None:
    errors = list(NATIVE.error_inputs("cpu")) if NATIVE.error_inputs_func else []
    for error in errors:
        with pytest.raises(error.error_type):
            call(OURS, error.sample_input)


def test_gradcheck() -> None:
    for sample in few():
        assert gradcheck(
            function(OURS, sample),
            sample.input,
            check_forward_ad=True,
            check_batched_grad=True,
            check_batched_forward_grad=True,
            check_undefined_grad=True,
            check_backward_ad=True,
        )


def test_gradgradcheck() -> None:
    for sample in few():
        assert gradgradcheck(
            function(OURS, sample),
            sample.input,
            check_batched_grad=True,
            check_fwd_over_rev=True,
            check_rev_over_rev=True,
            gen_non_contig_grad_outputs=True,
        )


def test_gradcheck_in_place() -> None:
    for sample in few():
        assert gradcheck(
            lambda x, sample=sample: OURS.inplace_variant(x.clone(), **sample.kwargs),
            sample.input,
            check_forward_ad=True,
            check_batched_grad=True,
        )


def test_gradgradcheck_in_place() -> None:
    for sample in few():
        assert gradgradcheck(
            lambda x, sample=sample: OURS.inplace_variant(x.clone(), **sample.kwargs),
            sample.input,
            check_batched_grad=True,
            check_fwd_over_rev=True,
        )


@by_dtype
def test_forward_ad(dtype: torch.dtype) -> None:
    for sample in samples(dtype, requires_grad=False):
        tangents = []
        for op in (OURS, NATIVE):
            with forward_ad.dual_level():
                tangent = torch.ones_like(sample.input)
                dual = forward_ad.make_dual(sample.input, tangent)
                y = op.op(dual, *sample.args, **sample.kwargs)
                tangents.append(forward_ad.unpack_dual(y).tangent.clone())
        assert_same(*tangents)


@by_dtype
def test_batched_gradients(dtype: torch.dtype) -> None:
    for sample in few(dtype):
        ours, native = call(OURS, sample), call(NATIVE, sample)
        incoming = torch.randn(3, *native.shape).to(dtype)
        (actual,) = torch.autograd.grad(ours, sample.input, incoming, is_grads_batched=True)
        (expected,) = torch.autograd.grad(native, sample.input, incoming, is_grads_batched=True)
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: vmap(f)(x),
        lambda f, x: vmap(vmap(f, in_dims=1, out_dims=1))(x),
        lambda f, x: vmap(f, in_dims=-1, out_dims=-1)(x),
        lambda f, x: jvp(f, (x,), (torch.ones_like(x),))[1],
        lambda f, x: vjp(f, x)[1](torch.ones_like(x))[0],
        lambda f, x: vmap(lambda x, t: jvp(f, (x,), (t,))[1])(x, torch.ones_like(x)),
        lambda f, x: vmap(lambda x, t: vjp(f, x)[1](t)[0])(x, torch.ones_like(x)),
        lambda f, x: jacrev(f)(x),
        lambda f, x: jacfwd(f)(x),
        lambda f, x: jacrev(jacfwd(f))(x),
        lambda f, x: hessian(lambda x: (f(x) ** 3).sum())(x),
        lambda f, x: vmap(torch.func.grad(lambda x: (f(x) ** 2).sum()))(x),
        lambda f, x: torch.func.functionalize(f)(x),
        lambda f, x: torch.func.linearize(f, x)[1](torch.ones_like(x)),
    ],
    ids=[
        "vmap",
        "vmap_of_vmap",
        "vmap_last_dim",
        "jvp",
        "vjp",
        "vmap_of_jvp",
        "vmap_of_vjp",
        "jacrev",
        "jacfwd",
        "jacrev_of_jacfwd",
        "hessian",
        "per_sample_gradients",
        "functionalize",
        "linearize",
    ],
)
@pytest.mark.parametrize("slope", [0.01, -0.3])
@pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])
def test_functional_transforms(transform, slope: float, inplace: bool) -> None:
    x = torch.randn(3, 4, 2)
    actual = transform(lambda x: leaky_relu(x.clone(), slope, inplace), x)
    expected = transform(lambda x: F.leaky_relu(x.clone(), slope), x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_composite_compliance() -> None:
    """torch's check that an operator works with tensor subclasses and modes."""
    equal = torch.testing.assert_close
    for sample in few():
        case = (leaky_relu, [sample.input, *sample.args], sample.kwargs)
        composite_compliance.check_with_mode(*case, equal)
        composite_compliance.check_all_permutations(*case, equal)
        composite_compliance.check_backward_formula(*case, assert_equal_fn=equal)
        composite_compliance.check_forward_ad_formula(*case, assert_equal_fn=equal)


LAYOUTS = {
    "channels_last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels_last_3d": lambda: torch.randn(2, 3, 4, 5, 2).to(memory_format=torch.channels_last_3d),
    "transposed": lambda: torch.randn(4, 5).t(),
    "permuted": lambda: torch.randn(4, 5, 6).permute(2, 0, 1),
    "gaps": lambda: torch.randn(4, 10)[:, ::2],
    "gaps_permuted": lambda: torch.randn(4, 10, 3)[:, ::2].permute(2, 0, 1),
    "noncontiguous_like": lambda: noncontiguous_like(torch.randn(3, 4)),
    "offset": lambda: torch.randn(41)[1:],
    "expanded": lambda: torch.randn(4, 1, 3).expand(4, 5, 3),
    "expanded_scalar": lambda: torch.randn(()).expand(4, 5),
    "size_1_dims": lambda: torch.randn(1, 6, 1).as_strided((1, 6, 1), (77, 1, 5)),
    "0-d": lambda: torch.randn(()),
    "empty": lambda: torch.randn(3, 0, 2),
    "empty_strided": lambda: torch.randn(3, 4, 0).permute(2, 0, 1),
    "self_overlapping": lambda: torch.randn(10).as_strided((4, 3), (2, 1)),
}


@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_every_layout(layout: str, requires_grad: bool) -> None:
    x = LAYOUTS[layout]().requires_grad_(requires_grad)
    ours, native = leaky_relu(x), F.leaky_relu(x)
    assert_same(ours, native)
    if requires_grad:
        for incoming in (torch.ones_like(native), torch.randn(native.shape), torch.ones(())):
            incoming = incoming.expand_as(native)
            actual = torch.autograd.grad(ours, x, incoming, retain_graph=True)[0]
            expected = torch.autograd.grad(native, x, incoming, retain_graph=True)[0]
            torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@by_dtype
def test_module_inputs(dtype: torch.dtype, training: bool) -> None:
    inputs = MODULE.module_inputs_func(MODULE, device="cpu", dtype=dtype, requires_grad=True, training=training)
    assert inputs
    for case in inputs:
        args, kwargs = case.constructor_input.args, case.constructor_input.kwargs
        ours, native = LeakyReLU(*args, **kwargs), nn.LeakyReLU(*args, **kwargs)
        results = []
        for module in (ours, native):
            module.train(training)
            y = module(*case.forward_input.args, **case.forward_input.kwargs)
            y.backward(torch.ones_like(y))
            x = case.forward_input.args[0]
            results.append((y, x.grad))
            x.grad = None
        assert_same(results[0][0], results[1][0])
        assert_same(results[0][1], results[1][1])
        if case.reference_fn is not None:
            x = case.forward_input.args[0].detach()
            expected = case.reference_fn(ours, x)
            assert_same(ours(x), expected)


def test_module_gradcheck() -> None:
    inputs = MODULE.module_inputs_func(MODULE, device="cpu", dtype=torch.float64, requires_grad=True, training=True)
    for case in inputs:
        module = LeakyReLU(*case.constructor_input.args, **case.constructor_input.kwargs)
        assert gradcheck(module, case.forward_input.args[0])
        assert gradgradcheck(module, case.forward_input.args[0])


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_module_memory_format(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=memory_format)
    assert LeakyReLU()(x).is_contiguous(memory_format=memory_format)
