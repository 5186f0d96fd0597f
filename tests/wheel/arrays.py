"""An installed wheel on arrays: seen to compute what it should, with no compiler in PATH."""

import shutil

import numpy as np

import leakyrelu

for tool in ("c++", "g++", "gcc", "cc", "clang", "nvcc", "cmake", "ninja"):
    assert shutil.which(tool) is None, f"{tool} is in PATH, so this proves little"

BITS = {np.float16: np.uint16, np.float32: np.uint32, np.float64: np.uint64}

for dtype, bits in BITS.items():
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).tiny]
    for elements in (7, 1000, 3_000_000):
        x = np.random.default_rng(1).standard_normal(elements).astype(dtype)
        x[:7] = special
        slope = dtype(0.1) if dtype is np.float64 else np.float32(0.1)
        wide = x.astype(np.float32) if dtype is np.float16 else x
        with np.errstate(over="ignore", invalid="ignore"):
            expected = np.where(x > 0, x, (wide * slope).astype(dtype))
        y, mask = leakyrelu.leaky_relu_with_mask(x, 0.1)
        is_nan = np.isnan(expected)
        assert np.array_equal(np.isnan(y), is_nan), dtype
        assert np.array_equal(y.view(bits)[~is_nan], expected.view(bits)[~is_nan]), dtype
        assert np.array_equal(mask, np.packbits(x > 0, bitorder="little")), dtype
        dx = leakyrelu.leaky_relu_backward(np.ones_like(x), mask, 0.1)
        assert np.array_equal(dx, np.where(x > 0, dtype(1), dtype(slope))), dtype
        assert leakyrelu.leaky_relu(x, 0.1, inplace=True) is x and np.array_equal(x.view(bits), y.view(bits)), dtype

print(f"leakyrelu {leakyrelu.__version__} on NumPy {np.__version__}: as it should be")
