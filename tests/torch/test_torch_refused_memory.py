"""Each request for memory that a call on tensors makes is refused once: an error that says so, or the right result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from refused import Case, sweep
from tensor_cases import specials
from torch import Tensor

import leakyrelu
from leakyrelu import _core
from leakyrelu.torch import FusedLeakyReLU, LeakyReLU, bias_act, fused_leaky_relu, leaky_relu, leaky_relu_

SLOPE = 0.25
ops = torch.ops.leakyrelu

# Where torch's autograd engine, or the end of one of its nodes, itself finds no memory, it ends the process.
OURS = {"of": "_torch_", "but": "_ZN5torch8autograd4NodeD"}


def same(actual: Any, expected: Tensor) -> bool:
    if actual.dtype != expected.dtype or actual.shape != expected.shape or actual.stride() != expected.stride():
        return False
    actual, expected = actual.detach(), expected.detach()
    nan = expected.isnan()
    words = {2: torch.int16, 4: torch.int32, 8: torch.int64}[expected.element_size()]
    differ = actual.contiguous().view(words) != expected.contiguous().view(words)
    return bool((torch.where(nan, ~actual.isnan(), differ)).logical_not().all())


def says_so(error: BaseException) -> bool:
    """torch's words, out of its allocator, and C++'s, as torch passes them on."""
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "std::bad_alloc", "Failed to allocate")
    )


def scaled(x: Tensor) -> Tensor:
    """LeakyReLU by its definition, laid out as `x`."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return torch.empty_like(x).copy_(torch.where(x > 0, wide, wide * SLOPE))


def fresh(x: Tensor, call: Callable[[], Any]) -> Case:
    expected = scaled(x)
    return Case(call, lambda y: same(y, expected), may_say=says_so)


def with_gradients() -> None:
    """They may be off: torch leaves a thread's state half set where its engine finds no memory for the rest."""
    torch.set_grad_enabled(True)


def gradient(leaf: Tensor, forward: Callable[[Tensor], Tensor], expected: Tensor, dy: Tensor) -> Case:
    """Forward and backward."""

    def call() -> Tensor:
        return torch.autograd.grad(forward(leaf), leaf, dy)[0]

    return Case(call, lambda dx: same(dx, expected), with_gradients, may_say=says_so, **OURS)


def in_place(x: Tensor) -> Case:
    """Over a tensor that has no gradient."""
    x = x.clone()
    place, expected = x.clone(), scaled(x)

    def reset() -> None:
        place.copy_(x)

    return Case(
        lambda: leaky_relu_(place, SLOPE), lambda _: same(place, expected), reset, lambda: same(place, x), says_so
    )


def in_place_with_gradient(x: Tensor, as_view: bool) -> Case:
    """Over an inner tensor. Where it is complete, its gradient is too; where not, nothing has happened to it.

    But for what torch does last, to the history of a view, as behind each of its own operations in place.
    """
    expected, slopes, ones = scaled(x), torch.where(x > 0, 1.0, SLOPE), torch.ones_like(x)
    leaf, inner = x.clone().requires_grad_(), x

    def reset() -> None:
        nonlocal inner
        with_gradients()
        inner = (leaf * 1).view(-1) if as_view else leaf * 1

    def holds(values: Tensor, factors: Tensor) -> bool:
        return same(inner, values) and same(torch.autograd.grad(inner, leaf, ones, retain_graph=True)[0], factors)

    return Case(
        call=lambda: leaky_relu_(inner, SLOPE),
        is_right=lambda _: holds(expected, slopes),
        reset=reset,
        is_untouched=lambda: holds(x, ones),
        may_say=says_so,
        of="_torch_",
        but="rebase_history",
    )


def refusal(call: Callable[[], Any], message: str) -> Case:
    """A call that is wrong, and says so."""

    def caught() -> str:
        try:
            call()
        except (TypeError, ValueError, RuntimeError) as error:
            if says_so(error):
                raise
            return str(error)
        return ""

    # A stream of C++'s, by which torch makes the message, ends it where it finds no memory.
    return Case(caught, lambda said: said != "" and message.startswith(said), may_say=says_so)


def large(elements: int) -> Case:
    """What is large enough for memory of the library's own, of which nothing is left in use."""
    x = torch.linspace(-1, 1, elements)
    expected = scaled(x)

    def is_right(y: Any) -> bool:
        return same(y, expected) and leakyrelu.memory_stats()["in_use"] == x.nbytes

    return Case(lambda: leaky_relu(x, SLOPE), is_right, may_say=says_so)


