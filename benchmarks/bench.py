"""The run: every side checked, then timed on every case, then the kernels and the training steps; a JSON document."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

import leakyrelu
from benchmarks import busy, cases, exactness, kernels, machine, memory, native, peers, small, training
from benchmarks.cases import Case
from benchmarks.data import Data, as_array, same
from benchmarks.measure import Budget, Side, measure
from benchmarks.peers import Peer
from leakyrelu import _core

QUICK = Budget(0.3, 5, 31)
FULL = Budget(1.5, 9, 101)
# Of a case's array: operands in two kinds of memory, results, and what the oracle needs on the way.
_ARRAYS_AT_ONCE = 14
_OURS = (peers.OURS, peers.OURS_OUT, peers.OURS_TORCH, native.OURS_C)
_IN_QUICK_HUGE_CASES = (*_OURS, *native.COPIES, peers.TORCH, peers.ONNXRUNTIME)  # what is wanted there
_MULTIPLICATIONS = 1 << 31
_BUSY = 0.5  # load


class Bench:
    """The sides that take part, and what has been found so far. Whoever fails is told about and left out."""

    def __init__(self, build: Path, full: bool) -> None:
        self.cores = torch.get_num_threads()
        self.full = full
        self.document: dict[str, Any] = {
            "full": full,
            "date": f"{datetime.now():%Y-%m-%d %H:%M}",
            "machine": machine.describe(self.cores),
            "target": _core.targets()[2],
            "missing": {},
            "notes": [],
            "exactness": [],
            "cases": [],
            "multiplications_a_second": {},
            "small": {},
            "kernels": [],
            "training": [],
            "busy": [],
            "cache": {"missing": "not measured"},
        }
        self._build = build
        self.sides, missing = peers.python_peers(full, self.cores)
        self.document["missing"] |= missing
        self._library = None
        try:
            self._library = native.load(build)
        except OSError as error:
            self._leave_out("the native sides", error)
        else:
            native_sides, missing = native.native_peers(self._library)
            self.sides += native_sides
            self.document["missing"] |= missing

    def check(self) -> None:
        """Every side against the oracle, on numbers of all kinds."""
        self._set_num_threads(self.cores)
        for peer in self.sides[:]:
            if isinstance(peer, native.Copy):
                continue
            with self._unless_it_fails(peer):
                self.document["exactness"] += exactness.check(peer, self.cores)

    def run(self, grid: Iterable[Case]) -> None:
        """Checks each side on each case's own numbers and times them."""
        data = None
        for case in grid:
            if _ARRAYS_AT_ONCE * case.elements * case.itemsize > memory.available():
                self.document["notes"].append(f"Not enough memory for {case.elements} elements of {case.dtype}")
                continue
            self._set_num_threads(case.threads)
            if data is None or not _is_on_same_data(data.case, case):
                data = None  # lets the old go before the new comes
                data = Data(case)
            data.case = case
            sides = self._checked_sides(case, data)
            result = asdict(case) | {"bytes_moved": case.bytes_moved}
            self.document["cases"].append(result | {"sides": measure(sides, FULL if self.full else QUICK)})

    def measure_the_rest(self) -> None:
        """Small calls, the arithmetic's roof, the kernels, the training steps, and what the memory cache leaves."""
        self._set_num_threads(1)
        self.document["small"] = small.run(FULL if self.full else QUICK)
        if self._library is not None:
            for threads in sorted({1, self.cores}):
                self._library.native_set_num_threads(threads)
                self._library.native_multiply(_MULTIPLICATIONS // 8)
                start = time.perf_counter()
                self._library.native_multiply(_MULTIPLICATIONS)
                rate = _MULTIPLICATIONS / (time.perf_counter() - start)
                self.document["multiplications_a_second"][str(threads)] = rate
        with self._or_without("the kernels"):
            self.document["kernels"] = kernels.measure(self._build / "kernels_bench", self.full)
        with self._or_without("a busy machine"):
            self.document["busy"] = busy.measure(self.sides, self._set_num_threads, self.cores, self.full)
        for job in training_jobs(self.full, self.cores):
            with self._or_without(job.model):
                self.document["training"].append(training.measure(job))
        with self._or_without("the memory cache"):
            self.document["cache"] = training.cache()

    def _checked_sides(self, case: Case, data: Data) -> list[Side]:
        expected = data.expected()
        sides = []
        for peer in self.sides[:]:
            if case.dtype not in peer.dtypes:
                continue
            if case.elements >= cases.HUGE and not self.full and peer.name not in _IN_QUICK_HUGE_CASES:
                continue
            with self._unless_it_fails(peer):
                side = peer.side(case, data)
                if side is None:
                    continue
                found = as_array(side.run())
                wanted = (data.g if case.operation == cases.BACKWARD else data.x) if _is_copy(peer) else expected
                equal = same(found, wanted)
                if not equal.all():
                    raise AssertionError(f"{case}: other bits in {np.count_nonzero(~equal)} elements")
                sides.append(side)
        return sides

    def _set_num_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)
        leakyrelu.set_num_threads(threads)
        if self._library is not None:
            self._library.native_set_num_threads(threads)

    @contextlib.contextmanager
    def _unless_it_fails(self, peer: Peer) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if peer.name in _OURS:
                raise
            self._leave_out(peer.name, error)
            self.sides.remove(peer)

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
    ]


def run(build: Path, full: bool, console: Console) -> dict[str, Any]:
    """The whole of it."""
    bench = Bench(build, full)
    with Progress(console=console, transient=True) as progress:
        grid = list(cases.grid(full, bench.cores))
        steps = progress.add_task("exactness", total=len(grid))

        def each() -> Iterator[Case]:
            for case in grid:
                progress.update(steps, description=f"{case.operation}, {case.elements:,} {case.dtype}", advance=1)
                yield case

        bench.check()
        bench.run(each())
        if not full:
            text = f"With --full alone: the other sides on {cases.HUGE} elements, more sizes and layouts, one thread"
            bench.document["notes"].append(text)
        progress.update(steps, description="small calls, kernels, a busy machine, training steps")
        bench.measure_the_rest()
    if float(bench.document["machine"]["load at the start"]) > _BUSY:
        text = "The machine was busy at the start: a library that waits for all its threads is slowed most, by far"
        bench.document["notes"].append(text)
    load = f"The load was {bench.document['machine']['load at the start']} at the start"
    bench.document["notes"].append(f"{load} and {os.getloadavg()[0]:.2f} at the end, on {os.cpu_count()} processors")
    return bench.document


def _is_copy(peer: Peer) -> bool:
    return isinstance(peer, native.Copy)


def _is_on_same_data(a: Case, b: Case) -> bool:
    return (a.elements, a.dtype, a.layout) == (b.elements, b.dtype, b.layout)
