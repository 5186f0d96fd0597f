"""Training steps of whole models, torch's own beside ours, and what the memory cache leaves: in fresh processes.

Times: both sides in one process, in turn. Memory: a process for each, as what one leaves the other would reuse.
"""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

import leakyrelu
import leakyrelu.torch
from benchmarks import memory
from benchmarks.peers import OURS_TORCH, TORCH

SIDES: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    TORCH: contextlib.nullcontext,
    OURS_TORCH: leakyrelu.torch.patched,
}
HIFIGAN = "transformers SpeechT5HifiGan"
PATCH_DISCRIMINATOR = "MONAI PatchDiscriminator"
_CACHE_ELEMENTS = 1 << 25
_CONTEXT = multiprocessing.get_context("spawn")

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A model in its default form with random weights, and how large its input is."""

    model: str
    size: int
    threads: int
    rounds: int

    @property
    def input(self) -> str:
        return f"{self.size} frames" if self.model == HIFIGAN else f"2 x 3 x {self.size} x {self.size}"


class Step:
    """A model, Adam, and one training step."""

    def __init__(self, job: Job, device: str = "cpu") -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        torch.set_num_threads(job.threads)
        torch.manual_seed(0)
        self._job = job
        self._model = (_hifigan() if job.model == HIFIGAN else _patch_discriminator()).to(device)
        self._device = device
        self._optimizer = torch.optim.Adam(self._model.parameters(), 1e-4)

    def input(self, size: int) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        shape = (1, size, 80) if self._job.model == HIFIGAN else (2, 3, size, size)
        return torch.randn(shape, generator=generator).to(self._device)

    def __call__(self, x: Tensor) -> float:
        self._optimizer.zero_grad()
        result = self._model(x)
        # The discriminator's last output is its verdict, and what most who train against it use.
        result = result if isinstance(result, Tensor) else result[-1]
        loss = result.square().mean()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.item()


def _hifigan() -> nn.Module:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    model: nn.Module = SpeechT5HifiGan(SpeechT5HifiGanConfig())
    return model


def _patch_discriminator() -> nn.Module:
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    model: nn.Module = PatchDiscriminator(spatial_dims=2, channels=64, in_channels=3)
    return model


def time_steps(job: Job) -> dict[str, list[float]]:
    """Seconds of each round's step by side.

    Raises:
        AssertionError: The losses are not the same, step by step.
    """
    steps = {side: Step(job) for side in SIDES}
    order = list(SIDES)
    rounds: dict[str, list[float]] = {side: [] for side in SIDES}
    for i in range(job.rounds + 1):
        losses = set()
        for side in order:
            step = steps[side]
            x = step.input(job.size)
            with SIDES[side]():
                start = time.perf_counter()
                losses.add(step(x))
                seconds = time.perf_counter() - start
            if i > 0:  # the first compiles convolutions and fills caches
                rounds[side].append(seconds)
        if len(losses) != 1:
            raise AssertionError(f"{job.model}: other losses with ours, {sorted(losses)}")
        order.reverse()
    return rounds


def peak(job: Job, side: str) -> int:
    """Bytes by which two steps outgrow the process as it is after a step on a small input."""
    step = Step(job)
    small, x = step.input(job.size // 4), step.input(job.size)
    with SIDES[side]():
        step(small)
        leakyrelu.empty_cache()
        return memory.peak_above_base(lambda: (step(x), step(x)))


def measure(job: Job) -> dict[str, Any]:
    return {
        "model": job.model,
        "input": job.input,
        "threads": job.threads,
        "seconds": _in_fresh_process(time_steps, job),
        "peak": _peaks(job),
    }


def _peaks(job: Job) -> dict[str, int]:
    """At the same time, for nobody looks at the clock."""
    with ProcessPoolExecutor(len(SIDES), _CONTEXT, max_tasks_per_child=1) as processes:
        jobs = {side: processes.submit(peak, job, side) for side in SIDES}
        return {side: each.result() for side, each in jobs.items()}


def cache() -> dict[str, Any]:
    """Bytes that large outputs, made and dropped, leave resident before and after `empty_cache`."""
    return _in_fresh_process(_cache)


def _cache() -> dict[str, Any]:
    x = np.ones(_CACHE_ELEMENTS, np.float32)
    tensor = torch.ones(_CACHE_ELEMENTS)

    def work(elements: int) -> None:
        y, mask = leakyrelu.leaky_relu_with_mask(x[:elements])
        leakyrelu.leaky_relu_backward(y, mask)
        leaf = tensor[:elements].detach().requires_grad_()
        torch.autograd.backward(leakyrelu.torch.leaky_relu(leaf).sum())

    work(1 << 17)  # starts the threads, whose stacks stay
    leakyrelu.empty_cache()
    base = memory.resident()
    for _ in range(3):
        work(_CACHE_ELEMENTS)
    kept, stats = memory.resident() - base, leakyrelu.memory_stats()
    leakyrelu.empty_cache()
    return {"kept": kept, "left": memory.resident() - base, "stats": stats}


def _in_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    with ProcessPoolExecutor(1, _CONTEXT) as process:
        return process.submit(function, *arguments).result()
