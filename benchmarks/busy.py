"""Calls on a machine that others use too, and right after an operation of torch: mean times, in turn.

Means, and not medians as elsewhere: under load a call is either as fast as ever or a hundred times as slow.
"""

import contextlib
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks import cases, native, peers
from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.measure import PAUSE_SECONDS, Side
from benchmarks.peers import Peer

IDLE = "idle"
COMPUTING = "two processes computing"
IN_TURN = "two processes computing and sleeping in turn"
AFTER_MM = "right after torch.mm of 512 x 512"
SIZES = (100_000, 262_144, 10**6, 4 * 10**6)

_LOADS = {
    COMPUTING: "while True: pass",
    IN_TURN: "import time\nwhile True:\n  end = time.perf_counter() + 0.005\n  while time.perf_counter() < end: pass\n"
    "  time.sleep(0.005)",
}
_PROCESSES = 2
# With one thread and with all of them. Of the others with all: that is how they are used.
OURS = (peers.OURS_OUT, native.OURS_C, peers.OURS_TORCH)
_OTHERS = (peers.TORCH, peers.ONNXRUNTIME, "np.maximum")
_BLOCK_SECONDS = 0.1  # many turns of a processor: the system gives each process a few milliseconds

SetNumThreads = Callable[[int], None]


def situations(full: bool) -> dict[str, tuple[int, ...]]:
    """What is measured, and at which sizes."""
    return dict.fromkeys((IDLE, COMPUTING, IN_TURN, AFTER_MM), SIZES if full else SIZES[1:3])


def measure(sides: Sequence[Peer], set_num_threads: SetNumThreads, cores: int, full: bool) -> list[dict[str, Any]]:
    """For each situation and size the mean seconds of a call, by side and number of threads."""
    found = []
    for situation, sizes in situations(full).items():
        with _load(situation):
            for elements in sizes:
                means = _means(situation, elements, sides, set_num_threads, cores, 2.0 if full else 0.4)
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
    situation: str, elements: int, sides: Sequence[Peer], set_num_threads: SetNumThreads, cores: int, seconds: float
) -> dict[str, dict[str, float]]:
    timers: dict[tuple[str, int], Callable[[], tuple[int, float]]] = {}
    data = Data(Case(cases.FORWARD, elements, cores))
    for peer in sides:
        for threads in sorted({1, cores}) if peer.name in OURS else [cores] if peer.name in _OTHERS else []:
            set_num_threads(threads)
            side = peer.side(Case(cases.FORWARD, elements, threads), data)
            if side is not None:
                timers[peer.name, threads] = _after_mm(side, cores) if situation == AFTER_MM else _again_and_again(side)
    calls, spent = dict.fromkeys(timers, 0), dict.fromkeys(timers, 0.0)
    for _ in range(max(1, round(seconds / _BLOCK_SECONDS))):
        for key, run in timers.items():
            set_num_threads(key[1])
            time.sleep(PAUSE_SECONDS)
            number, total = run()
            calls[key] += number
            spent[key] += total
    means: dict[str, dict[str, float]] = {}
    for (name, threads), total in spent.items():
        means.setdefault(name, {})[str(threads)] = total / calls[name, threads]
    return means


def _again_and_again(side: Side) -> Callable[[], tuple[int, float]]:
    """Gives how many calls there were and how long all took, about a block."""
    timer = timeit.Timer(side.statement, globals=side.names)
    number = max(1, round(_BLOCK_SECONDS / 20 / min(timer.repeat(5, 1))))  # looks at the clock as often as that

    def run() -> tuple[int, float]:
        calls, spent = 0, 0.0
        while spent < _BLOCK_SECONDS:
            spent += timer.timeit(number)
            calls += number
        return calls, spent

    return run


def _after_mm(side: Side, cores: int) -> Callable[[], tuple[int, float]]:
    """The same, with the operation before each call, which does not count. It has torch's threads in any case."""
    timer = timeit.Timer(side.statement, globals=side.names)
    matrix = torch.ones(512, 512)

    def run() -> tuple[int, float]:
        threads = torch.get_num_threads()
        calls, spent = 0, 0.0
        end = time.perf_counter() + _BLOCK_SECONDS
        while time.perf_counter() < end:
            torch.set_num_threads(cores)
            torch.mm(matrix, matrix)
            torch.set_num_threads(threads)
            spent += timer.timeit(1)
            calls += 1
        return calls, spent

    return run
