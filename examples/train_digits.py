"""What one bit an element means in training: a classifier of scikit-learn's handwritten digits, twice.

The same network from the same seed, with `torch.nn.LeakyReLU` and converted to `leakyrelu.torch`, is trained
side by side, a step of the one and a step of the other, so that times compare. Both must learn the
same, bit for bit. Leaves the loss, and what each kept for backward, as a picture in out/.
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
EPOCHS = 5
BATCH = 64
TEST_DIGITS = 360
SEED = 0

THEIRS_COLOR = "#b7410e"
OURS_COLOR = "#2a5d9f"
OTHERS_COLOR = "#d5d5d5"

console = Console(highlight=False)


def load() -> tuple[Tensor, Tensor]:
    """Returns all digits, 1 x 8 x 8 pixels each, with mean 0 and standard deviation 1, and what they show."""
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
    """Measures one forward of the model."""
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
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - start)

    @torch.no_grad()
    def accuracy(self, x: Tensor, target: Tensor) -> float:
        self.model.eval()
        right = (self.model(x).argmax(dim=1) == target).float().mean().item()
        self.model.train()
        return right


def train(runs: list[Run], x: Tensor, target: Tensor) -> None:
    columns = (
        TextColumn("training both"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        steps = EPOCHS * (len(x) // BATCH)
        bar = progress.add_task("", total=steps, loss=float("nan"))
        for step in range(steps):
            if step % (len(x) // BATCH) == 0:
                batches = torch.randperm(len(x)).split(BATCH)
            batch = batches[step % (len(x) // BATCH)]
            for run in runs if step % 2 == 0 else reversed(runs):
                run.step(x[batch], target[batch])
            progress.update(bar, advance=1, loss=runs[0].losses[-1])


def report(runs: list[Run], kept: list[Kept], accuracies: list[float]) -> Table:
    table = Table(title=f"{len(runs[0].losses)} steps of {BATCH} digits", show_footer=False)
    table.add_column("")
    for run in runs:
        table.add_column(run.name, justify="right")
    table.add_column("ours / torch", justify="right")

    def ratio(theirs: float, ours: float) -> str:
        return f"{ours / theirs:.2f}"

    table.add_row("last loss", *(f"{run.losses[-1]!r}" for run in runs), "the same bits")
    table.add_row("right of the digits never seen", *(f"{part:.1%}" for part in accuracies), "")
    table.add_section()
    for heading, numbers in (
        ("kept for backward, by LeakyReLU alone", [each.by_leaky_relu for each in kept]),
        ("kept for backward, by the other layers", [each.by_others for each in kept]),
        ("kept for backward, in all", [each.total for each in kept]),
    ):
        table.add_row(heading, *(f"{n / 1024:,.0f} KiB" for n in numbers), ratio(*numbers))
    table.add_section()
    times = [statistics.median(run.seconds) for run in runs]
    table.add_row("a step, median", *(f"{t * 1e3:.2f} ms" for t in times), ratio(*times))
    return table


def draw(runs: list[Run], kept: list[Kept], path: Path) -> None:
    """Draws both loss curves, one upon the other, and what each run kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes: Any = figure.subplots(1, 2, width_ratios=(3, 2))
    curves, bars = axes
    for run, width, style in zip(runs, (5, 1.4), ("-", "--"), strict=True):
        curves.plot(run.losses, color=run.color, linewidth=width, linestyle=style, label=run.name)
    curves.set(title="Loss: the same bits at every step", xlabel="step", ylabel="cross entropy")
    curves.set(yscale="log")
    curves.grid(alpha=0.3)
    curves.legend(frameon=False)

    names = [run.name for run in runs]
    others = [each.by_others / 2**20 for each in kept]
    own = [each.by_leaky_relu / 2**20 for each in kept]
    bars.bar(names, others, 0.6, color=OTHERS_COLOR, label="the other layers")
    bars.bar(names, own, 0.6, others, color=[run.color for run in runs], label="LeakyReLU alone")
    for i, (below, above) in enumerate(zip(others, own, strict=True)):
        bars.annotate(f"{above:.2f}", (i, below + above), (0, 4), textcoords="offset points", ha="center")
        bars.annotate(f"{below:.2f}", (i, below / 2), ha="center", va="center")
    bars.set(title="Kept for backward", ylabel="MiB")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> int:
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(SEED)
    x, target = load()
    model = build()
    runs = [
        Run("torch.nn.LeakyReLU", copy.deepcopy(model), THEIRS_COLOR),
        Run("leakyrelu.torch", convert(copy.deepcopy(model)), OURS_COLOR),
    ]
    console.print(f"{len(x)} handwritten digits, {TEST_DIGITS} of them for the test at the end")
    train(runs, x[TEST_DIGITS:], target[TEST_DIGITS:])
    if runs[0].losses != runs[1].losses:
        step = [a == b for a, b in zip(runs[0].losses, runs[1].losses, strict=True)].index(False)
        console.print(f"[bold red]the losses differ from step {step} on[/]")
        return 1

    kept = [measure_kept(run.model, x[:BATCH]) for run in runs]
    accuracies = [run.accuracy(x[:TEST_DIGITS], target[:TEST_DIGITS]) for run in runs]
    console.print(report(runs, kept, accuracies))
    draw(runs, kept, OUT / "training.png")
    console.print(f"Look at\n  [bold]{OUT / 'training.png'!s:20}[/]  losses, and what was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
