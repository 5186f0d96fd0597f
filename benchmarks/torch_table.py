"""Times LeakyReLU on torch tensors, torch's own against this library's, and prints the ratios.

All in one process, the sides in turn, after checking that they give the same bits.
"""

import os
import statistics
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import leakyrelu.torch as ours

SECONDS = 1.0  # for a case: as many rounds as that gives, within
MIN_ROUNDS, MAX_ROUNDS = 7, 51
BLOCK_SECONDS = 0.004  # at least, between two looks at the clock

FORWARD = "f(x)"
BACKWARD = "x.grad = None; f(x).backward(g)"

FUNCTIONS: dict[str, Any] = {"torch": F.leaky_relu, "ours": ours.leaky_relu}
MODULES: dict[str, Any] = {"torch": nn.LeakyReLU(), "ours": ours.LeakyReLU()}
# With a slope of 1, or the numbers would dwindle, call by call, until arithmetic on them is slow.
IN_PLACE: dict[str, Any] = {
    "torch": lambda x: F.leaky_relu_(x, 1.0),
    "ours": lambda x: ours.leaky_relu_(x, 1.0),
}


@dataclass
class Case:
    """One row: the statement to time and what `f` is in it for each side, torch's first."""

    table: str
    name: str
    sides: dict[str, Callable[[Tensor], Tensor]]
    statement: str
    elements: int
    dtype: torch.dtype = torch.float32
    requires_grad: bool = False
    threads: int = 1
    rounds: list[dict[str, float]] = field(default_factory=list)  # seconds a statement

    def operands(self) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        x, g = torch.randn(2, self.elements).to(self.dtype)
        return x.clone().requires_grad_(self.requires_grad), g.clone()

    def check(self) -> None:
        """Raises if some side's result or gradient is not torch's, bit for bit."""
        results = []
        for f in self.sides.values():
            x, g = self.operands()
            y = f(x)
            if self.requires_grad:
                y.backward(g)  # type: ignore[no-untyped-call]
            results.append([t.detach().view(torch.uint8) for t in (y, x.grad) if t is not None])
        for name, result in zip(self.sides, results, strict=True):
            if not all(map(torch.equal, result, results[0])):
                raise AssertionError(f"{self.table}, {self.name}: {name} differs from torch")

    def measure(self) -> None:
        torch.set_num_threads(self.threads)
        self.check()
        timers = {}
        for name, f in self.sides.items():
            x, g = self.operands()
            timers[name] = timeit.Timer(self.statement, globals={"f": f, "x": x, "g": g})
        for timer in timers.values():
            timer.timeit(1)
        slowest = max(timer.timeit(1) for timer in timers.values())
        count = max(1, round(BLOCK_SECONDS / slowest))
        fit = SECONDS / (slowest * count * len(timers))
        for _ in range(max(MIN_ROUNDS, min(MAX_ROUNDS, int(fit)))):
            self.rounds.append({name: t.timeit(count) / count for name, t in timers.items()})
            timers = dict(reversed(timers.items()))


def cases() -> Iterator[Case]:
    small = "2 elements of float32"
    yield Case(small, "function", FUNCTIONS, FORWARD, 2)
    yield Case(small, "function, with gradient", FUNCTIONS, FORWARD, 2, requires_grad=True)
    yield Case(small, "function, and backward", FUNCTIONS, BACKWARD, 2, requires_grad=True)
    yield Case(small, "module", MODULES, FORWARD, 2)
    yield Case(small, "module, with gradient", MODULES, FORWARD, 2, requires_grad=True)
    yield Case(small, "module, and backward", MODULES, BACKWARD, 2, requires_grad=True)
    yield Case(small, "function, in place", IN_PLACE, FORWARD, 2)
    for threads in sorted({1, torch.get_num_threads()}):
        sizes = [(10**power, torch.float32) for power in (4, 5, 6, 7)]
        others = [(10**5, dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16)]
        for elements, dtype in sizes + others:
            name = f"{elements:,} {str(dtype).removeprefix('torch.')}"
            for way, sides, statement, requires_grad in (
                ("forward", FUNCTIONS, FORWARD, False),
                ("forward and backward", FUNCTIONS, BACKWARD, True),
                ("in place", IN_PLACE, FORWARD, False),
            ):
                table = f"{way}, {threads} thread{'s' * (threads > 1)}"
                yield Case(table, name, sides, statement, elements, dtype, requires_grad, threads)


def unit(seconds: float) -> str:
    for factor, name in ((1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def tabulate(title: str, rows: list[Case]) -> Table:
    first, *others = rows[0].sides
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for side in rows[0].sides:
        table.add_column(side, justify="right")
    for side in others:
        table.add_column(f"{first} / {side}", justify="right")
        table.add_column("quartiles", justify="center")
    for case in rows:
        times = {s: statistics.median(each[s] for each in case.rounds) for s in case.sides}
        cells = [unit(seconds) for seconds in times.values()]
        for side in others:
            low, _, high = statistics.quantiles([r[first] / r[side] for r in case.rounds], n=4)
            cells += [f"{times[first] / times[side]:.2f}", f"{low:.2f} … {high:.2f}"]
        table.add_row(case.name, *cells)
    return table


def main() -> None:
    console = Console()
    load = os.getloadavg()[0]
    by_table: dict[str, list[Case]] = {}
    for case in track(list(cases()), "measuring", console=console, transient=True):
        case.measure()
        by_table.setdefault(case.table, []).append(case)
    for title, rows in by_table.items():
        console.print(tabulate(title, rows))
    console.print(f"Medians; the load was {load:.1f} at the start, of {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
