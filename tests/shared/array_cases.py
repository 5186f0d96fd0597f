"""What the tests of arrays share: dtypes, special values, a NumPy oracle and strategies for strided arrays."""

from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
from hypothesis.extra import numpy as hnp

np.seterr(all="ignore")  # NaN and infinities are what the tests are about

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
SLOPES = [0.0, -0.0, 0.01, -0.2, 1.0, 1.7, np.inf, -np.inf, np.nan, 1e-45, 3.4028234663852886e38]


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def specials(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """NaN of every kind, both zeros and infinities, subnormals, the smallest and largest, ordinary numbers."""
    info = ml_dtypes.finfo(dtype)
    ordinary = [1, -1, 0.5, -3.25, 100, -1000]
    edges = [info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
    numbers = np.array([0.0, -0.0, np.inf, -np.inf, *map(float, edges), *ordinary]).astype(dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    infinity = int(bits(np.array([np.inf], dtype))[0])
    sign = 1 << (8 * dtype.itemsize - 1)
    quiet = 1 << (info.nmant - 1)
    nans = [infinity | 1, infinity | quiet, infinity | quiet | 1, sign | infinity | 1, sign | infinity | quiet]
    return np.concatenate([numbers, np.array(nans, unsigned).view(dtype)])


def select(positive: np.ndarray[Any, Any], v: np.ndarray[Any, Any], slope: float) -> np.ndarray[Any, Any]:
    """`positive ? v : v * slope` by the contract's words, in plain NumPy."""
    scaled = v * slope if v.dtype == np.float64 else (v.astype(np.float32) * np.float32(slope)).astype(v.dtype)
    return np.where(positive, v, scaled)


def assert_same(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Same kind, dtype and shape, and the same bits; any NaN equals any NaN."""
    assert type(actual) is np.ndarray
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    nan = np.isnan(expected)
    differ = np.where(nan, ~np.isnan(actual), bits(actual).reshape(nan.shape) != bits(expected).reshape(nan.shape))
    assert not differ.any(), f"{actual[differ][:4]} should be {expected[differ][:4]}, {differ.sum()} such elements"


@st.composite
def arrays(draw: st.DrawFn, dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
    """Arrays of every dtype, 0 to 5 dims, sliced, reversed, permuted, broadcast, misaligned, with special values."""
    dtype = dtype or draw(st.sampled_from(DTYPES))
    base_shape = draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9))
    count = int(np.prod(base_shape))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    pool = np.concatenate([specials(dtype), (random.normal(size=40) * 4).astype(dtype)])
    values = pool[random.integers(0, len(pool), count)]
    offset = draw(st.sampled_from([0, 0, 1, dtype.itemsize]))
    memory = np.empty(offset + values.nbytes, np.uint8)
    memory[offset:] = values.view(np.uint8).reshape(-1)
    array = memory[offset:].view(dtype).reshape(base_shape)
    if array.ndim:
        array = array.transpose(draw(st.permutations(range(array.ndim))))
        steps = draw(st.lists(st.sampled_from([1, 1, 2, 3, -1, -2]), min_size=array.ndim, max_size=array.ndim))
        array = array[tuple(slice(None, None, step) for step in steps)]
    if draw(st.integers(0, 4)) == 0:
        array = np.broadcast_to(array, (draw(st.integers(0, 3)), *array.shape))
    return array


slopes = st.sampled_from(SLOPES) | st.floats(-4, 4) | st.floats(width=32)
