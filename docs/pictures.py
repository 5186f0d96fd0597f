"""python docs/pictures.py: draws function.svg and saved.svg anew, the second from what it measures: some 10 seconds."""

import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from leakyrelu import _plot
from leakyrelu.torch import saved_bytes

DOCS = Path(__file__).parent
TORCH, OURS = "#f2a65a", "#1f4e8c"  # as in examples/train_digits.py
MIB = 2**20


def measured() -> dict[str, tuple[float, float]]:
    """MiB that autograd holds between forward and backward, torch's and ours, by model."""
    sys.path.insert(0, str(DOCS.parent / "tests/shared"))
    import real_models

    found = {}
    for name, (model, x) in {
        "HiFi-GAN vocoder\n(SpeechT5HifiGan)": real_models.hifigan(200),
        "image discriminator\n(PatchDiscriminator)": real_models.patch_discriminator(512),
        "U-Net, in place\n(DynUNet)": real_models.dyn_unet(96),
    }.items():
        saved = saved_bytes(model, x.requires_grad_())
        found[name] = saved.torch / MIB, saved.ours / MIB
    return found


def draw(found: dict[str, tuple[float, float]]) -> Figure:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
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
