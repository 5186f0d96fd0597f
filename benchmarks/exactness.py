"""Which sides give the oracle's bits, value by value and slope by slope, and where not."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Array, Data, as_array, normal_numbers, numpy_dtype, same
from benchmarks.peers import Peer

OPERATIONS = (cases.FORWARD, cases.BACKWARD, cases.IN_PLACE, cases.FORWARD_AND_BACKWARD)


def samples(dtype: np.dtype[Any]) -> dict[str, Array]:
    """Values by their kind (peers.KINDS)."""
    finfo: Any = ml_dtypes.finfo
    info = finfo(dtype)
    tiny, smallest, largest = float(info.tiny), float(info.smallest_subnormal), float(info.max)
    return {
        "normal numbers": normal_numbers(dtype, 97, seed=2),
        "large numbers": np.array([largest, -largest]).astype(dtype),
        "zeros": np.array([0.0, -0.0]).astype(dtype),
        "infinities": np.array([np.inf, -np.inf]).astype(dtype),
        "NaN": np.array([np.nan, -np.nan]).astype(dtype),
        # The last two are normal, and become subnormal by most slopes.
        "subnormals": np.array([smallest, -smallest, tiny / 2, -tiny / 2, tiny, -tiny]).astype(dtype),
    }


def differences(peer: Peer, operation: str, dtype: str, slope: float, threads: int) -> list[str] | None:
    """The kinds of value at which a side's bits are not the oracle's; None where it has no such operation."""
    by_kind = samples(numpy_dtype(dtype))
    x = np.concatenate(list(by_kind.values()))
    case = Case(operation, x.size, threads, dtype, slope=slope)
    data = Data(case, x)
    side = peer.side(case, data)
    if side is None:
        return None
    expected = data.expected()  # before x is overwritten
    with np.errstate(all="ignore"):  # NumPy's sides would warn
        equal = same(as_array(side.run()), expected)
    ends = np.cumsum([values.size for values in by_kind.values()])[:-1]
    return [kind for kind, part in zip(by_kind, np.split(equal, ends), strict=True) if not part.all()]


def check(peer: Peer, threads: int) -> Iterator[dict[str, Any]]:
    """What was found for each operation, dtype and slope.

    Raises:
        AssertionError: It differs where it is not known to.
    """
    for dtype in peer.dtypes:
        for operation in OPERATIONS:
            for slope in cases.CHECKED_SLOPES if peer.slopes_are_free else cases.CHECKED_SLOPES[:1]:
                kinds = differences(peer, operation, dtype, slope, threads)
                if kinds is None:
                    break
                unknown = [kind for kind in kinds if (operation, dtype, slope, kind) not in peer.differs]
                if unknown:
                    raise AssertionError(f"{operation} of {dtype}, slope {slope}: other bits at {', '.join(unknown)}")
                yield {"side": peer.name, "operation": operation, "dtype": dtype, "slope": slope, "differs": kinds}
