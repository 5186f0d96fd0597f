"""The figures that are wanted, each beside what was measured. Nothing here fails: what misses is marked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import busy, cases, fused, native, peers, small, training
from benchmarks.measure import Spread, difference, ratio, spread

_HOW = {peers.OURS: "Python, fresh output", peers.OURS_OUT: "Python, out=", native.OURS_C: "C"}


@dataclass(frozen=True)
class Row:
    """`found` is None where it was not measured, for the reason in `note`."""

    what: str
    threads: int | None
    found: Spread | None
    wanted: float
    at_most: bool = False
    unit: str = ""
    note: str = ""

    @property
    def is_met(self) -> bool:
        if self.found is None:
            return False
        return self.found.median <= self.wanted if self.at_most else self.found.median >= self.wanted


@dataclass(frozen=True)
class Wanted:
    """How many times the other side's time is to be ours."""

    what: str
    times: float
    operation: str
    elements: int
    dtype: str = "float32"
    layout: str = "contiguous"
    other: str = peers.TORCH
    ours: str = peers.OURS_TORCH
    threads: int | None = None  # None: all numbers of them

    def rows(self, document: dict[str, Any]) -> Iterator[Row]:
        key = {k: getattr(self, k) for k in ("operation", "elements", "dtype", "layout")}
        what = f"{self.what}, over {self.other}"
        if self.threads:
            key["threads"] = self.threads
        results = [result for result in document["cases"] if key.items() <= result.items()]
        for result in results:
            sides = result["sides"]
            absent = [side for side in (self.other, self.ours) if side not in sides]
            found = None if absent else ratio(sides[self.other], sides[self.ours])
            yield Row(what, result["threads"], found, self.times, note=f"no {', '.join(absent)}" if absent else "")
        if not results:
            yield Row(what, None, None, self.times, note="not measured")


def _over_other_sides(document: dict[str, Any]) -> Iterator[Wanted]:
    yield Wanted("2 elements, function", 3, cases.FORWARD, cases.TINY)
    yield Wanted("2 elements, function with gradient", 1.7, cases.KEEPING, cases.TINY)
    yield Wanted("2 elements, module", 1.9, cases.MODULE, cases.TINY)
    for elements in (10_000, 100_000):
        yield Wanted(f"{count(elements)}, forward", 1.5, cases.FORWARD, elements)
        yield Wanted(f"{count(elements)}, backward by autograd.grad", 1.5, cases.BACKWARD, elements)
        yield Wanted(f"{count(elements)}, backward operator", 1.5, cases.BACKWARD_OPERATOR, elements)
    yield Wanted(f"{count(10**6)}, forward", 1.8, cases.FORWARD, 10**6)
    for elements in (10**7, cases.HUGE):
        yield Wanted(f"{count(elements)}, forward", 4, cases.FORWARD, elements)
        yield Wanted(f"{count(elements)}, forward and backward", 3.5, cases.FORWARD_AND_BACKWARD, elements)
        yield Wanted(
            f"{count(elements)}, forward, arrays",
            1.2,
            cases.FORWARD,
            elements,
            other=peers.ONNXRUNTIME,
            ours=peers.OURS,
        )
    plain = {"operation": cases.IN_PLACE, "dtype": "float32", "layout": "contiguous"}
    sizes = {result["elements"] for result in document["cases"] if plain.items() <= result.items()}
    for elements in sorted(sizes) or [cases.TINY]:
        times = 1.2 if elements < 100_000 else 1.0
        yield Wanted(f"{count(elements)}, in place", times, cases.IN_PLACE, elements)
    for operation in (cases.FORWARD, cases.BACKWARD):
        for ours in (peers.OURS, peers.OURS_OUT, native.OURS_C):
            what = f"{count(cases.HUGE)}, {operation}, {_HOW[ours]}"
            yield Wanted(what, 0.9, operation, cases.HUGE, other=native.STREAM, ours=ours)
    for operation in (cases.FORWARD, cases.KEEPING, cases.BACKWARD):
        for ours in (peers.OURS_OUT, native.OURS_C):
            what = f"64 Ki in cache, {operation}, {_HOW[ours]}"
            yield Wanted(what, 0.8, operation, cases.CACHED, other=native.MEMCPY, ours=ours, threads=1)
    for layout in ("transposed", "sliced", "stepped"):
        yield Wanted(f"{count(10**6)} {layout}, forward", 1.3, cases.FORWARD, 10**6, layout=layout)
    for dtype, times in (("float64", 1.5), ("float16", 1.25), ("bfloat16", 1.25)):
        yield Wanted(f"{count(100_000)} {dtype}, forward", times, cases.FORWARD, 100_000, dtype)
        yield Wanted(f"{count(cases.HUGE)} {dtype}, forward", 3, cases.FORWARD, cases.HUGE, dtype)
        if dtype != "float64":
            yield Wanted(f"{count(10**7)} {dtype}, forward", 1.1, cases.FORWARD, 10**7, dtype)


