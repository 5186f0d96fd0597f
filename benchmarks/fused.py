"""The fused operation beside torch's own ones, one after the other and compiled: times, and what each keeps."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import cases
from benchmarks.measure import Budget, Side, measure
from leakyrelu._saved_bytes import recorded
from leakyrelu.torch import fused_leaky_relu

OURS = "fused_leaky_relu"
TORCH = "torch, one after the other"
COMPILED = "torch.compile of these"
SIDES = (OURS, TORCH, COMPILED)

OPERATIONS = (cases.FORWARD, cases.FORWARD_AND_BACKWARD)
FIRST, LAST = "channels first", "channels last"
CHANNELS, PIXELS = 512, 32
SMALL, HUGE = 2, 122  # samples: 1 048 576 elements, which the cache holds, and 63 963 136
CLAMP = 256.0  # StyleGAN2-ADA's
SLOPE, SCALE = 0.2, 2**0.5

Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    operation: str
    samples: int
    layout: str = FIRST
    clamp: float | None = None
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        return self.samples * CHANNELS * PIXELS * PIXELS


def grid(full: bool) -> Iterator[Case]:
    for layout in (FIRST, LAST):
        for clamp in (None, CLAMP):
            for operation in OPERATIONS:
                yield Case(operation, SMALL, layout, clamp)
                if full or (layout == FIRST and clamp is None):
                    yield Case(operation, HUGE, layout, clamp)
    for dtype in ("float16", "bfloat16"):
        yield Case(cases.FORWARD, SMALL, dtype=dtype)
        if full:
            yield Case(cases.FORWARD, HUGE, dtype=dtype)


def one_after_the_other(x: Tensor, b: Tensor, clamp: float | None) -> Tensor:
    v = F.leaky_relu(x + b.reshape(1, -1, 1, 1), SLOPE) * SCALE
    return v if clamp is None else v.clamp(-clamp, clamp)


def operands(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """The input, the bias, and the gradient by the output."""
    random = torch.Generator().manual_seed(0)
    dtype = getattr(torch, case.dtype)
    memory_format = torch.channels_last if case.layout == LAST else torch.contiguous_format

    def numbers() -> Tensor:
        """Of one sample, which is repeated: nobody's speed depends on them."""
        one = torch.randn(1, CHANNELS, PIXELS, PIXELS, generator=random).to(dtype)
        return one.expand(case.samples, -1, -1, -1).clone(memory_format=memory_format)

    x, g = numbers(), numbers()
    return x, torch.randn(CHANNELS, generator=random).to(dtype), g


def sides(case: Case, with_compiler: bool) -> tuple[list[Side], dict[str, float]]:
    """The sides, once they have been seen to compute the same, and the bytes that each keeps per element.

    Raises:
        AssertionError: Ours has other bits than torch's; for 16-bit dtypes, than torch's in float32, rounded once.
    """
    x, b, g = operands(case)
    composition = functools.partial(one_after_the_other, clamp=case.clamp)
    functions: dict[str, Function] = {
        OURS: functools.partial(fused_leaky_relu, negative_slope=SLOPE, scale=SCALE, clamp=case.clamp),
        TORCH: composition,
    }
    if with_compiler:
        torch._dynamo.reset()
        functions[COMPILED] = torch.compile(composition, dynamic=False)
    wide = (x.float(), b.float()) if x.element_size() == 2 else (x, b)
    expected = composition(*wide).to(x.dtype)
    if not torch.equal(functions[OURS](x, b), expected):
        raise AssertionError(f"{case}: other bits")
    leaves = [x.requires_grad_(), b.requires_grad_()]
    kept = {name: _kept(function, leaves) for name, function in functions.items()}
    found = []
    for name, f in functions.items():
        names = {"f": f, "x": x, "b": b, "g": g}
        if case.operation == cases.FORWARD:
            names |= {"x": x.detach(), "b": b.detach()}
            found.append(Side(name, "f(x, b)", names))
        else:
            found.append(Side(name, "x.grad = b.grad = None; f(x, b).backward(g)", names, "x.grad"))
    return found, kept


def _kept(function: Function, leaves: list[Tensor]) -> float:
    with recorded() as saved:
        result = function(*leaves)
        kept = saved.bytes(leaves)
    return kept / result.numel()


def run(full: bool, budget: Budget) -> list[dict[str, Any]]:
    """For each case the seconds per call, one for each round, and the bytes kept per element, by side."""
    found = []
    for case in grid(full):
        made, kept = sides(case, with_compiler=full)
        found.append(asdict(case) | {"elements": case.elements, "kept": kept, "sides": measure(made, budget)})
    return found
