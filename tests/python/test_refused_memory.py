"""Each request for memory that a call on arrays makes is refused once: MemoryError, or the right result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from array_cases import bits, select, specials
from capsules import Exporter
from refused import Case, sweep

import leakyrelu
from leakyrelu import _core

SLOPE = 0.25
NO_ACCESS = "x does not give access to its memory by DLPack: "  # and the reason, unless CPython has lost it


def same(actual: Any, expected: np.ndarray) -> bool:
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    is_nan = np.isnan(expected)
    return bool(np.all(np.where(is_nan, np.isnan(actual), bits(actual) == bits(expected))))


def fresh(x: np.ndarray, call: Callable[[], Any]) -> Case:
    expected = select(x > 0, x, SLOPE)
    return Case(call, lambda y: same(y, expected))


def with_mask(x: np.ndarray, call: Callable[[], Any]) -> Case:
    expected, mask = select(x > 0, x, SLOPE), np.packbits(x > 0, bitorder="little")
    return Case(call, lambda both: same(both[0], expected) and np.array_equal(both[1], mask))


def into(out: np.ndarray, x: np.ndarray, call: Callable[[], Any]) -> Case:
    """A call that makes `out` of `x`, which it may be."""
    expected, before = select(x > 0, x, SLOPE), x.copy() if out is x else np.full_like(out, 7)
    return Case(call, lambda _: same(out, expected), lambda: np.copyto(out, before), lambda: same(out, before))


def refusal(call: Callable[[], Any], message: str) -> Case:
    """A call that is wrong, and says so."""

    def caught() -> str:
        try:
            call()
        except (TypeError, ValueError) as error:
            return str(error)
        return ""

    return Case(caught, lambda said: said == message or (NO_ACCESS in message and said.startswith(NO_ACCESS)))


def large(elements: int) -> Case:
    """What is large enough for memory of the library's own, of which nothing is left in use."""
    x = np.resize(specials(np.dtype(np.float32)), elements)
    expected = select(x > 0, x, SLOPE)

    def is_right(y: Any) -> bool:
        return same(y, expected) and leakyrelu.memory_stats()["in_use"] == x.nbytes

    return Case(lambda: leakyrelu.leaky_relu(x, SLOPE), is_right)


def cases() -> dict[str, Case]:
    _core.set_large_bytes(4 << 20)
    leakyrelu.set_num_threads(2)
    x = specials(np.dtype(np.float32))
    strided, narrow = np.resize(x, (6, 8)).T[::2], specials(np.dtype(ml_dtypes.bfloat16))
    out, place = np.empty_like(x), x.copy()
    exporter, out_exporter, place_exporter = Exporter(x), Exporter(out), Exporter(place)
    mask = np.packbits(x > 0, bitorder="little")
    mask_exporter, module, masked = Exporter(mask), leakyrelu.LeakyReLU(SLOPE), np.ma.array(x, mask=x > 0)

    class Broken:
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("not today")

    overlap = "input and output share memory but are not the same elements; the output must be exactly the input (in place) or share no element with it"  # noqa: E501
    forward, both, backward = leakyrelu.leaky_relu, leakyrelu.leaky_relu_with_mask, leakyrelu.leaky_relu_backward
    return {
        "fresh": fresh(x, lambda: forward(x, SLOPE)),
        "fresh, strided": fresh(strided, lambda: forward(strided, SLOPE)),
        "fresh, bfloat16": fresh(narrow, lambda: forward(narrow, SLOPE)),
        "fresh, of a scalar": fresh(x[:1].reshape(()), lambda: forward(x[0], SLOPE)),
        "module": fresh(x, lambda: module(x)),
        "with mask": with_mask(x, lambda: both(x, SLOPE)),
        "with mask, strided": with_mask(strided, lambda: both(strided, SLOPE)),
        "backward": fresh(x, lambda: backward(x, mask, SLOPE)),
        "out": into(out, x, lambda: forward(x, SLOPE, out=out)),
        "in place": into(place, place, lambda: forward(place, SLOPE, inplace=True)),
        "backward, out": into(out, x, lambda: backward(x, mask, SLOPE, out=out)),
        "DLPack": fresh(x, lambda: forward(exporter, SLOPE)),
        "DLPack, with mask": with_mask(x, lambda: both(exporter, SLOPE)),
        "DLPack, backward": fresh(x, lambda: backward(exporter, mask_exporter, SLOPE)),
        "DLPack, out": into(out, x, lambda: forward(exporter, SLOPE, out=out_exporter)),
        "DLPack, in place": into(place, place, lambda: forward(place_exporter, SLOPE, inplace=True)),
        "large": large(2 << 20),
        "no array": refusal(
            lambda: forward([1.0]),
            "x must be a NumPy array or one that speaks DLPack, not list; numpy.asarray makes one",
        ),
        "no number": refusal(lambda: forward(x, "1"), "negative_slope must be a number, not str"),
        "a bool": refusal(
            lambda: forward(x, True), "negative_slope must be a number, not True; did you mean inplace=True?"
        ),
        "dtype": refusal(
            lambda: forward(mask),
            "x has dtype uint8; supported are float16, bfloat16, float32 and float64, in native byte order",
        ),
        "masked": refusal(
            lambda: forward(masked), "x is a masked array, whose mask would be lost; pass x.data or x.filled()"
        ),
        "shape": refusal(
            lambda: forward(x, out=x[1:]), f"out has shape ({len(x) - 1},), x has ({len(x)},); they must be the same"
        ),
        "mask's shape": refusal(
            lambda: backward(x, mask.reshape(1, -1)),
            f"mask has shape (1, {len(mask)}); it must have one dimension, as leaky_relu_with_mask returns it",
        ),
        "mask's length": refusal(
            lambda: backward(x, mask[1:]), f"mask has {len(mask) - 1} bytes; {len(x)} elements need {len(mask)}"
        ),
        "overlap": refusal(lambda: forward(x[1:], out=x[:-1]), overlap),
        "no DLPack": refusal(lambda: forward(Broken()), f"{NO_ACCESS}not today"),
        "threads": refusal(
            lambda: leakyrelu.set_num_threads(0), "num_threads is 0; it must be at least 1 and at most 2147483647"
        ),
    }


def test_each_request_refused(tmp_path: Path) -> None:
    found = sweep("test_refused_memory", tmp_path)
    assert not {name: wrong for name, (_, wrong) in found.items() if wrong}
    assert all(count > 0 for count, _ in found.values()), found