def _small(document: dict[str, Any]) -> Iterator[Row]:
    """At most a number of microseconds, of the call or of what it takes longer than one of NumPy's."""
    for elements, statement, other, wanted in (
        (cases.TINY, small.INTO, small.MAXIMUM, 0.0),
        (cases.TINY, small.FRESH, None, 1.0),
        (cases.TINY, small.WITH_MASK, None, 1.5),
        (cases.TINY, small.BACKWARD, None, 1.2),
        (small.LARGER, small.INTO, small.COPYTO, 0.5),
    ):
        times = document["small"].get(elements, {})
        what = f"{count(elements)}, {statement}" + (f" minus {other}" if other else "")
        if statement not in times:
            yield Row(what, 1, None, wanted, True, " µs", "not measured")
            continue
        seconds = difference(times[statement], times[other]) if other else spread(times[statement])
        yield Row(what, 1, Spread(*(1e6 * each for each in seconds)), wanted, True, " µs")


def _fused(document: dict[str, Any]) -> Iterator[Row]:
    """Over torch's operations one after the other, in the cache and beyond it, and over the compiler's one."""
    for run in document["fused"]:
        clamp = "" if run["clamp"] is None else ", clamp"
        what = f"fused, {run['operation']}, {count(run['elements'])} {run['dtype']}, {run['layout']}{clamp}, over"
        sides = run["sides"]
        if run["dtype"] != "float32":
            wanted = 4.0
        elif run["operation"] == cases.FORWARD:
            wanted = 2.5 if run["samples"] == fused.SMALL else 10.0
        else:
            wanted = 2.0 if run["samples"] == fused.SMALL else 6.0
        yield Row(f"{what} {fused.TORCH}", None, ratio(sides[fused.TORCH], sides[fused.OURS]), wanted)
        if fused.COMPILED in sides:
            yield Row(f"{what} {fused.COMPILED}", None, ratio(sides[fused.COMPILED], sides[fused.OURS]), 1.0)


def _training(document: dict[str, Any]) -> Iterator[Row]:
    for run in document["training"]:
        if run["model"] != training.HIFIGAN or run["compiled"]:
            continue
        what, sides = f"HiFi-GAN, {run['input']}, training step", (peers.TORCH, peers.OURS_TORCH)
        theirs, ours = (run["seconds"][side] for side in sides)
        yield Row(f"{what}, time over torch", run["threads"], ratio(theirs, ours), 1.0)
        theirs, ours = (run["peak"][side] for side in sides)
        part = ours / theirs
        yield Row(f"{what}, peak memory", run["threads"], Spread(part, part, part), 0.7, at_most=True)


def _busy(document: dict[str, Any]) -> Iterator[Row]:
    for run in document["busy"]:
        if run["situation"] not in (busy.COMPUTING, busy.IN_TURN) or run["threads"] == 1:
            continue
        for side in busy.OURS:
            means = run["means"].get(side)
            if means is None:
                continue
            part = means[run["threads"]] / means[1]
            what = f"{run['situation']}, {count(run['elements'])}, {side}, mean over one thread's"
            wanted = 1.5 if side == peers.OURS_TORCH else 1.25
            yield Row(what, run["threads"], Spread(part, part, part), wanted, at_most=True)
        theirs, ours = (run["means"].get(side) for side in (peers.TORCH, peers.OURS_TORCH))
        if run["situation"] == busy.COMPUTING and run["elements"] == 10**6 and theirs and ours:
            times = theirs[run["threads"]] / ours[run["threads"]]
            what = f"{run['situation']}, {count(run['elements'])}, mean over torch"
            yield Row(what, run["threads"], Spread(times, times, times), 7)


def rows(document: dict[str, Any]) -> list[Row]:
    """All of them, in the order in which they are wanted."""
    found = [row for wanted in _over_other_sides(document) for row in wanted.rows(document)]
    return [*found, *_small(document), *_fused(document), *_busy(document), *_training(document)]


def count(elements: int) -> str:
    return f"{elements:,}".replace(",", " ")
