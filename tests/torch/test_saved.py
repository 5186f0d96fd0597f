"""Proves that the mask is all that is kept for backward, where torch's tools can see it."""

import ctypes
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import DTYPES, assert_same, filled, packed
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from leakyrelu.torch import LeakyReLU, leaky_relu

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])


def kept(call: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The result and what is saved on the way to it."""
    saved: list[Tensor] = []
    with saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        result = call()
    return result, saved


# ---- How much


@by_inplace
@by_dtype
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 65, 1000, 100003])
def test_one_bit_an_element(size: int, dtype: torch.dtype, inplace: bool) -> None:
    x = filled(dtype, size).requires_grad_() * 1
    expected = packed((x > 0).detach())
    _, saved = kept(lambda: leaky_relu(x, 0.01, inplace))
    (mask,) = saved
    assert_same(mask, expected)
    assert mask.untyped_storage().nbytes() == (size + 7) // 8


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
def test_one_bit_an_element_in_any_layout(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 3, 5, 7).to(memory_format=memory_format).requires_grad_()
    _, saved = kept(lambda: leaky_relu(x))
    assert [mask.untyped_storage().nbytes() for mask in saved] == [27]


def test_nothing_without_a_gradient() -> None:
    assert kept(lambda: leaky_relu(torch.randn(5)))[1] == []
    with torch.no_grad():
        assert kept(lambda: leaky_relu(torch.randn(5, requires_grad=True)))[1] == []


@by_inplace
def test_the_mask_again_for_a_second_order(inplace: bool) -> None:
    """No copy: the backward's own backward keeps the same memory."""
    x = torch.randn(100, requires_grad=True)

    def twice() -> Tensor:
        y = leaky_relu(x * 1, 0.01, inplace)
        return torch.autograd.grad(y, x, torch.ones(100, requires_grad=True), create_graph=True)[0]

    _, saved = kept(twice)
    masks = [t for t in saved if t.dtype == torch.uint8]
    assert len(masks) == 2
    assert masks[0].data_ptr() == masks[1].data_ptr()


@pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
def test_the_input_is_freed(requires_grad: bool) -> None:
    x = torch.randn(100, requires_grad=requires_grad) * 1
    freed = weakref.ref(x)
    y = leaky_relu(x)
    del x
    gc.collect()
    assert freed() is None
    del y


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            [
                "arena",
                "ordblks",
                "smblks",
                "hblks",
                "hblkhd",
                "usmblks",
                "fsmblks",
                "uordblks",
                "fordblks",
                "keepcost",
            ]
        )
    ]


def allocated() -> int:
    """Bytes that the process holds from malloc."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("this C library does not say what is allocated")
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd


def growth(function: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype) -> int:
    """Bytes that live on after function(x) when x itself, which has a gradient, is let go."""
    leaf = torch.ones(1, dtype=dtype, requires_grad=True)
    gc.collect()
    before = allocated()
    x = leaf.expand(size).clone()
    y = function(x)
    del x
    after = allocated()
    del y
    return after - before


@by_inplace
@by_dtype
def test_what_the_allocator_says(dtype: torch.dtype, inplace: bool) -> None:
    size, slack = 2**22, 2**16
    output, mask = size * dtype.itemsize, size // 8
    growth(lambda x: leaky_relu(x, 0.01, inplace), size, dtype)  # whatever is done once
    assert growth(lambda x: leaky_relu(x, 0.01, inplace), size, dtype) <= output + mask + slack


def test_the_allocator_notices_what_torch_keeps() -> None:
    """So the test above would fail if the input were kept."""
    size = 2**22
    assert growth(F.leaky_relu, size, torch.float32) >= 2 * 4 * size


def test_nothing_is_left_after_many_steps() -> None:
    x = torch.randn(1000, requires_grad=True)

    def step() -> None:
        leaky_relu((x * 1)[1:], -0.2, inplace=True).sum().backward()
        (dx,) = torch.autograd.grad(leaky_relu(x).square().sum(), x, create_graph=True)
        torch.autograd.grad(dx.sum(), x)
        with pytest.raises(RuntimeError):
            leaky_relu(x, inplace=True)

    for _ in range(100):
        step()
    gc.collect()
    before = allocated()
    for _ in range(1000):
        step()
    gc.collect()
    assert allocated() - before < 1000 * 125  # less than a mask a step


# ---- Tools for what is kept


@by_inplace
def test_hooks_may_replace_the_mask(inplace: bool) -> None:
    x = torch.randn(100, requires_grad=True)
    with saved_tensors_hooks(lambda t: t.numpy().tobytes(), _from_bytes):
        y = leaky_relu(x.clone(), 0.3, inplace)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert_same(dx, torch.autograd.grad(F.leaky_relu(x, 0.3).sum(), x)[0])


def _from_bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def test_an_error_in_a_hook_reaches_the_caller() -> None:
    def refuse(_: Tensor) -> None:
        raise KeyError("refused")

    x = torch.randn(5, requires_grad=True)
    with saved_tensors_hooks(refuse, lambda t: t), pytest.raises(KeyError, match="refused"):
        leaky_relu(x)
    with saved_tensors_hooks(lambda t: t, refuse):
        y = leaky_relu(x).sum()
    with pytest.raises(KeyError, match="refused"):
        y.backward()


def test_an_error_in_a_hook_of_a_large_tensor() -> None:
    """Where the interpreter's lock was let go of."""

    def refuse(_: Tensor) -> None:
        raise KeyError("refused")

    x = torch.randn(100000, requires_grad=True)
    with saved_tensors_hooks(refuse, lambda t: t), pytest.raises(KeyError, match="refused"):
        leaky_relu(x)


