"""StyleGAN's bias, LeakyReLU and scale, before and after: torch's operations one by one, and `FusedLeakyReLU`.

Two generators with the same numbers learn one photograph, in turn: a step of the one and a step of the other, so that
times compare. The second one's layers load the first one's state. Both must learn the same, bit for bit. Leaves
photograph and results, and what each kept for backward, as a picture in out/.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from leakyrelu.torch import FusedLeakyReLU

OUT = Path("out")
STEPS = 100
PIXELS = 64
STYLE = 32
CHANNELS = (64, 64, 32, 32, 16)  # of 4 x 4 pixels, 8 x 8, ..., 64 x 64
NAMES = ("torch, one by one", "FusedLeakyReLU")
COLORS = ("#f2a65a", "#1f4e8c")

console = Console(highlight=False)


class OneByOne(nn.Module):
    """What the ports do where their CUDA source does not compile; with the same state as `FusedLeakyReLU`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias.view(1, -1, 1, 1), 0.2) * 2**0.5


class Layer(nn.Module):
    """A convolution whose input a style scales channel by channel, then bias, LeakyReLU and scale."""

    def __init__(self, inputs: int, outputs: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.style = nn.Linear(STYLE, inputs)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.activation = activation(outputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.activation(self.convolution(x * (1 + self.style(w))[..., None, None]))
        return y


class Generator(nn.Module):
    """A learned constant, made twice as wide and high by each pair of layers, and its colours."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, CHANNELS[0], 4, 4))
        pairs = itertools.pairwise(CHANNELS)
        self.layers = nn.ModuleList(Layer(*channels, activation) for a, b in pairs for channels in ((a, b), (b, b)))
        self.colours = nn.Conv2d(CHANNELS[-1], 3, 1)

    def forward(self, w: Tensor) -> Tensor:
        x = self.constant.expand(len(w), -1, -1, -1)
        for i, layer in enumerate(self.layers):
            x = layer(F.interpolate(x, scale_factor=2.0) if i % 2 == 0 else x, w)
        colours: Tensor = self.colours(x)
        return colours


def load() -> Tensor:
    """Returns a photograph of a flower, 1 x 3 x 64 x 64, from 0 to 1."""
    photograph = torch.tensor(load_sample_image("flower.jpg")).permute(2, 0, 1)[None, :, :, 60:487] / 255
    return F.interpolate(photograph, (PIXELS, PIXELS), mode="area")


def kept(generator: Generator, w: Tensor) -> int:
    """Returns the bytes that one forward keeps for backward, parameters and memory that is kept twice aside."""
    known = {parameter.untyped_storage().data_ptr() for parameter in generator.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        sizes[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = generator(w)  # lives to the end, and so does all that is kept
    total = sum(size for address, size in sizes.items() if address not in known)
    del y
    return total


def draw(photograph: Tensor, results: list[Tensor], bytes_kept: list[int], path: Path) -> None:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes: Any = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.2))
    for axis, title, image in zip(axes, ("the photograph", *NAMES), (photograph, *results), strict=False):
        axis.imshow(image[0].clamp(0, 1).permute(1, 2, 0))
        axis.set_title(title)
        axis.set_axis_off()
    bars = axes[-1]
    mib = [each / 2**20 for each in bytes_kept]
    for i, each in enumerate(mib):
        bars.bar(i, each, 0.6, color=COLORS[i])
        bars.annotate(f"{each:.2f}", (i, each), xytext=(0, 4), textcoords="offset points", ha="center")
    bars.set(title=f"Kept for backward: {mib[1] / mib[0] - 1:+.0%}", ylabel="MiB", ylim=(0, 1.15 * mib[0]))
    bars.set(xticks=range(2), xticklabels=NAMES)
    bars.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"The same bits after each of {STEPS} steps")
    figure.savefig(path, dpi=150)


def main() -> int:
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # for networks so small more are no faster, and times less steady
    photograph, w = load(), torch.randn(1, STYLE)
    generators = [Generator(OneByOne), Generator(FusedLeakyReLU)]
    generators[1].load_state_dict(generators[0].state_dict())
    optimizers = [torch.optim.Adam(generator.parameters(), 3e-3) for generator in generators]
    losses: list[list[float]] = [[], []]
    seconds: list[list[float]] = [[], []]
    for step in track(range(STEPS), "two generators learn one photograph", console=console):
        for i in (0, 1) if step % 2 == 0 else (1, 0):
            start = time.perf_counter()
            optimizers[i].zero_grad()
            loss = F.mse_loss(generators[i](w), photograph)
            torch.autograd.backward(loss)
            optimizers[i].step()
            losses[i].append(loss.item())
            seconds[i].append(time.perf_counter() - start)
        if losses[0] != losses[1]:
            console.print(f"[bold red]the losses differ at step {step}[/]")
            return 1

    bytes_kept = [kept(generator, w) for generator in generators]
    times = [statistics.median(each) * 1e3 for each in seconds]
    console.print(f"the same bits at every step, loss {losses[0][0]:.3f} to {losses[0][-1]:.4f}")
    console.print(f"kept for backward: {bytes_kept[0] / 2**20:.2f} MiB, fused {bytes_kept[1] / 2**20:.2f} MiB")
    console.print(f"median of a step: {times[0]:.1f} ms, fused {times[1]:.1f} ms")
    with torch.no_grad():
        draw(photograph, [generator(w) for generator in generators], bytes_kept, OUT / "stylegan.png")
    console.print(f"Look at\n  [bold]{OUT / 'stylegan.png'!s:20}[/]  photograph, results, and what was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
