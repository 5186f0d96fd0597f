"""Calls on small NumPy arrays of float32, where the way in is all that there is to time."""

from typing import Any

import numpy as np

import leakyrelu
from benchmarks.measure import Budget, Side, measure

SIZES = (2, 10_000)
OUT, FRESH, WITH_MASK, BACKWARD = "into out", "fresh", "with mask, fresh", "backward, fresh"
MAXIMUM, COPY = "np.maximum, into out", "np.copyto"

_STATEMENTS = {
    OUT: "leaky_relu(x, out=y)",
    FRESH: "leaky_relu(x)",
    WITH_MASK: "leaky_relu_with_mask(x)",
    BACKWARD: "leaky_relu_backward(x, mask)",
    MAXIMUM: "maximum(x, y, out=y)",
    COPY: "copyto(y, x)",
}


def measure_all() -> list[dict[str, Any]]:
    """For each size the seconds of each call, one for each round."""
    found = []
    for elements in SIZES:
        x = np.random.default_rng(0).standard_normal(elements, dtype=np.float32)
        y, mask = leakyrelu.leaky_relu_with_mask(x)
        functions = {name: getattr(leakyrelu, name) for name in leakyrelu.__all__}
        names = functions | {"x": x, "y": y, "mask": mask, "maximum": np.maximum, "copyto": np.copyto}
        sides = [Side(name, statement, names) for name, statement in _STATEMENTS.items()]
        found.append({"elements": elements, "seconds": measure(sides, Budget(0.5, 7, 15))})
    return found