def cases() -> dict[str, Case]:
    _core.set_large_bytes(4 << 20)
    x = specials(torch.float32)
    matrix = x.repeat(3)[:24].view(4, 6)
    layouts = {
        "": x,
        ", strided": matrix.t()[::2],
        ", channels_last": x.repeat(4)[:48].view(2, 3, 2, 4).to(memory_format=torch.channels_last),
        ", bfloat16": specials(torch.bfloat16),
    }
    found = {}
    for name, values in layouts.items():
        leaf, dy = values.clone().requires_grad_(), torch.ones_like(values)
        slopes = torch.where(leaf.detach() > 0, 1.0, SLOPE).to(values.dtype)
        found |= {
            f"function{name}": fresh(values, lambda values=values: leaky_relu(values, SLOPE)),
            f"operator{name}": fresh(values, lambda values=values: ops.leaky_relu(values, SLOPE)),
            f"gradient{name}": gradient(leaf, lambda t: leaky_relu(t, SLOPE), slopes, dy),
            f"in place{name}": in_place(values),
        }
    finite = torch.linspace(-2, 2, 24).view(4, 6)
    bias, module, fused_module = torch.zeros(6), LeakyReLU(SLOPE), FusedLeakyReLU(6, negative_slope=SLOPE, scale=1.0)
    leaf, ones = finite.clone().requires_grad_(), torch.ones(4, 6)
    slopes = torch.where(finite > 0, 1.0, SLOPE)
    mask = ops.leaky_relu_with_mask(finite, SLOPE)[1]
    out = torch.empty(4, 6)
    slope_message = (
        "negative_slope is too large for float32, in which float16, bfloat16 and float32 arrays are computed; it must "
        "be at most 3.4028234663852886e38 in magnitude, or infinite, or NaN"
    )

    def twice(t: Tensor) -> Tensor:
        (g,) = torch.autograd.grad(leaky_relu(t, SLOPE), t, dy_leaf, create_graph=True)
        return torch.autograd.grad(g, dy_leaf, ones)[0]

    dy_leaf = ones.clone().requires_grad_()
    expected = scaled(finite)
    return found | {
        "module": fresh(finite, lambda: module(finite)),
        "second gradient": Case(
            lambda: twice(leaf), lambda g: same(g, slopes), with_gradients, may_say=says_so, **OURS
        ),
        "in place with gradient": in_place_with_gradient(x, as_view=False),
        "in place with gradient, a view": in_place_with_gradient(x, as_view=True),
        "with mask": Case(
            lambda: ops.leaky_relu_with_mask(finite, SLOPE),
            lambda both: same(both[0], expected) and torch.equal(both[1], mask),
            may_say=says_so,
        ),
        "backward": fresh(finite, lambda: ops.leaky_relu_backward(finite, mask, SLOPE)),
        "fused": fresh(finite, lambda: fused_leaky_relu(finite, bias, SLOPE, 1.0)),
        "fused, clamped": fresh(finite, lambda: fused_leaky_relu(finite, bias, SLOPE, 1.0, clamp=9.0)),
        "fused module": fresh(finite, lambda: fused_module(finite)),
        "fused gradient": gradient(leaf, lambda t: fused_leaky_relu(t, bias, SLOPE, 1.0, clamp=9.0), slopes, ones),
        "bias_act": fresh(finite, lambda: bias_act(finite, bias, act="lrelu", alpha=SLOPE, gain=1.0)),
        "of the arrays' function": fresh(finite, lambda: leakyrelu.leaky_relu(finite, SLOPE)),
        "of the arrays' function, out": Case(
            lambda: leakyrelu.leaky_relu(finite, SLOPE, out=out),
            lambda _: same(out, expected),
            lambda: out.copy_(torch.full((4, 6), 7.0)) is None,
            lambda: bool((out == 7).all()),
            says_so,
        ),
        "large": large(2 << 20),
        "slope": refusal(lambda: leaky_relu(finite, 1e300), slope_message),
        "mask": refusal(
            lambda: ops.leaky_relu_backward(finite, mask[1:], SLOPE), "mask has 2 bytes; 24 elements need 3"
        ),
    }


def test_each_request_refused(tmp_path: Path) -> None:
    found = sweep("test_torch_refused_memory", tmp_path)
    assert not {name: wrong for name, (_, wrong) in found.items() if wrong}
    assert all(count > 0 for count, _ in found.values()), found
