"""python -m benchmarks.cuda: on a CUDA device, beside torch's own and beside a copy. Prints."""

import argparse
import functools
import gc
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

import leakyrelu.torch
from benchmarks import training
from benchmarks.measure import Spread, ratio, spread
from benchmarks.peers import OURS_TORCH, TORCH
from benchmarks.report import Table, duration

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SIZES = tuple(1 << exponent for exponent in (10, 14, 17, 20, 22, 24, 26))
SLOPE = 0.01
COPY = "copy"
_BLOCK_SECONDS = 0.01
_ROUNDS = 15
_MODELS = ((training.HIFIGAN, (100, 400)), (training.PATCH_DISCRIMINATOR, (256, 1024)))
_FIT_BYTES = 8 << 30  # "what fits" is asked of so much of the card, to be done in time

Call = Callable[[], Any]


class Clock:
    """Seconds a call takes on the device, apart from the first ones."""

    def __init__(self, device: str) -> None:
        self._on_cuda = torch.device(device).type == "cuda"

    def seconds(self, call: Call, calls: int) -> float:
        if not self._on_cuda:
            start = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - start) / calls
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start_event.record()
        for _ in range(calls):
            call()
        end_event.record()
        end_event.synchronize()
        return float(start_event.elapsed_time(end_event)) / 1000 / calls


