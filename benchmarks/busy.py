"""Calls on a machine that others use too, and right after an operation of torch: mean times, in turn.

Means, and not medians as elsewhere: under load a call is either as fast as ever or a hundred times as slow.
"""

import contextlib
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks import cases, native, peers
from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.measure import Side, in_turn
from benchmarks.peers import Peer

IDLE = "idle"
COMPUTING = "two processes computing"
IN_TURN = "two processes computing and sleeping in turn"
AFTER_MM = "right after torch.mm of 512 x 512"  # whose threads still spin
SITUATIONS = (IDLE, COMPUTING, IN_TURN, AFTER_MM)
SIZES = (262_144, 10**6, 4 * 10**6)

_LOADS = {
    COMPUTING: "while True: pass",
    IN_TURN: "import time\nwhile True:\n  end = time.perf_counter() + 0.005\n  while time.perf_counter() < end: pass\n"
    "  time.sleep(0.005)",
}
_PROCESSES = 2
# With one thread and with all of them. Of the others with all: that is how they are used.
OURS = (peers.OURS_OUT, native.OURS_C, peers.OURS_TORCH)
_OTHERS = (peers.TORCH, peers.ONNXRUNTIME, peers.MAXIMUM)
_BLOCK_SECONDS = 0.1  # many turns of a processor: the system gives each process a few milliseconds

SetNumThreads = Callable[[int], None]


def measure(sides: Sequence[Peer], set_num_threads: SetNumThreads, cores: int, rounds: int) -> list[dict[str, Any]]:
    """For each situation and size the mean seconds of a call, by side and number of threads."""
    found = []
    for situation in SITUATIONS:
        with _load(situation):
            for elements in SIZES:
                means = _means(situation, elements, sides, set_num_threads, cores, rounds)
                found.append({"situation": situation, "elements": elements, "threads": cores, "means": means})
    return found


@contextlib.contextmanager
def _load(situation: str) -> Iterator[None]:
    code = _LOADS.get(situation)
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(_PROCESSES)] if code else []
    try:
        time.sleep(0.2 if processes else 0)  # for the interpreters to start
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _means(
    situation: str, elements: int, sides: Sequence[Peer], set_num_threads: SetNumThreads, cores: int, rounds: int
) -> dict[str, dict[int, float]]:
    blocks: dict[tuple[str, int], Callable[[], tuple[int, float]]] = {}
    data = Data(Case(cases.FORWARD, elements, cores))
    matrix = torch.ones(512, 512)

    def multiply(threads: int) -> None:
        torch.set_num_threads(cores)
        torch.mm(matrix, matrix)
        torch.set_num_threads(threads)

    def block(side: Side, threads: int) -> tuple[int, float]:
        """How many calls there were within a block's time, and how long they took by themselves."""
        set_num_threads(threads)
        timer = side.timer()
        calls, spent = 0, 0.0
        end = time.perf_counter() + _BLOCK_SECONDS
        while time.perf_counter() < end:
            if situation == AFTER_MM:
                multiply(threads)
            spent += timer.timeit(1)
            calls += 1
        return calls, spent

    for peer in sides:
        for threads in sorted({1, cores}) if peer.name in OURS else [cores] if peer.name in _OTHERS else []:
            set_num_threads(threads)
            side = peer.side(Case(cases.FORWARD, elements, threads), data)
            if side is not None:
                blocks[peer.name, threads] = functools.partial(block, side, threads)
    means: dict[str, dict[int, float]] = {}
    for (name, threads), found in in_turn(blocks, rounds).items():
        means.setdefault(name, {})[threads] = sum(spent for _, spent in found) / sum(calls for calls, _ in found)
    return means
