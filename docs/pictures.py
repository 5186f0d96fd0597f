"""python docs/pictures.py: draws function.svg and saved.svg anew, the second from what it measures: some 30 seconds."""

import sys
from pathlib import Path
from typing import Any, cast

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from leakyrelu import _plot
from leakyrelu.torch import FusedLeakyReLU, saved_bytes

DOCS = Path(__file__).parent
TORCH, OURS = "#f2a65a", "#1f4e8c"  # as in examples/train_digits.py
MIB = 2**20


def measured() -> dict[str, tuple[float, float]]:
    """MiB that autograd holds between forward and backward, torch's and ours, by model."""
    sys.path[:0] = [str(DOCS.parent / "tests/shared"), str(DOCS.parent / "examples")]
    import real_models
    import stylegan_block

    def saved(model: nn.Module, x: Tensor) -> tuple[float, float]:
        found = saved_bytes(model, x.requires_grad_())
        return found.torch / MIB, found.ours / MIB

    hifigan, x = real_models.hifigan(200)
    # What is kept is decided before the compiler's last step, which takes minutes.
    compiled = cast(nn.Module, torch.compile(hifigan, backend="aot_eager_decomp_partition"))
    styles = torch.randn(16, stylegan_block.STYLE)
    theirs, ours = (
        stylegan_block.kept(stylegan_block.Generator(activation), styles) / MIB
        for activation in (stylegan_block.OneByOne, FusedLeakyReLU)
    )
    return {
        "HiFi-GAN vocoder\n(SpeechT5HifiGan)": saved(hifigan, x),
        "the same, torch.compile": saved(compiled, x),
        "image discriminator\n(PatchDiscriminator)": saved(*real_models.patch_discriminator(512)),
        "StyleGAN-like generator\n(FusedLeakyReLU)": (theirs, ours),
        "U-Net, in place\n(DynUNet)": saved(*real_models.dyn_unet(96)),
    }


def draw(found: dict[str, tuple[float, float]]) -> Figure:
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes: Any = figure.add_subplot()
    for i, pair in enumerate(found.values()):
        for shift, mib, side, color in zip((-0.19, 0.19), pair, ("torch", "leakyrelu"), (TORCH, OURS), strict=True):
            axes.barh(i + shift, mib, 0.36, color=color, label=side if i == 0 else None)
            change = f" ({mib / pair[0] - 1:+.0%})" if side == "leakyrelu" else ""
            axes.annotate(f"{mib:.1f}{change}", (mib, i + shift), (4, 0), textcoords="offset points", va="center")
    axes.set(
        yticks=range(len(found)), yticklabels=list(found), xlabel="MiB", xlim=(0, 1.2 * max(map(max, found.values())))
    )
    axes.set_title("What autograd holds between forward and backward")
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    # On white, for dark pages too; words as words, which keeps the file small and can be found; no date.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "leakyrelu"}):
        draw(measured()).savefig(DOCS / "saved.svg", metadata={"Date": None})
        (DOCS / "function.svg").write_bytes(_plot.draw([0.1], False, "svg"))


if __name__ == "__main__":
    main()
