"""Calls on small NumPy arrays, where the way in takes longer than the arithmetic, beside NumPy's own functions."""

from typing import Any, cast

import numpy as np

import leakyrelu
from benchmarks import cases
from benchmarks.data import Array, as_array, normal_numbers, oracle, same
from benchmarks.measure import Budget, Side, measure

INTO = "leakyrelu.leaky_relu(x, out=y)"
FRESH = "leakyrelu.leaky_relu(x)"
WITH_MASK = "leakyrelu.leaky_relu_with_mask(x)"
BACKWARD = "leakyrelu.leaky_relu_backward(grad, mask)"
MAXIMUM = "np.maximum(x, y, out=y)"
COPYTO = "np.copyto(y, x)"

LARGER = 10_000
STATEMENTS = {cases.TINY: (INTO, MAXIMUM, FRESH, WITH_MASK, BACKWARD, COPYTO), LARGER: (INTO, COPYTO)}


def sides(elements: int) -> list[Side]:
    """Each statement on numbers of its own, once it has been seen to compute what it should.

    Raises:
        AssertionError: One computes something else.
    """
    found = []
    for statement in STATEMENTS[elements]:
        x, grad, y = (normal_numbers(np.dtype(np.float32), elements, seed) for seed in range(3))
        mask = np.packbits(x > 0, bitorder="little")
        expected = {
            MAXIMUM: np.maximum(x, y),
            COPYTO: x.copy(),
            BACKWARD: oracle(x, grad, cases.SLOPE),
        }.get(statement, oracle(x, x, cases.SLOPE))
        names = {"leakyrelu": leakyrelu, "np": np, "x": x, "y": y, "grad": grad, "mask": mask}
        side = Side(statement, statement, names, "y" if statement == COPYTO else "")
        result: Any = side.run()
        kept = cast(Array, result[1]) if statement == WITH_MASK else mask
        if not same(as_array(result), expected).all() or not np.array_equal(kept, mask):
            raise AssertionError(f"{statement} of {elements} elements: other bits")
        found.append(side)
    return found


def run(budget: Budget) -> dict[int, dict[str, list[float]]]:
    """Seconds per call, one for each round, by number of elements and statement."""
    return {elements: measure(sides(elements), budget) for elements in STATEMENTS}
