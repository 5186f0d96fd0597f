"""Proves that what is measured on a CUDA device is measured rightly, on the CPU, as far as that goes."""

import unittest.mock

import pytest
import torch

from benchmarks import cuda, measure, training


def test_speed() -> None:
    """Every operation of every dtype gives torch's bits, or this raises."""
    table = cuda.speed_table(measure.seconds, dict.fromkeys(cuda.DTYPES, (1003,)), "cpu", rounds=2)
    assert [(row[0], row[1]) for row in table.rows] == [
        (operation, dtype)
        for dtype in ("float32", "float16", "bfloat16", "float64")
        for operation in ("forward", "forward with gradient", "backward")
    ]
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_wrong_numbers_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.leakyrelu.torch, "leaky_relu", lambda x, slope: x)
    with pytest.raises(AssertionError, match="forward of torch\\.float32: not torch's numbers"):
        cuda.speed_table(measure.seconds, {torch.float32: (10,)}, "cpu", rounds=1)


def test_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_MODELS", ((training.PATCH_DISCRIMINATOR, (64,)),))
    (row,) = cuda.training_table(measure.seconds, "cpu", rounds=2).rows
    assert row[:2] == [training.PATCH_DISCRIMINATOR, "2 x 3 x 64 x 64"]


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an allocator that says of each step that it took more than the one before."""
    peaks = iter((7 + (100 << 20), 7 + (64 << 20)))
    monkeypatch.setattr(cuda, "_MODELS", ((training.PATCH_DISCRIMINATOR, (32,)),))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 7)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(peaks))
    (row,) = cuda.memory_table("cpu").rows
    assert row[2:] == ["100 MiB", "64 MiB", "0.64"]


def test_steps_with_other_losses_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    job = training.Job(training.PATCH_DISCRIMINATOR, 32, threads=torch.get_num_threads(), rounds=1)
    patched = unittest.mock.patch("torch.nn.functional.leaky_relu", lambda x, *_, **__: x * 0.5)
    monkeypatch.setitem(training.SIDES, training.OURS_TORCH, lambda: patched)
    with pytest.raises(AssertionError, match="other losses with ours"):
        training.time_steps(job)
