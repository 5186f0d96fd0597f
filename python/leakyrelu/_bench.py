"""Times the array functions beside a copy of as many bytes, interleaved."""

from __future__ import annotations

import itertools
import statistics
import timeit
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import leakyrelu
from leakyrelu import _core

SIZES = (64 << 10, 1 << 20, 16 << 20, 128 << 20)  # bytes of an array
ROUNDS = 9
BLOCK_SECONDS = 0.008  # at least, between two looks at the clock

# x, y: arrays; mask: x's. All write to y, memory that is there already.
STATEMENTS = {
    "copy": "copyto(y, x)",
    "forward": "forward(x, out=y)",
    "with mask": "with_mask(x, out=y)",
    "backward": "backward(x, mask, out=y)",
}


class Row(NamedTuple):
    """Median bytes per second, read and written, by statement."""

    dtype: str
    size: int
    speeds: dict[str, float]


def target() -> str:
    """The instruction set in use, and what LEAKYRELU_TARGET names where that is ignored."""
    _, supported, active = _core.targets()
    ignored = _core.ignored_target()
    if ignored is None:
        return active
    return f"{active} (LEAKYRELU_TARGET={ignored!r} is ignored; it must be one of {' '.join(supported)})"


def dtypes() -> list[np.dtype[Any]]:
    """Those that NumPy has here; bfloat16 is another package's."""
    found: list[Any] = [np.float32, np.float64, np.float16]
    try:
        import ml_dtypes
    except ImportError:
        pass
    else:
        found.append(ml_dtypes.bfloat16)
    return [np.dtype(each) for each in found]


def measure() -> Iterator[Row]:
    """Yields a row for each dtype and size."""
    for dtype, size in itertools.product(dtypes(), SIZES):
        names = _operands(dtype, size // dtype.itemsize)
        timers = {name: timeit.Timer(statement, globals=names) for name, statement in STATEMENTS.items()}
        for timer in timers.values():
            timer.timeit(1)
        counts = {name: max(1, round(BLOCK_SECONDS / timer.timeit(1))) for name, timer in timers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(ROUNDS):
            for name, timer in timers.items():
                seconds[name].append(timer.timeit(counts[name]) / counts[name])
            timers = dict(reversed(timers.items()))
        moved = 2 * names["x"].nbytes
        yield Row(dtype.name, size, {name: moved / statistics.median(seconds[name]) for name in STATEMENTS})


def heading() -> str:
    functions = "".join(f"{name:>17}" for name in STATEMENTS if name != "copy")
    return f"{'dtype':<10}{'array':>8}{'copy':>12}{functions}"


def line(row: Row) -> str:
    """GB/s, and behind it the part of the copy's speed."""
    size = f"{row.size >> 20} MiB" if row.size >= 1 << 20 else f"{row.size >> 10} KiB"
    copy, *speeds = row.speeds.values()
    functions = "".join(f"{speed / 1e9:>6.1f} GB/s {speed / copy:>5.2f}" for speed in speeds)
    return f"{row.dtype:<10}{size:>8}{copy / 1e9:>7.1f} GB/s{functions}"


def _operands(dtype: np.dtype[Any], elements: int) -> dict[str, Any]:
    # Of magnitude 1 to 2 and either sign: no subnormal numbers, which are slow on most processors.
    random = np.random.default_rng(0)
    some = (random.uniform(1, 1.99, 4096) * random.choice([-1.0, 1.0], 4096)).astype(dtype)
    x: NDArray[Any] = np.resize(some, elements)
    y, mask = leakyrelu.leaky_relu_with_mask(x)
    return {
        "x": x,
        "y": y,
        "mask": mask,
        "copyto": np.copyto,
        "forward": leakyrelu.leaky_relu,
        "with_mask": leakyrelu.leaky_relu_with_mask,
        "backward": leakyrelu.leaky_relu_backward,
    }
