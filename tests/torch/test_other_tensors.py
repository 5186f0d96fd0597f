"""Proves that modes, subclasses and other kinds of tensors are handled as by torch."""

import contextlib
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing._internal.logging_tensor import LoggingTensor, LoggingTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode

from leakyrelu.torch import LeakyReLU, leaky_relu, leaky_relu_, patched

by_slope = pytest.mark.parametrize("slope", [0.3, -0.3])
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def outcome(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:
            return error


# ---- Modes


@by_slope
@by_inplace
def test_function_mode_sees_torchs_function(inplace: bool, slope: float) -> None:
    class Record(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    results = []
    for function in (leaky_relu, F.leaky_relu):
        seen: list = []
        x = values(5)
        with Record():
            y = function(x, slope, inplace)
        assert F.leaky_relu in seen
        results.append(y)
    assert_same(*results)


def test_function_mode_may_replace_the_result() -> None:
    class Replace(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            return "replaced" if function is F.leaky_relu else function(*args, **(kwargs or {}))

    x = values(5)
    with Replace():
        assert leaky_relu(x) == "replaced"
        assert LeakyReLU()(x) == "replaced"


@by_slope
@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
@by_inplace
def test_default_device_is_no_obstacle(inplace: bool, requires_grad: bool, slope: float) -> None:
    """torch.device(...) as a context is a mode that concerns factories alone."""
    x = values(5).requires_grad_(requires_grad)
    with torch.device("cpu"):
        y = leaky_relu(x * 1, slope, inplace)
        if requires_grad:
            y.sum().backward()
    assert_same(y, F.leaky_relu(x, slope))
    if requires_grad:
        assert_same(x.grad, torch.autograd.grad(F.leaky_relu(x, slope).sum(), x)[0])


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("cpu")
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(
    "context", [default_device, lambda: torch.device("cpu"), lambda: DeviceContext("cpu")], ids=["set", "with", "mode"]
)
@by_inplace
def test_default_device_is_no_end_of_the_saving(context: Callable, inplace: bool) -> None:
    with context():
        y = leaky_relu(values(5).requires_grad_() * 1, 0.2, inplace)
        z = LeakyReLU(0.2, inplace)(values(5).requires_grad_() * 1)
        with patched():
            f = F.leaky_relu(values(5).requires_grad_() * 1, 0.2, inplace)
    assert [t.grad_fn.name() for t in (y, z, f)] == ["LeakyReluMaskBackward"] * 3


def test_default_device_and_another_mode_is_torchs() -> None:
    seen = []

    class Record(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    class Derived(DeviceContext):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return super().__torch_function__(function, types, args, kwargs)

    for enter in (lambda: Record(), lambda: Derived("cpu")):
        seen.clear()
        with torch.device("cpu"), enter():
            y = leaky_relu(values(5).requires_grad_())
        assert F.leaky_relu in seen
        assert y.grad_fn.name() == "LeakyReluBackward0"


@by_slope
@by_inplace
def test_dispatch_mode_sees_torchs_operator(inplace: bool, slope: float) -> None:
    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen: list = []
    x = values(5)
    with Record():
        y = leaky_relu(x.clone(), slope, inplace)
    name = torch.ops.aten.leaky_relu_ if inplace and slope >= 0 else torch.ops.aten.leaky_relu
    assert name.default in seen
    assert not any("leakyrelu::" in str(function) for function in seen)
    assert_same(y, F.leaky_relu(x, slope))


def test_dispatch_mode_sees_the_backward_of_a_call_before_it() -> None:
    """Composed of torch's operators, so that counters of flops and memory know them."""

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen: list = []
    x = values(5).requires_grad_()
    y = leaky_relu(x).sum()
    with Record():
        y.backward()
    assert seen
    assert_same(x.grad, torch.autograd.grad(F.leaky_relu(x).sum(), x)[0])


def test_logging_mode() -> None:
    x = values(5)
    with LoggingTensorMode():
        assert_same(leaky_relu(x), F.leaky_relu(x))


# ---- Subclasses


class Tagged(Tensor):
    """Keeps its class through every function, by torch's default."""


class Counted(Tensor):
    calls: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.calls.append(function)
        return super().__torch_function__(function, types, args, kwargs or {})


@by_inplace
@by_slope
def test_plain_subclass_stays_one(slope: float, inplace: bool) -> None:
    x = values(5)
    y = leaky_relu(x.clone().as_subclass(Tagged), slope, inplace)
    assert type(y) is Tagged
    assert_same(y.as_subclass(Tensor), F.leaky_relu(x, slope))


@by_inplace
@by_slope
def test_gradient_of_a_plain_subclass(slope: float, inplace: bool) -> None:
    x = values(5).requires_grad_()
    y = leaky_relu((x * 1).as_subclass(Tagged), slope, inplace)
    (dx,) = torch.autograd.grad(y.sum(), x)
    expected = torch.autograd.grad(F.leaky_relu(x, slope).sum(), x)[0]
    assert_same(dx.as_subclass(Tensor), expected)


def test_torch_function_of_a_subclass_is_asked() -> None:
    Counted.calls.clear()
    leaky_relu(values(5).as_subclass(Counted))
    assert Counted.calls[0] is F.leaky_relu


def test_torch_function_without_tensor() -> None:
    class Duck:
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return function, args, kwargs

    duck = Duck()
    function, args, _ = leaky_relu(duck, 0.2)
    assert function is F.leaky_relu
    assert args[0] is duck


@by_inplace
@by_slope
def test_torch_function_without_tensor_in_place(slope: float, inplace: bool) -> None:
    class Duck:
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return function

    assert leaky_relu(Duck(), slope, inplace) is F.leaky_relu


@by_inplace
@by_slope
def test_dispatch_subclass(slope: float, inplace: bool) -> None:
    x = TwoTensor(values(5), values(5) * 2)
    a, b = F.leaky_relu(x.a, slope), F.leaky_relu(x.b, slope)
    y = leaky_relu(x, slope, inplace)
    assert type(y) is TwoTensor
    assert_same(y.a, a)
    assert_same(y.b, b)


def test_gradient_of_a_dispatch_subclass() -> None:
    x = TwoTensor(values(5), values(5) * 2).requires_grad_()
    leaky_relu(x, 0.3).sum().backward()
    expected = torch.where(x.a > 0, torch.tensor(1.0), torch.tensor(0.3))
    assert type(x.grad) is TwoTensor
    assert_same(x.grad.a, expected)


def test_logging_tensor() -> None:
    y = leaky_relu(LoggingTensor(values(5)))
    assert type(y) is LoggingTensor
    assert_same(y.elem, F.leaky_relu(values(5)))


def test_disabled_torch_function() -> None:
    x = values(5).as_subclass(Tagged)
    with torch._C.DisableTorchFunctionSubclass():
        actual, expected = leaky_relu(x), F.leaky_relu(x)
    assert type(actual) is type(expected)


@by_slope
@by_inplace
def test_parameter(inplace: bool, slope: float) -> None:
    p = nn.Parameter(values(5))
    with torch.no_grad():
        y = leaky_relu(p, slope, inplace)
    assert (y is p) == inplace
    assert type(y) is (nn.Parameter if inplace else Tensor)


def test_buffer() -> None:
    x = nn.Buffer(values(5))
    assert type(leaky_relu(x)) is type(F.leaky_relu(x))


def test_uninitialized_parameter() -> None:
    p = nn.UninitializedParameter()
    actual, expected = outcome(lambda: leaky_relu(p)), outcome(lambda: F.leaky_relu(p))
    assert type(actual) is type(expected)


# ---- Other kinds of tensors


def quantized() -> Tensor:
    return torch.quantize_per_tensor(values(4, 5), 0.1, 10, torch.quint8)


def nested(layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([values(2, 3), values(4, 3)], layout=layout)


KINDS = {
    "sparse_coo": lambda: values(4, 5).relu().to_sparse(),
    "sparse_csr": lambda: values(4, 5).relu().to_sparse_csr(),
    "sparse_csc": lambda: values(4, 5).relu().to_sparse_csc(),
    "sparse_bsr": lambda: values(4, 6).relu().to_sparse_bsr((2, 2)),
    "mkldnn": lambda: values(4, 5).to_mkldnn(),
    "quantized": quantized,
    "quantized_per_channel": lambda: torch.quantize_per_channel(
        values(4, 5), torch.full((4,), 0.1), torch.zeros(4, dtype=torch.int64), 0, torch.qint8
    ),
    "nested_strided": lambda: nested(torch.strided),
    "nested_jagged": lambda: nested(torch.jagged),
    "meta": lambda: values(4, 5).to("meta"),
    "conjugate": lambda: values(4, 2).view(torch.complex64).conj(),
    "negative_view": lambda: torch.view_as_real(values(4, 2).view(torch.complex64)).squeeze(1),
    "imaginary_part_of_conjugate": lambda: torch.randn(5, dtype=torch.complex64).conj().imag,
    "masked": lambda: torch.masked.masked_tensor(values(4), torch.tensor([True, False] * 2)),
    "zero_tensor": lambda: torch._efficientzerotensor(4, 5),
}


def dense(y) -> Tensor | None:
    if y.layout == torch.jagged or y.is_nested:
        return torch.cat([t.reshape(-1) for t in y.unbind()])
    if y.device.type == "meta":
        return None
    if y.is_quantized:
        return y.dequantize()
    if type(y) is not Tensor:
        return y.get_data() if hasattr(y, "get_data") else None
    y = y.to_dense() if y.layout != torch.strided else y
    return y.resolve_conj().resolve_neg()


@by_inplace
@by_slope
@pytest.mark.parametrize("kind", KINDS)
def test_kind(kind: str, slope: float, inplace: bool) -> None:
    torch.manual_seed(0)
    ours_input = KINDS[kind]()
    torch.manual_seed(0)
    native_input = KINDS[kind]()
    actual = outcome(lambda: leaky_relu(ours_input, slope, inplace))
    expected = outcome(lambda: F.leaky_relu(native_input, slope, inplace))
    assert type(actual) is type(expected), (actual, expected)
    if isinstance(expected, Tensor):
        for attribute in ("layout", "dtype", "device"):
            assert getattr(actual, attribute) == getattr(expected, attribute)
        assert actual.is_quantized == expected.is_quantized
        if dense(expected) is not None:
            torch.testing.assert_close(dense(actual), dense(expected), rtol=0, atol=0)
    if inplace and isinstance(expected, Tensor):
        assert (actual is ours_input) == (expected is native_input)


def test_negative_view_is_what_it_says() -> None:
    x = KINDS["imaginary_part_of_conjugate"]()
    assert x.is_neg()
    assert_same(leaky_relu(x, 0.3), F.leaky_relu(x.resolve_neg(), 0.3).reshape(-1))


def test_misaligned_data() -> None:
    """At an address that is no multiple of the element's size."""
    memory = torch.zeros(4 * 101 + 1, dtype=torch.uint8)
    x = torch.frombuffer(memory.numpy(), dtype=torch.float32, offset=1, count=100)
    x.copy_(values(100))
    assert x.data_ptr() % 4
    assert_same(leaky_relu(x, 0.3), F.leaky_relu(values(100), 0.3))
    leaky_relu_(x, 0.3)
    assert_same(x, F.leaky_relu(values(100), 0.3))


def test_memory_of_numpy() -> None:
    array = values(100).numpy().copy()
    leaky_relu_(torch.from_numpy(array), 0.3)
    assert_same(torch.from_numpy(array), F.leaky_relu(values(100), 0.3))


def test_shared_memory() -> None:
    x = values(100).share_memory_()
    y = leaky_relu_(x, 0.3)
    assert y.is_shared()
    assert_same(y, F.leaky_relu(values(100), 0.3))


def test_more_dims_than_usual() -> None:
    x = values(2**12).view([2] * 12 + [1] * 20).permute(*reversed(range(32))).requires_grad_()
    actual, expected = leaky_relu(x), F.leaky_relu(x)
    assert_same(actual, expected)
    dx, expected_dx = (torch.autograd.grad(y.sum(), x)[0] for y in (actual, expected))
    assert_same(dx.contiguous(), expected_dx.contiguous())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_torchs_number_of_threads_is_kept(threads: int) -> None:
    before = torch.get_num_threads()
    x = values(500000).requires_grad_()
    try:
        torch.set_num_threads(threads)
        y = leaky_relu(x)
        y.sum().backward()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_same(y, F.leaky_relu(x))


def test_pinned_memory_or_its_absence() -> None:
    """Without an accelerator torch refuses to pin; then there is nothing to compare."""
    x = outcome(lambda: values(5).pin_memory())
    if isinstance(x, Tensor):
        assert_same(leaky_relu(x), F.leaky_relu(x))
