"""Proves that what is measured on a CUDA device is measured rightly, on the CPU, as far as that goes."""

import pytest
import torch

from benchmarks import cuda, training


def test_speed() -> None:
    """Every operation of every dtype gives torch's bits, or this raises."""
    table = cuda.speed_table(dict.fromkeys(cuda.DTYPES, (1003,)), "cpu", rounds=2)
    assert [(row[0], row[1]) for row in table.rows] == [
        (operation, dtype)
        for dtype in ("float32", "float16", "bfloat16", "float64")
        for operation in ("forward", "forward with gradient", "backward")
    ]
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_wrong_numbers_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.leakyrelu.torch, "leaky_relu", lambda x, slope: x)
    with pytest.raises(AssertionError, match="forward of torch\\.float32: not torch's numbers"):
        cuda.speed_table({torch.float32: (10,)}, "cpu", rounds=1)


def test_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_MODELS", ((training.PATCH_DISCRIMINATOR, (64,)),))
    (row,) = cuda.training_table("cpu", rounds=2).rows
    assert row[:2] == [training.PATCH_DISCRIMINATOR, "2 x 3 x 64 x 64"]


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an allocator that says of each step what the last input's size says."""
    sizes: list[int] = []
    take_input = training.Step.input
    monkeypatch.setattr(training.Step, "input", lambda self, size: (sizes.append(size), take_input(self, 32))[1])
    monkeypatch.setattr(cuda, "_MODELS", ((training.PATCH_DISCRIMINATOR, (64, 128)),))
    monkeypatch.setattr(cuda, "_FIT_BYTES", 1000 + 100 * 300)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 7)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7 + 1000 + 100 * sizes[-1])
    (row,) = cuda.memory_table("cpu").rows
    assert row[4:] == ["1.00", "288", "288"]  # of 300, to a sixteenth


def test_largest() -> None:
    assert cuda.largest(lambda size: size <= 1234, 100) == 1200
    assert cuda.largest(lambda size: False, 100) == 0
