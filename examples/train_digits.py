"""What one bit per element means in training: scikit-learn's handwritten digits, learned twice.

The same network from the same seed, with `torch.nn.LeakyReLU` and converted to `leakyrelu.torch`:
side by side, a step of the one and a step of the other, so that times compare. Both must learn the
same, bit for bit. Leaves the losses, and what each kept for backward, as a picture in out/.
"""

import copy
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn

from leakyrelu.torch import convert

OUT = Path("out")
EPOCHS = 10
BATCH = 64
TEST_DIGITS = 360
SEED = 0

THEIRS_COLOR = "#f2a65a"
OURS_COLOR = "#1f4e8c"
OTHERS_COLOR = "#e0e0e0"

console = Console(highlight=False)


def load() -> tuple[Tensor, Tensor]:
    """Returns all digits, 1 x 8 x 8 pixels each, standardised as a whole, and their labels."""
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
    return (pixels - pixels.mean()) / pixels.std(), torch.tensor(digits.target)


def block(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]


def build() -> nn.Module:
    """Returns convolutions, each with normalisation and LeakyReLU behind it, in the usual order."""
    return nn.Sequential(
        *block(1, 32),
        *block(32, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        *block(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@dataclass
class Kept:
    """Bytes that are kept from forward to backward; memory that two layers keep counts once."""

    by_leaky_relu: int  # that no other layer keeps
    by_others: int

    @property
    def total(self) -> int:
        return self.by_leaky_relu + self.by_others


def measure_kept(model: nn.Module, x: Tensor) -> Kept:
    """Measures one forward of a copy, so that the model's statistics stay."""
    model = copy.deepcopy(model)
    known = {block_of(tensor) for tensor in (x, *model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    keepers: dict[int, set[type]] = {}
    running: type = type(model)

    def pack(tensor: Tensor) -> Tensor:
        sizes[block_of(tensor)] = tensor.untyped_storage().nbytes()
        keepers.setdefault(block_of(tensor), set()).add(running)
        return tensor

    def enter(module: nn.Module, _: Any) -> None:
        nonlocal running
        running = type(module)

    hooks = [module.register_forward_pre_hook(enter) for module in model.modules()]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = model(x)  # lives to the end, and so does all that is kept
    for hook in hooks:
        hook.remove()

    kept = Kept(0, 0)
    for key in sizes.keys() - known:
        if all(issubclass(keeper, nn.LeakyReLU) for keeper in keepers[key]):
            kept.by_leaky_relu += sizes[key]
        else:
            kept.by_others += sizes[key]
    del y
    return kept


def in_place(model: nn.Module) -> nn.Module:
    """Returns a copy with every LeakyReLU in place, where torch's keeps the result, not the input."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.LeakyReLU):
            module.inplace = True
    return model


def block_of(tensor: Tensor) -> int:
    """The identity of the memory under a tensor."""
    return tensor.untyped_storage().data_ptr()


@dataclass
class Run:
    """One of the two networks and what is seen of it."""

    name: str
    model: nn.Module
    color: str
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self, x: Tensor, target: Tensor) -> None:
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), target)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - start)

    @torch.no_grad()
    def accuracy(self, x: Tensor, target: Tensor) -> float:
        self.model.eval()
        right: Tensor = self.model(x).argmax(dim=1) == target
        return right.float().mean().item()


def train(runs: list[Run], x: Tensor, target: Tensor) -> None:
    columns = (
        TextColumn("training both"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    starts = range(0, len(x) - BATCH + 1, BATCH)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=EPOCHS * len(starts), loss=float("nan"))
        for _ in range(EPOCHS):
            order = torch.randperm(len(x))
            for start in starts:
                batch = order[start : start + BATCH]
                for run in runs:
                    run.step(x[batch], target[batch])
                runs.reverse()
                progress.update(bar, advance=1, loss=runs[0].losses[-1])


def report(runs: list[Run], kept: list[Kept], kept_in_place: list[Kept], accuracies: list[float]) -> Table:
    table = Table(
        title=f"{len(runs[0].losses)} steps of {BATCH} digits on one thread",
        caption="The other layers keep their inputs, LeakyReLU's result among them",
    )
    table.add_column("")
    for run in runs:
        table.add_column(run.name, justify="right")
    table.add_column("ratio", justify="right")
    table.add_row("loss at the end", *(f"{run.losses[-1]:.9f}" for run in runs), "same bits")
    table.add_row("unseen digits told right", *(f"{part:.1%}" for part in accuracies), "")
    table.add_section()
    for heading, numbers in (
        ("kept by LeakyReLU alone", [each.by_leaky_relu for each in kept]),
        ("kept by the other layers", [each.by_others for each in kept]),
        ("kept for backward, in all", [each.total for each in kept]),
        ("in all, were it in place", [each.total for each in kept_in_place]),
    ):
        cells = [f"{number / 1024:,.0f} KiB" for number in numbers]
        table.add_row(heading, *cells, f"{numbers[1] / numbers[0]:.2f}")
    table.add_section()
    times = [statistics.median(run.seconds) for run in runs]
    cells = [f"{seconds * 1e3:.2f} ms" for seconds in times]
    table.add_row("median of a step", *cells, f"{times[1] / times[0]:.2f}")
    return table


def draw(runs: list[Run], kept: list[Kept], path: Path) -> None:
    """Draws both loss curves, the second thin upon the first, and what each run kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes: Any = figure.subplots(1, 2, width_ratios=(3, 2))
    curves, bars = axes
    for run, width in zip(runs, (6, 1.5), strict=True):
        curves.plot(run.losses, color=run.color, linewidth=width, label=run.name)
    curves.set(title="Loss: the same bits at every step", xlabel="step", ylabel="cross entropy")
    curves.set(yscale="log")
    curves.grid(alpha=0.3)
    curves.legend(frameon=False)

    for i, (run, each) in enumerate(zip(runs, kept, strict=True)):
        others, own = each.by_others / 2**20, each.by_leaky_relu / 2**20
        bars.bar(i, others, 0.6, color=OTHERS_COLOR)
        bars.bar(i, own, 0.6, others, color=run.color)
        bars.annotate(f"the other layers\n{others:.2f}", (i, others / 2), ha="center", va="center")
        above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        bars.annotate(f"LeakyReLU alone\n{own:.2f}", (i, others + own), **above)
    theirs, ours = (each.total / 2**20 for each in kept)
    title = f"Kept for backward: {theirs:.2f} → {ours:.2f} MiB, {ours / theirs - 1:+.0%}"
    bars.set(title=title, ylabel="MiB", ylim=(0, 1.15 * kept[0].total / 2**20))
    bars.set(xticks=range(len(runs)), xticklabels=[run.name for run in runs])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> int:
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # for a network so small more are no faster, and times less steady
    x, target = load()
    model = build()
    runs = [
        Run("torch.nn.LeakyReLU", copy.deepcopy(model), THEIRS_COLOR),
        Run("leakyrelu.torch", convert(copy.deepcopy(model)), OURS_COLOR),
    ]
    console.print(f"{len(x)} handwritten digits, {TEST_DIGITS} of them for the test at the end")
    train(runs[:], x[TEST_DIGITS:], target[TEST_DIGITS:])
    if runs[0].losses != runs[1].losses:
        step = [a == b for a, b in zip(runs[0].losses, runs[1].losses, strict=True)].index(False)
        console.print(f"[bold red]the losses differ from step {step} on[/]")
        return 1

    kept = [measure_kept(run.model, x[:BATCH]) for run in runs]
    kept_in_place = [measure_kept(in_place(run.model), x[:BATCH]) for run in runs]
    accuracies = [run.accuracy(x[:TEST_DIGITS], target[:TEST_DIGITS]) for run in runs]
    console.print(report(runs, kept, kept_in_place, accuracies))
    draw(runs, kept, OUT / "training.png")
    console.print(f"Look at\n  [bold]{OUT / 'training.png'!s:20}[/]  losses, and what was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
