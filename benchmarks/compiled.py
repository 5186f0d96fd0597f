"""What a compiled model keeps for the backward: torch's LeakyReLU beside ours."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks import training
from benchmarks.peers import OURS_TORCH, TORCH
from leakyrelu.torch import saved_bytes

CHANNELS, PIXELS, LAYERS = 16, 64, 6


class Convolutions(nn.Module):
    """LeakyReLU behind each convolution, behind its BatchNorm, or before it in a residual block."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._is_residual = kind == "residual"
        self._layers = nn.ModuleList()
        for _ in range(LAYERS):
            convolution, activation = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.LeakyReLU(0.1)
            if self._is_residual:
                self._layers.append(nn.Sequential(activation, convolution))
            elif kind == "BatchNorm":
                self._layers.append(nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS), activation))
            else:
                self._layers.append(nn.Sequential(convolution, activation))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers:
            x = x + layer(x) if self._is_residual else layer(x)
        return x


KINDS = ("plain", "residual", "BatchNorm")


def run(full: bool) -> list[dict[str, Any]]:
    """For each model the bytes that torch and ours keep."""
    x = torch.randn(4, CHANNELS, PIXELS, PIXELS, requires_grad=True)
    found = [_row(f"{LAYERS} convolutions, {kind}", Convolutions(kind), x) for kind in KINDS]
    if full:
        for job in (training.Job(training.HIFIGAN, 100, 1, 1), training.Job(training.PATCH_DISCRIMINATOR, 256, 1, 1)):
            model, x = training.model_and_input(job)
            found.append(_row(f"{job.model}, {job.input}", model, x.requires_grad_()))
    return found


def _row(name: str, model: nn.Module, x: Tensor) -> dict[str, Any]:
    torch._dynamo.reset()
    # What is kept is decided before the compiler's last step, which takes a minute, and is left out.
    kept = saved_bytes(cast(nn.Module, torch.compile(model, backend="aot_eager_decomp_partition")), x)
    return {"model": name, TORCH: kept.torch, OURS_TORCH: kept.ours}
