"""What is measured: the grid of operations, sizes, dtypes, layouts and threads."""

from collections.abc import Iterator
from dataclasses import dataclass

FORWARD = "forward"
KEEPING = "forward, keeping for backward"  # with gradient, or with mask
MODULE = "module"
BACKWARD = "backward"
BACKWARD_OPERATOR = "backward operator"  # on tensors, without autograd
FORWARD_AND_BACKWARD = "forward and backward"
IN_PLACE = "in place"

SLOPE = 0.01
# In place on the same memory again and again, numbers would dwindle until arithmetic on them is slow.
SLOPE_IN_PLACE = 1.0

DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYOUTS = ("transposed", "sliced", "stepped")
TINY, CACHED, HUGE = 2, 65_536, 64_000_000


@dataclass(frozen=True)
class Case:
    operation: str
    elements: int
    threads: int
    dtype: str = "float32"
    layout: str = "contiguous"
    slope: float = SLOPE

    @property
    def memory(self) -> tuple[int, str, str]:
        """What cases on the same data have in common."""
        return self.elements, self.dtype, self.layout

    @property
    def itemsize(self) -> int:
        return {"float64": 8, "float32": 4}.get(self.dtype, 2)

    @property
    def bytes_moved(self) -> int:
        """One array read and one written, for all sides alike; what else a side reads or writes is its own cost."""
        return 2 * self.elements * self.itemsize


def grid(full: bool, cores: int) -> Iterator[Case]:
    """Cases on the same data follow each other."""
    if full:
        for threads in sorted({1, cores}):
            yield from _on_threads(threads, sweep=True)
        yield Case(FORWARD, 1 << 26, cores)
        return
    for operation in (FORWARD, KEEPING, BACKWARD):
        yield Case(operation, CACHED, 1)
    yield from _on_threads(cores, sweep=False)


def _on_threads(threads: int, sweep: bool) -> Iterator[Case]:
    for operation in (FORWARD, KEEPING, MODULE, FORWARD_AND_BACKWARD):
        yield Case(operation, TINY, threads)
    yield Case(IN_PLACE, TINY, threads, slope=SLOPE_IN_PLACE)
    middle = (1000, 10_000, CACHED, 100_000) if sweep else (10_000, 100_000)
    for elements in (*middle, 10**6, 10**7, HUGE):
        yield Case(FORWARD, elements, threads)
        if sweep:
            yield Case(KEEPING, elements, threads)
        if sweep or elements <= 100_000 or elements == HUGE:
            yield Case(BACKWARD, elements, threads)
        if sweep or elements <= 100_000:
            yield Case(BACKWARD_OPERATOR, elements, threads)
        yield Case(FORWARD_AND_BACKWARD, elements, threads)
        yield Case(IN_PLACE, elements, threads, slope=SLOPE_IN_PLACE)
    for layout in LAYOUTS:
        yield Case(FORWARD, 10**6, threads, layout=layout)
    for dtype in DTYPES[1:]:
        for elements in (CACHED, 100_000, 10**7, HUGE) if sweep else (100_000, 10**7, HUGE):
            yield Case(FORWARD, elements, threads, dtype)