def test_hooks_may_be_disabled() -> None:
    x = torch.randn(5, requires_grad=True)
    with torch.autograd.graph.disable_saved_tensors_hooks("no hooks"):
        leaky_relu(x).sum().backward()
    assert x.grad is not None


@by_inplace
@by_dtype
def test_save_on_cpu(dtype: torch.dtype, inplace: bool) -> None:
    x = filled(dtype, 100).requires_grad_()
    with save_on_cpu():
        y = leaky_relu(x.clone(), 0.3, inplace)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    expected = torch.autograd.grad(F.leaky_relu(x, 0.3), x, torch.ones_like(y))[0]
    assert_same(dx, expected)


def test_allow_mutation_on_saved_tensors() -> None:
    x = torch.randn(5, requires_grad=True)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        h = x * 1
        y = leaky_relu(h)
        with torch.no_grad():
            h.zero_()
        (dx,) = torch.autograd.grad(y.sum(), x)
    assert_same(dx, torch.autograd.grad(F.leaky_relu(x).sum(), x)[0])


def network(activation: type[nn.Module], inplace: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), activation(0.2, inplace), nn.Linear(16, 16), activation(0.2, inplace))


def gradients(model: nn.Module, run: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[Tensor]:
    x = torch.linspace(-1, 1, 60).view(10, 6).requires_grad_()
    run(model, x).square().sum().backward()
    yield x.grad
    for parameter in model.parameters():
        yield parameter.grad


CHECKPOINTS = {
    "reentrant": lambda m, x: checkpoint(m, x, use_reentrant=True),
    "not_reentrant": lambda m, x: checkpoint(m, x, use_reentrant=False),
    "sequential": lambda m, x: checkpoint_sequential(m, 2, x, use_reentrant=False),
    "nested": lambda m, x: checkpoint(lambda x: checkpoint(m, x, use_reentrant=False), x, use_reentrant=False),
    "no_early_stop": lambda m, x: _without_early_stop(m, x),
}


def _without_early_stop(model: nn.Module, x: Tensor) -> Tensor:
    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        return checkpoint(model, x, use_reentrant=False)


@by_inplace
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoint(kind: str, inplace: bool) -> None:
    actual = gradients(network(LeakyReLU, inplace), CHECKPOINTS[kind])
    expected = gradients(network(nn.LeakyReLU, inplace), lambda model, x: model(x))
    for ours, theirs in zip(actual, expected, strict=True):
        assert_same(ours, theirs)


def test_checkpoint_keeps_no_mask() -> None:
    x = torch.randn(10, 6, requires_grad=True)
    model = network(LeakyReLU, False)
    _, saved = kept(lambda: checkpoint(model, x, use_reentrant=False))
    assert all(t.dtype != torch.uint8 or t.numel() != 20 for t in saved)


def test_selective_checkpoint() -> None:
    """torch's policy decides by operator; the gradient is the same whatever it decides."""
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    def contexts():
        return create_selective_checkpoint_contexts(
            lambda ctx, op, *a, **k: (
                CheckpointPolicy.MUST_SAVE
                if op == torch.ops.aten.leaky_relu.default
                else CheckpointPolicy.PREFER_RECOMPUTE
            )
        )

    actual = gradients(
        network(LeakyReLU, False),
        lambda m, x: checkpoint(m, x, use_reentrant=False, context_fn=contexts),
    )
    expected = gradients(network(nn.LeakyReLU, False), lambda m, x: m(x))
    for ours, theirs in zip(actual, expected, strict=True):
        assert_same(ours, theirs)


def test_input_of_the_next_layer_is_what_remains() -> None:
    """A network of linear layers keeps their inputs, weights and, of ours, the masks alone."""
    x = torch.randn(10, 6, requires_grad=True)
    _, saved = kept(lambda: network(LeakyReLU, False)(x))
    assert [t.numel() for t in saved if t.dtype == torch.uint8] == [20, 20]
