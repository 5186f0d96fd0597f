"""python -m benchmarks.cuda: on a CUDA device, beside torch's own and beside a copy. Prints."""

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

import leakyrelu.torch
from benchmarks import training
from benchmarks.measure import Clock, in_turn, ratio, spread
from benchmarks.peers import OURS_TORCH, TORCH
from benchmarks.report import Table, duration, with_quartiles

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SIZES = tuple(1 << exponent for exponent in (10, 14, 17, 20, 22, 24, 26))
SLOPE = 0.01
COPY = "copy"
_BLOCK_SECONDS = 0.01
_ROUNDS = 15
_MODELS = ((training.HIFIGAN, (100, 400)), (training.PATCH_DISCRIMINATOR, (256, 1024)))

Call = Callable[[], Any]


def on_device(call: Call, number: int) -> float:
    """Seconds that so many calls take on the device, apart from the time it takes to start the first."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(number):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def block(clock: Clock, call: Call) -> Callable[[], float]:
    """Gives the seconds of a call, by as many of them as take long enough to be measured."""
    clock(call, 3)
    number = max(1, min(1000, int(_BLOCK_SECONDS / max(clock(call, 3) / 3, 1e-7))))
    return lambda: clock(call, number) / number


def operations(elements: int, dtype: torch.dtype, device: str) -> Iterator[tuple[str, dict[str, Call]]]:
    """(operation, calls by name); first each is seen to give torch's bits."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(elements, generator=generator).to(device, dtype)
    dy = torch.randn(elements, generator=generator).to(device, dtype)
    target = torch.empty_like(x)
    copy: Call = lambda: target.copy_(x)  # noqa: E731

    def forward(input: Tensor) -> dict[str, Call]:
        return {
            TORCH: lambda: F.leaky_relu(input, SLOPE),
            OURS_TORCH: lambda: leakyrelu.torch.leaky_relu(input, SLOPE),
            COPY: copy,
        }

    _require_same(leakyrelu.torch.leaky_relu(x, SLOPE), F.leaky_relu(x, SLOPE), f"forward of {dtype}")
    yield "forward", forward(x)

    leaf = x.detach().requires_grad_()
    y, reference = leakyrelu.torch.leaky_relu(leaf, SLOPE), F.leaky_relu(leaf, SLOPE)
    _require_same(_gradient(y, leaf, dy), _gradient(reference, leaf, dy), f"gradient of {dtype}")
    yield "forward with gradient", forward(leaf)

    mask = leakyrelu.torch.leaky_relu_with_mask(x, SLOPE)[1]
    native = torch.ops.aten.leaky_relu_backward
    backward: Call = lambda: native(dy, x, SLOPE, False)  # noqa: E731
    ours: Call = lambda: leakyrelu.torch.leaky_relu_backward(dy, mask, SLOPE)  # noqa: E731
    yield "backward", {TORCH: backward, OURS_TORCH: ours, COPY: copy}


def _gradient(y: Tensor, leaf: Tensor, dy: Tensor) -> Tensor:
    return torch.autograd.grad(y, leaf, dy)[0]


def _require_same(ours: Tensor, reference: Tensor, what: str) -> None:
    if not torch.equal(ours, reference):
        raise AssertionError(f"{what}: not torch's numbers")


def speed_table(clock: Clock, elements_of: dict[torch.dtype, tuple[int, ...]], device: str, rounds: int) -> Table:
    """Over sizes and dtypes."""
    headings = ["operation", "dtype", "elements", "leakyrelu", "torch", "copy", "torch/ours", "copy/ours", "copy GB/s"]
    table = Table(f"Time per call, {rounds} rounds in turn: median", headings)
    for dtype, sizes in elements_of.items():
        for elements in sizes:
            for operation, calls in operations(elements, dtype, device):
                times = in_turn({name: block(clock, call) for name, call in calls.items()}, rounds)
                medians = [spread(times[name]).median for name in (OURS_TORCH, TORCH, COPY)]
                cells = [operation, str(dtype).removeprefix("torch."), str(elements), *map(duration, medians)]
                cells += [with_quartiles(ratio(times[name], times[OURS_TORCH])) for name in (TORCH, COPY)]
                table.rows.append([*cells, f"{2 * elements * dtype.itemsize / medians[-1] / 1e9:.0f}"])
    return table


def jobs(rounds: int) -> list[training.Job]:
    threads = torch.get_num_threads()
    return [training.Job(model, size, threads, rounds) for model, sizes in _MODELS for size in sizes]


def training_table(clock: Clock, device: str, rounds: int) -> Table:
    """Steps of whole models, both sides in turn; the losses must be the same."""
    table = Table("A training step", ["model", "input", "torch", "leakyrelu", "torch/ours"])
    for job in jobs(rounds):
        # Else the convolutions' own gradients differ from step to step.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True):
            times = training.time_steps(job, clock, device)
        cells = [duration(spread(times[side]).median) for side in (TORCH, OURS_TORCH)]
        table.rows.append([job.model, job.input, *cells, with_quartiles(ratio(times[TORCH], times[OURS_TORCH]))])
    return table


def memory_table(device: str) -> Table:
    """What training steps take of the card."""
    headings = ["model", "input", "torch", "leakyrelu", "ours/torch"]
    table = Table("Peak memory of a training step above weights, gradients and the optimizer's state", headings)
    for job in jobs(rounds=1):
        theirs, ours = (peak(job, side, device) for side in (TORCH, OURS_TORCH))
        cells = [job.model, job.input, *(f"{each / (1 << 20):.0f} MiB" for each in (theirs, ours))]
        table.rows.append([*cells, f"{ours / theirs:.2f}"])
    return table


def peak(job: training.Job, side: str, device: str) -> int:
    """Bytes by which a step outgrows weights, gradients and the optimizer's state."""
    step = training.Steps(job, side, device)
    step()
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return torch.cuda.max_memory_allocated() - before


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device")
    console = Console() if Console().is_terminal else Console(width=200)
    properties = torch.cuda.get_device_properties(0)
    console.print(
        f"{properties.name}, {properties.total_memory >> 30} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}"
    )
    sizes = {dtype: SIZES if dtype == torch.float32 else SIZES[-1:] for dtype in DTYPES}
    console.print(speed_table(on_device, sizes, "cuda", _ROUNDS).rich())
    console.print(training_table(on_device, "cuda", _ROUNDS).rich())
    console.print(memory_table("cuda").rich())


if __name__ == "__main__":
    main()
