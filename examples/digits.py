"""LeakyReLU on real data, in the open: scikit-learn's handwritten digits, by the command line tool.

Leaves the digits before and after, as arrays and as a picture, and the page's plot in out/.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

OUT = Path("out")
NEGATIVE_SLOPE = 0.1

console = Console(highlight=False)


def load() -> NDArray[np.float32]:
    """Returns all digits, 8 x 8 pixels each, every pixel with mean 0 and standard deviation 1."""
    pixels: NDArray[np.float64] = StandardScaler().fit_transform(load_digits().data)
    return pixels.astype(np.float32).reshape(-1, 8, 8)


def leakyrelu(*arguments: object) -> None:
    """Runs the command line tool, in the open."""
    command = [str(argument) for argument in ("leakyrelu", *arguments)]
    console.print(f"[bold]$ {shlex.join(command)}[/]")
    tool = Path(sys.executable).with_name("leakyrelu")
    subprocess.run([tool, *command[1:]], check=True)


def count_agreeing(x: NDArray[np.float32], y: NDArray[np.float32]) -> int:
    """Returns how many elements of y are, bit for bit, what NumPy makes of x."""
    expected = np.where(x > 0, x, x * np.float32(NEGATIVE_SLOPE))
    return int(np.sum(y.view(np.uint32) == expected.view(np.uint32)))


def draw(x: NDArray[np.float32], y: NDArray[np.float32], path: Path) -> None:
    """Draws the first ten digits, 0 to 9, before and after."""
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    axes: Any = figure.subplots(2, 10)
    for row, name, digits in zip(axes, ("before", "after"), (x, y), strict=True):
        for axis, digit in zip(row, digits, strict=False):
            image = axis.imshow(digit, cmap="RdBu_r", vmin=-3, vmax=3)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(name)
    figure.colorbar(image, ax=axes, extend="both", label="standard deviations")
    above = np.mean(x > 0)
    figure.suptitle(
        f"LeakyReLU({NEGATIVE_SLOPE}): the {above:.0%} of all {x.size} pixels above their mean (red) stay, "
        f"the other {1 - above:.0%} (blue) shrink to {NEGATIVE_SLOPE:.0%}"
    )
    figure.savefig(path, dpi=150)


def main() -> int:
    OUT.mkdir(exist_ok=True)
    source, target = OUT / "digits.npy", OUT / "digits_leaky.npy"

    x = load()
    np.save(source, x)
    console.print(f"{len(x)} handwritten digits, {x.size} pixels, standardised, {x.dtype}")
    leakyrelu("apply", source, target, "--negative-slope", NEGATIVE_SLOPE)
    y = np.load(target)

    agreeing = count_agreeing(x, y)
    console.print(f"{agreeing} of {x.size} elements agree with NumPy bit for bit")
    if agreeing != x.size:
        console.print("[bold red]the tool and NumPy disagree[/]")
        return 1

    leakyrelu("plot", OUT / "leakyrelu.png")
    draw(x, y, OUT / "digits.png")
    console.print("Look at")
    for name, content in (
        ("leakyrelu.png", "the page's plot"),
        ("digits.png", "ten digits before and after"),
        ("digits.npy", "all digits before"),
        ("digits_leaky.npy", "all digits after"),
    ):
        console.print(f"  [bold]{OUT / name!s:20}[/]  {content}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