def in_turn(clock: Clock, calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each name, one for each round: in turn, so that what disturbs one disturbs all."""
    counts = {}
    for name, call in calls.items():
        clock.seconds(call, 3)
        counts[name] = max(1, min(1000, int(_BLOCK_SECONDS / max(clock.seconds(call, 3), 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(clock.seconds(call, counts[name]))
        calls = dict(reversed(calls.items()))
    return times


def operations(
    elements: int, dtype: torch.dtype, device: str
) -> Iterator[tuple[str, dict[str, Call], dict[str, float]]]:
    """(operation, calls by name, bytes a call moves by name); first each is seen to give torch's bits."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(elements, generator=generator).to(device, dtype)
    dy = torch.randn(elements, generator=generator).to(device, dtype)
    target = torch.empty_like(x)
    size, mask_bytes = x.nbytes, (elements + 7) // 8
    copy: Call = lambda: target.copy_(x)  # noqa: E731

    def forward(input: Tensor) -> dict[str, Call]:
        return {
            TORCH: lambda: F.leaky_relu(input, SLOPE),
            OURS_TORCH: lambda: leakyrelu.torch.leaky_relu(input, SLOPE),
            COPY: copy,
        }

    _require_same(leakyrelu.torch.leaky_relu(x, SLOPE), F.leaky_relu(x, SLOPE), f"forward of {dtype}")
    yield "forward", forward(x), {TORCH: 2 * size, OURS_TORCH: 2 * size, COPY: 2 * size}

    leaf = x.detach().requires_grad_()
    y, reference = leakyrelu.torch.leaky_relu(leaf, SLOPE), F.leaky_relu(leaf, SLOPE)
    _require_same(_gradient(y, leaf, dy), _gradient(reference, leaf, dy), f"gradient of {dtype}")
    yield "forward with gradient", forward(leaf), {TORCH: 2 * size, OURS_TORCH: 2 * size + mask_bytes, COPY: 2 * size}

    mask = leakyrelu.torch.leaky_relu_with_mask(x, SLOPE)[1]
    native = torch.ops.aten.leaky_relu_backward
    calls: dict[str, Call] = {
        TORCH: lambda: native(dy, x, SLOPE, False),
        OURS_TORCH: lambda: leakyrelu.torch.leaky_relu_backward(dy, mask, SLOPE),
        COPY: copy,
    }
    yield "backward", calls, {TORCH: 3 * size, OURS_TORCH: 2 * size + mask_bytes, COPY: 2 * size}


def _gradient(y: Tensor, leaf: Tensor, dy: Tensor) -> Tensor:
    return torch.autograd.grad(y, leaf, dy)[0]


def _require_same(ours: Tensor, reference: Tensor, what: str) -> None:
    if not torch.equal(ours, reference):
        raise AssertionError(f"{what}: not torch's numbers")


def speed_table(elements_of: dict[torch.dtype, tuple[int, ...]], device: str, rounds: int) -> Table:
    """Times and bandwidths over sizes and dtypes."""
    headings = ["operation", "dtype", "elements", "leakyrelu", "torch", "torch/ours", "GB/s", "of copy", "copy GB/s"]
    table = Table(f"Time a call, {rounds} rounds in turn: median", headings)
    clock = Clock(device)
    for dtype, sizes in elements_of.items():
        for elements in sizes:
            for operation, calls, moved in operations(elements, dtype, device):
                times = in_turn(clock, calls, rounds)
                ours, copy = spread(times[OURS_TORCH]).median, spread(times[COPY]).median
                bandwidth, copy_bandwidth = moved[OURS_TORCH] / ours, moved[COPY] / copy
                cells = [operation, str(dtype).removeprefix("torch."), str(elements), duration(ours)]
                cells += [duration(spread(times[TORCH]).median), _range(ratio(times[TORCH], times[OURS_TORCH]))]
                cells += [f"{bandwidth / 1e9:.0f}", f"{bandwidth / copy_bandwidth:.2f}", f"{copy_bandwidth / 1e9:.0f}"]
                table.rows.append(cells)
    return table


def _range(values: Spread) -> str:
    return f"{values.median:.2f} ({values.low:.2f} to {values.high:.2f})"


def training_table(device: str, rounds: int) -> Table:
    """Steps of whole models, both sides in turn; the losses must be the same."""
    headings = ["model", "input", "torch", "leakyrelu", "torch/ours"]
    table = Table("A training step", headings)
    for model, sizes in _MODELS:
        for size in sizes:
            job = training.Job(model, size, threads=torch.get_num_threads(), rounds=rounds)
            runs = {side: Run(job, side, device) for side in training.SIDES}
            # Else the convolutions' own gradients differ from step to step.
            with torch.backends.cudnn.flags(enabled=True, deterministic=True):
                times = in_turn(Clock(device), dict(runs), rounds)
            ours, reference = (runs[side].losses for side in (OURS_TORCH, TORCH))
            common = min(len(ours), len(reference))
            if ours[:common] != reference[:common]:
                raise AssertionError(f"{model}: other losses with ours")
            cells = [model, job.input, duration(spread(times[TORCH]).median)]
            cells += [duration(spread(times[OURS_TORCH]).median), _range(ratio(times[TORCH], times[OURS_TORCH]))]
            table.rows.append(cells)
    return table


class Run:
    """Steps of one side, each when called."""

    def __init__(self, job: training.Job, side: str, device: str) -> None:
        self._step = training.Step(job, device)
        self._side = training.SIDES[side]
        self._x = self._step.input(job.size)
        self.losses: list[float] = []

    def __call__(self) -> None:
        with self._side():
            self.losses.append(self._step(self._x))


def memory_table(device: str) -> Table:
    """What training steps take of the card, and what they could take."""
    headings = ["model", "input", "torch", "leakyrelu", "ours/torch", "fits with torch", "fits with ours"]
    table = Table(
        f"Peak memory of a step above the model's own; the largest that fits {_FIT_BYTES >> 30} GiB", headings
    )
    for model, (size, _) in _MODELS:
        job = training.Job(model, size, threads=torch.get_num_threads(), rounds=1)
        peaks = {side: peak(job, side, size, device) for side in training.SIDES}
        fits = {side: largest(functools.partial(_fits, job, side, device), size) for side in training.SIDES}
        cells = [model, job.input, *(f"{peaks[side] / (1 << 20):.0f} MiB" for side in (TORCH, OURS_TORCH))]
        cells += [f"{peaks[OURS_TORCH] / peaks[TORCH]:.2f}", str(fits[TORCH]), str(fits[OURS_TORCH])]
        table.rows.append(cells)
    return table


def _fits(job: training.Job, side: str, device: str, size: int) -> bool:
    return peak(job, side, size, device) <= _FIT_BYTES


def peak(job: training.Job, side: str, size: int, device: str) -> float:
    """Bytes by which a step outgrows weights, gradients and the optimizer's state; infinite if it does not fit."""
    step = training.Step(job, device)
    try:
        with training.SIDES[side]():
            step(step.input(job.size // 4))
            gc.collect()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step(step.input(size))
            return torch.cuda.max_memory_allocated() - before
    except torch.cuda.OutOfMemoryError:
        return float("inf")
    finally:
        del step
        gc.collect()
        torch.cuda.empty_cache()


def largest(fits: Callable[[int], bool], start: int) -> int:
    """The largest size from `start` on that fits, to about a sixteenth; 0 if none does."""
    if not fits(start):
        return 0
    low = start
    for high in itertools.count(1):
        if not fits(start << high):
            break
        low = start << high
    step = low // 2
    while step >= max(1, low // 16):
        if fits(low + step):
            low += step
        step //= 2
    return low


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description="leakyrelu on a CUDA device")
    parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device")
    console = Console() if Console().is_terminal else Console(width=200)
    properties = torch.cuda.get_device_properties(0)
    console.print(
        f"{properties.name}, {properties.total_memory >> 30} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}"
    )
    sizes = {dtype: SIZES if dtype == torch.float32 else SIZES[-1:] for dtype in DTYPES}
    console.print(speed_table(sizes, "cuda", _ROUNDS).rich())
    console.print(training_table("cuda", _ROUNDS).rich())
    console.print(memory_table("cuda").rich())


if __name__ == "__main__":
    main()
