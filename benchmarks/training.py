"""Training steps of whole models, torch's own beside ours, in fresh processes.

Times: both sides in one process, in turn. Memory: a process for each, as what one leaves the other would reuse.
"""

import contextlib
import ctypes
import functools
import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import leakyrelu
import leakyrelu.torch
from benchmarks import machine
from benchmarks.measure import Clock, in_turn, seconds
from benchmarks.peers import OURS_TORCH, TORCH

SIDES: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    TORCH: contextlib.nullcontext,
    OURS_TORCH: leakyrelu.torch.patched,
}
HIFIGAN = "transformers SpeechT5HifiGan"
PATCH_DISCRIMINATOR = "MONAI PatchDiscriminator"
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Job:
    """A model in its default form with random weights, and how large its input is."""

    model: str
    size: int
    threads: int
    rounds: int
    compiled: bool = False

    @property
    def input(self) -> str:
        return f"{self.size} frames" if self.model == HIFIGAN else f"2 x 3 x {self.size} x {self.size}"


class Steps:
    """A model and Adam, on one side; a training step when called."""

    def __init__(self, job: Job, side: str, device: str = "cpu") -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        torch.set_num_threads(job.threads)
        self._side = SIDES[side]
        model, x = model_and_input(job)
        model, self.x = model.to(device), x.to(device)
        self._optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        self._model = torch.compile(model, dynamic=False) if job.compiled else model
        self.losses: list[float] = []

    def __call__(self) -> None:
        with self._side():
            self._optimizer.zero_grad()
            result = self._model(self.x)
            # The discriminator's last output is its verdict, and what most who train against it use.
            result = result if isinstance(result, Tensor) else result[-1]
            loss = result.square().mean()
            torch.autograd.backward(loss)
            self._optimizer.step()
            self.losses.append(loss.item())


def model_and_input(job: Job) -> tuple[nn.Module, Tensor]:
    """Both the same each time."""
    torch.manual_seed(0)
    model = _hifigan() if job.model == HIFIGAN else _patch_discriminator()
    shape = (1, job.size, 80) if job.model == HIFIGAN else (2, 3, job.size, job.size)
    return model, torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _hifigan() -> nn.Module:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    model: nn.Module = SpeechT5HifiGan(SpeechT5HifiGanConfig())
    return model


def _patch_discriminator() -> nn.Module:
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    model: nn.Module = PatchDiscriminator(spatial_dims=2, channels=64, in_channels=3)
    return model


def time_steps(job: Job, clock: Clock = seconds, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of each round's step by side.

    Raises:
        AssertionError: The losses are not the same, step by step.
    """
    steps = {side: Steps(job, side, device) for side in SIDES}
    for step in steps.values():
        step()  # compiles convolutions and fills caches
    rounds = in_turn({side: functools.partial(clock, step, 1) for side, step in steps.items()}, job.rounds)
    theirs, ours = (steps[side].losses for side in (TORCH, OURS_TORCH))
    if theirs != ours:
        raise AssertionError(f"{job.model}: other losses with ours, {theirs} and {ours}")
    return rounds


def peak(job: Job, side: str) -> int:
    """Bytes by which two steps outgrow the process as it is after a step on a small input."""
    steps = Steps(job, side)
    x = steps.x
    steps.x = x[:, : job.size // 4] if job.model == HIFIGAN else x[..., : job.size // 4, : job.size // 4]
    steps()
    steps.x = x
    leakyrelu.empty_cache()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what malloc need not keep
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, from the present size
    base = machine.kilobytes("VmHWM", "/proc/self/status")
    steps()
    steps()
    return 1024 * (machine.kilobytes("VmHWM", "/proc/self/status") - base)


def measure(job: Job) -> dict[str, Any]:
    with ProcessPoolExecutor(len(SIDES), _CONTEXT, max_tasks_per_child=1) as processes:
        rounds = processes.submit(time_steps, job).result()
        # At the same time, for nobody looks at the clock.
        peaks = {side: processes.submit(peak, job, side) for side in SIDES}
        return {
            "model": job.model,
            "input": job.input,
            "compiled": job.compiled,
            "threads": job.threads,
            "seconds": rounds,
            "peak": {side: each.result() for side, each in peaks.items()},
        }
