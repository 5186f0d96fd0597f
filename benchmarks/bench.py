"""The run: every side checked and timed on every case; small calls, the fused operation, a busy machine, training."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

import leakyrelu
from benchmarks import busy, cases, compiled, fused, machine, native, peers, small, training
from benchmarks.cases import Case
from benchmarks.data import Data, as_array, same
from benchmarks.measure import Budget, Side, measure

QUICK = Budget(0.3, 5, 31)
FULL = Budget(1.5, 9, 101)
# Of a case's array: operands in two kinds of memory, results, and what the oracle needs on the way.
_ARRAYS_AT_ONCE = 14
_OURS = (peers.OURS, peers.OURS_OUT, peers.OURS_TORCH, native.OURS_C)
_IN_QUICK_HUGE_CASES = (*_OURS, *native.COPIES, peers.TORCH, peers.ONNXRUNTIME)  # what is wanted there
_BUSY = 0.5  # load


class Bench:
    """The sides that take part, and what has been found so far. Whoever fails is told about and left out."""

    def __init__(self, build: Path, full: bool) -> None:
        self.cores = torch.get_num_threads()
        self.full = full
        self.budget = FULL if full else QUICK
        self.sides, missing = peers.python_peers()
        self.document: dict[str, Any] = {
            "machine": machine.describe(self.cores),
            "missing": missing,
            "notes": [],
            "cases": [],
            "small": {},
            "fused": [],
            "compiled": [],
            "training": [],
            "busy": [],
        }
        self._library = None
        with self._or_without("the native sides"):
            self._library = native.load(build)
            self.sides += native.native_peers(self._library)

    def run(self, grid: Iterable[Case]) -> None:
        """Checks each side on each case's own numbers and times them."""
        data = None
        for case in grid:
            available = 1024 * machine.kilobytes("MemAvailable", "/proc/meminfo")
            if _ARRAYS_AT_ONCE * case.elements * case.itemsize > available:
                self.document["notes"].append(f"Not enough memory for {case.elements} elements of {case.dtype}")
                continue
            self._set_num_threads(case.threads)
            if data is None or data.case.memory != case.memory:
                data = None  # lets the old go before the new comes
                data = Data(case)
            data.case = case
            sides = self._checked_sides(case, data)
            result = asdict(case) | {"bytes_moved": case.bytes_moved, "sides": measure(sides, self.budget)}
            self.document["cases"].append(result)

    def measure_the_rest(self) -> None:
        self._set_num_threads(1)
        self.document["small"] = small.run(self.budget)
        self._set_num_threads(self.cores)
        self.document["fused"] = fused.run(self.full, self.budget)
        with self._or_without("torch.compile"):
            self.document["compiled"] = compiled.run(self.full)
        with self._or_without("a busy machine"):
            rounds = 20 if self.full else 5
            self.document["busy"] = busy.measure(self.sides, self._set_num_threads, self.cores, rounds)
        for job in training_jobs(self.full, self.cores):
            with self._or_without(job.model):
                self.document["training"].append(training.measure(job))

    def _checked_sides(self, case: Case, data: Data) -> list[Side]:
        expected = data.expected()
        sides = []
        for peer in self.sides[:]:
            if case.dtype not in peer.dtypes:
                continue
            if case.elements >= cases.HUGE and not self.full and peer.name not in _IN_QUICK_HUGE_CASES:
                continue
            try:
                side = peer.side(case, data)
                if side is None:
                    continue
                wanted = expected
                if peer.name in native.COPIES:
                    wanted = data.g if case.operation == cases.BACKWARD else data.x
                equal = same(as_array(side.run()), wanted)
                if not equal.all():
                    raise AssertionError(f"{case}: other bits in {np.count_nonzero(~equal)} elements")
                sides.append(side)
            except Exception as error:
                if peer.name in _OURS:
                    raise
                self._leave_out(peer.name, error)
                self.sides.remove(peer)
        return sides

    def _set_num_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)
        leakyrelu.set_num_threads(threads)
        if self._library is not None:
            self._library.native_set_num_threads(threads)

    @contextlib.contextmanager
    def _or_without(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._leave_out(what, error)

    def _leave_out(self, what: str, error: Exception) -> None:
        text = " ".join(str(error).split())
        self.document["missing"][what] = f"{type(error).__name__}: {text[:300]}"


def training_jobs(full: bool, cores: int) -> list[training.Job]:
    if not full:
        return [training.Job(training.HIFIGAN, 48, cores, rounds=3)]
    return [
        training.Job(training.HIFIGAN, 200, cores, rounds=7),
        training.Job(training.PATCH_DISCRIMINATOR, 512, cores, rounds=9),
        training.Job(training.HIFIGAN, 100, cores, rounds=7, compiled=True),
        training.Job(training.PATCH_DISCRIMINATOR, 256, cores, rounds=9, compiled=True),
    ]


def run(build: Path, full: bool, console: Console) -> dict[str, Any]:
    """The whole of it."""
    bench = Bench(build, full)
    notes = bench.document["notes"]
    grid = list(cases.grid(full, bench.cores))
    with Progress(console=console, transient=True) as progress:
        bench.run(progress.track(grid, description="forward, backward"))
        progress.add_task("small calls, the fused operation, a busy machine, training steps", total=None)
        bench.measure_the_rest()
    if not full:
        notes.append(f"With --full alone: the other sides on {cases.HUGE} elements, more sizes, one thread")
    if float(bench.document["machine"]["load at the start"]) > _BUSY:
        notes.append("The machine was busy at the start: a library that waits for all its threads is slowed most")
    notes.append(f"The load at the end was {os.getloadavg()[0]:.2f}")
    return bench.document
