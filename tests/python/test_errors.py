"""Each error of the contract by type and message, with every array proved untouched."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_cases import DTYPES

import leakyrelu

X = np.array([-1.0, 2.0, -3.0], np.float32)


def check(error: type[Exception], message: str, call: Callable[[], Any], *untouched: np.ndarray[Any, Any]) -> None:
    before = [array.tobytes() for array in untouched]
    with pytest.raises(error, match=message):
        call()
    assert [array.tobytes() for array in untouched] == before, "the failed call wrote something"


@pytest.mark.parametrize("x", [[1.0], (1.0,), 1.0, None, "1.0", b"1", {}, range(3)], ids=repr)
def test_not_an_array(x: Any) -> None:
    check(TypeError, "x must be a NumPy array or one that speaks DLPack, not ", lambda: leakyrelu.leaky_relu(x))


@pytest.mark.parametrize(
    "dtype", ["i4", "u1", "?", "c8", "f4, f4", "O", "U3", "M8[s]", "g", ">f4", ">f8", "float8_e5m2"]
)
def test_dtype(dtype: str) -> None:
    if dtype == "float8_e5m2":
        import ml_dtypes

        x = np.zeros(3, ml_dtypes.float8_e5m2)
    else:
        x = np.zeros(3, dtype)
    message = "x has dtype .*; supported are float16, bfloat16, float32 and float64"
    out = X.copy()
    check(TypeError, message, lambda: leakyrelu.leaky_relu(x, out=out), out)
    check(TypeError, message, lambda: leakyrelu.leaky_relu_with_mask(x, out=out), out)
    check(TypeError, message.replace("x has", "grad has"), lambda: leakyrelu.leaky_relu_backward(x, X))
    check(TypeError, message.replace("x has", "out has"), lambda: leakyrelu.leaky_relu(X, out=x))


def test_masked_array() -> None:
    masked = np.ma.array(X, mask=[1, 0, 0])
    check(TypeError, "x is a masked array, whose mask would be lost", lambda: leakyrelu.leaky_relu(masked))


class TestSlope:
    @pytest.mark.parametrize(
        "slope",
        [None, "0.1", b"0.1", [0.1], 1j, object(), np.array([0.1, 0.2])],
        ids=lambda slope: type(slope).__name__,
    )
    def test_not_a_number(self, slope: Any) -> None:
        x = X.copy()
        check(TypeError, "negative_slope must be a number", lambda: leakyrelu.leaky_relu(x, slope, True), x)
        check(TypeError, "negative_slope must be a number", lambda: leakyrelu.LeakyReLU(slope))

    @pytest.mark.parametrize("slope", [True, False, np.True_], ids=repr)
    def test_bool_is_inplace_misplaced(self, slope: Any) -> None:
        check(TypeError, "did you mean inplace=", lambda: leakyrelu.LeakyReLU(slope))

    @pytest.mark.parametrize("slope", [3.5e38, -3.5e38, 1e300, np.nextafter(3.4028234663852886e38, np.inf)])
    @pytest.mark.parametrize("dtype", DTYPES[:3], ids=lambda dtype: dtype.name)
    def test_too_large_for_float32(self, dtype: np.dtype[Any], slope: float) -> None:
        x = X.astype(dtype)
        mask = np.zeros(1, np.uint8)
        message = "negative_slope is too large for float32"
        check(ValueError, message, lambda: leakyrelu.leaky_relu(x, slope, inplace=True), x)
        check(ValueError, message, lambda: leakyrelu.leaky_relu_with_mask(x, slope, out=x), x)
        check(ValueError, message, lambda: leakyrelu.leaky_relu_backward(x, mask, slope, out=x), x)

    def test_float64_takes_all(self) -> None:
        np.testing.assert_array_equal(leakyrelu.leaky_relu(np.array([-1.0]), 1e300), [-1e300])

    def test_too_large_for_float64(self) -> None:
        check(ValueError, "negative_slope is too large for float64", lambda: leakyrelu.leaky_relu(X, 10**400))


class TestOut:
    def test_shape(self) -> None:
        out = np.zeros((3, 1), np.float32)
        check(ValueError, r"out has shape \(3, 1\), x has \(3,\)", lambda: leakyrelu.leaky_relu(X, out=out), out)

    def test_dtype(self) -> None:
        out = np.zeros(3)
        check(TypeError, "out has dtype float64, x has float32", lambda: leakyrelu.leaky_relu(X, out=out), out)

    def test_read_only(self) -> None:
        out = X.copy()
        out.flags.writeable = False
        check(ValueError, "out is read-only", lambda: leakyrelu.leaky_relu(X, out=out), out)
        check(ValueError, "x is read-only", lambda: leakyrelu.leaky_relu(out, inplace=True), out)

    def test_in_place_of_a_scalar(self) -> None:
        check(TypeError, "x must be a NumPy array", lambda: leakyrelu.leaky_relu(np.float32(1), inplace=True))

    def test_with_inplace(self) -> None:
        out = X.copy()
        check(ValueError, "inplace=True and out", lambda: leakyrelu.leaky_relu(X, inplace=True, out=out), out)

    @pytest.mark.parametrize(
        "pair",
        [np.s_[1:], np.s_[:-1], np.s_[::-1], np.s_[::2]],
        ids=str,
    )
    def test_overlap(self, pair: Any) -> None:
        memory = np.arange(-8, 8, dtype=np.float32)
        x = memory[pair]
        out = memory[: x.size] if pair != np.s_[:-1] else memory[1:]
        check(ValueError, "share memory but are not the same", lambda: leakyrelu.leaky_relu(x, out=out), memory)

    def test_transposed_itself(self) -> None:
        x = np.arange(-8, 8, dtype=np.float32).reshape(4, 4)
        check(ValueError, "share memory but are not the same", lambda: leakyrelu.leaky_relu(x, out=x.T), x)

    def test_partly_the_same_bytes(self) -> None:
        memory = np.zeros(64, np.uint8)
        x, out = memory[:32].view(np.float32), memory[2:34].view(np.float32)
        check(ValueError, "share memory but are not the same", lambda: leakyrelu.leaky_relu(x, out=out), memory)

    def test_holding_an_element_twice(self) -> None:
        memory = np.zeros(6, np.float32)
        for strides in [(0,), (4, 4), (8, 4)]:
            shape = (2,) if len(strides) == 1 else (2, 3)
            out = np.lib.stride_tricks.as_strided(memory, shape, strides)
            x = np.ones(shape, np.float32)
            check(
                ValueError, "holds an element more than once", lambda x=x, o=out: leakyrelu.leaky_relu(x, out=o), memory
            )

    def test_strides_between_elements(self) -> None:
        packed = np.zeros(4, [("a", "f4"), ("b", "u1")])
        check(ValueError, "not multiples of its element size", lambda: leakyrelu.leaky_relu(packed["a"]))
        out = packed["a"]
        x = np.ones(4, np.float32)
        check(ValueError, "not multiples of its element size", lambda: leakyrelu.leaky_relu(x, out=out), packed)


class TestMask:
    def test_not_an_array(self) -> None:
        check(TypeError, "mask must be a NumPy array", lambda: leakyrelu.leaky_relu_backward(X, b"\0"))

    @pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.float32])
    def test_dtype(self, dtype: Any) -> None:
        out = X.copy()
        mask = np.zeros(1, dtype)
        check(TypeError, "mask has dtype .* uint8", lambda: leakyrelu.leaky_relu_backward(X, mask, out=out), out)

    @pytest.mark.parametrize("shape", [(1, 1), ()], ids=str)
    def test_shape(self, shape: tuple[int, ...]) -> None:
        out = X.copy()
        mask = np.zeros(shape, np.uint8)
        message = r"mask has shape .*; it must have one dimension"
        check(ValueError, message, lambda: leakyrelu.leaky_relu_backward(X, mask, out=out), out)

    @pytest.mark.parametrize("length", [0, 2])
    def test_length(self, length: int) -> None:
        out = X.copy()
        mask = np.zeros(length, np.uint8)
        message = f"mask has {length} bytes; 3 elements need 1"
        check(ValueError, message, lambda: leakyrelu.leaky_relu_backward(X, mask, out=out), out)

    def test_length_for_no_element(self) -> None:
        none = np.zeros((2, 0), np.float32)
        assert leakyrelu.leaky_relu_backward(none, np.zeros(0, np.uint8)).shape == (2, 0)
        message = "mask has 1 bytes; 0 elements need 0"
        check(ValueError, message, lambda: leakyrelu.leaky_relu_backward(none, np.zeros(1, np.uint8)))

    def test_not_contiguous(self) -> None:
        mask = np.zeros(4, np.uint8)[::2]
        x = np.ones(16, np.float32)
        check(ValueError, "mask is not contiguous", lambda: leakyrelu.leaky_relu_backward(x, mask, out=x), x)

    def test_shares_memory_with_out(self) -> None:
        out = np.ones(64, np.float32)
        mask = out.view(np.uint8)[:8]
        check(ValueError, "the mask shares memory", lambda: leakyrelu.leaky_relu_backward(out, mask, out=out), out)


class TestThreads:
    @pytest.mark.parametrize("num_threads", [0, -1, 2**31, -(2**70)])
    def test_out_of_range(self, num_threads: int) -> None:
        check(ValueError, "num_threads is .*at least 1", lambda: leakyrelu.set_num_threads(num_threads))

    @pytest.mark.parametrize("num_threads", [1.0, "1", None, True], ids=repr)
    def test_not_an_integer(self, num_threads: Any) -> None:
        check(TypeError, "num_threads must be an integer", lambda: leakyrelu.set_num_threads(num_threads))


def test_out_of_memory() -> None:
    huge = np.broadcast_to(np.float32(1), (2**45,))
    check(MemoryError, "Unable to allocate", lambda: leakyrelu.leaky_relu(huge))


def test_big_endian_is_named() -> None:
    order = "big-endian" if sys.byteorder == "little" else "little-endian"
    swapped = X.astype(X.dtype.newbyteorder())
    check(TypeError, f"in {order} order", lambda: leakyrelu.leaky_relu(swapped))
