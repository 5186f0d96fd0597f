"""The array functions give NumPy's bits: every dtype, shape, stride and slope, fresh, in place and into `out`."""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_cases import BFLOAT16, SLOPES, arrays, assert_same, select, slopes, specials
from hypothesis import given
from hypothesis import strategies as st

import leakyrelu


def packed(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.packbits(np.ravel(x) > 0, bitorder="little")


@given(arrays(), slopes)
def test_forward(x: np.ndarray[Any, Any], slope: float) -> None:
    assert_same(leakyrelu.leaky_relu(x, slope), select(x > 0, x, slope))


@given(arrays(), slopes)
def test_forward_with_mask(x: np.ndarray[Any, Any], slope: float) -> None:
    y, mask = leakyrelu.leaky_relu_with_mask(x, slope)
    assert_same(y, select(x > 0, x, slope))
    assert_same(mask, packed(x))


@given(arrays(), slopes, st.data())
def test_backward(x: np.ndarray[Any, Any], slope: float, data: st.DataObject) -> None:
    mask = packed(x)
    grad = data.draw(arrays(x.dtype).filter(lambda grad: grad.size >= x.size))
    grad = np.resize(grad, x.shape) if grad.shape != x.shape else grad
    assert_same(leakyrelu.leaky_relu_backward(grad, mask, slope), select(x > 0, grad, slope))


@given(arrays().filter(lambda x: x.flags.writeable), slopes)
def test_in_place(x: np.ndarray[Any, Any], slope: float) -> None:
    memory = x
    while memory.base is not None:
        memory = memory.base
    expected = select(x > 0, x, slope)
    touched = np.zeros(memory.size, bool)
    mark = np.lib.stride_tricks.as_strided  # the same view of the marks as x is of the memory
    start = x.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    if x.size:
        for byte in range(x.itemsize):
            mark(touched[start + byte :], x.shape, x.strides, writeable=True)[...] = True
    before = memory.copy()
    assert leakyrelu.leaky_relu(x, slope, inplace=True) is x
    assert_same(x, expected)
    np.testing.assert_array_equal(memory[~touched], before[~touched], "elements outside the view changed")


@given(arrays(), slopes, st.booleans())
def test_out(x: np.ndarray[Any, Any], slope: float, fortran: bool) -> None:
    out = np.empty(x.shape, x.dtype, order="F" if fortran else "C")
    assert leakyrelu.leaky_relu(x, slope, out=out) is out
    assert_same(out, select(x > 0, x, slope))
    y, mask = leakyrelu.leaky_relu_with_mask(x, slope, out=out)
    assert y is out
    assert_same(out, select(x > 0, x, slope))
    assert leakyrelu.leaky_relu_backward(out, mask, slope, out=out) is out
    assert_same(out, select(x > 0, select(x > 0, x, slope), slope))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("size", [1, 7, 64, 1000, 100_003])
def test_special_values(dtype: np.dtype[Any], slope: float, size: int) -> None:
    x = np.resize(specials(dtype), size)
    y, mask = leakyrelu.leaky_relu_with_mask(x, slope)
    assert_same(y, select(x > 0, x, slope))
    assert_same(mask, packed(x))
    grad = x[::-1]
    assert_same(leakyrelu.leaky_relu_backward(grad, mask, slope), select(x > 0, grad, slope))


@pytest.mark.parametrize("slope", [0.01, -0.2, 1.7, 0.0])
@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=lambda dtype: dtype.name)
def test_every_16_bit_number(dtype: np.dtype[Any], slope: float) -> None:
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    assert_same(leakyrelu.leaky_relu(x, slope), select(x > 0, x, slope))


def test_every_order_of_gradient_is_the_same_function(dtype: np.dtype[Any]) -> None:
    x = specials(dtype)
    _, mask = leakyrelu.leaky_relu_with_mask(x, -0.2)
    first = leakyrelu.leaky_relu_backward(np.ones_like(x), mask, -0.2)
    second = leakyrelu.leaky_relu_backward(first, mask, -0.2)
    assert_same(second, select(x > 0, select(x > 0, np.ones_like(x), -0.2), -0.2))


@pytest.mark.parametrize("slope", [2, np.float32(0.25), np.array(0.25), np.int8(-3)])
def test_slope_may_be_any_number(slope: Any) -> None:
    x = np.array([-4.0, 4.0], np.float32)
    assert_same(leakyrelu.leaky_relu(x, slope), select(x > 0, x, float(slope)))


def test_default_slope_is_the_page_s() -> None:
    x = np.array([-1.0, 1.0])
    np.testing.assert_array_equal(leakyrelu.leaky_relu(x), [-0.01, 1.0])
    np.testing.assert_array_equal(leakyrelu.LeakyReLU()(x), [-0.01, 1.0])


def test_zero_dimensional_gives_zero_dimensional(dtype: np.dtype[Any]) -> None:
    y, mask = leakyrelu.leaky_relu_with_mask(np.array(-8, dtype), 0.25)
    assert_same(y, np.array(-2, dtype))
    assert_same(mask, np.zeros(1, np.uint8))
    assert_same(leakyrelu.leaky_relu(np.float32(-8), 0.25), np.array(-2, np.float32))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4)])
def test_empty(shape: tuple[int, ...]) -> None:
    y, mask = leakyrelu.leaky_relu_with_mask(np.empty(shape, np.float32))
    assert y.shape == shape
    assert mask.shape == (0,)
    assert leakyrelu.leaky_relu_backward(y, mask).shape == shape


class TestOrderOfTheResult:
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)

    def test_dense_keeps_its_own(self) -> None:
        for axes in [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)]:
            x = self.x.transpose(axes)
            assert leakyrelu.leaky_relu(x).strides == x.strides

    def test_extents_of_one_do_not_matter(self) -> None:
        x = self.x[:, None].transpose(3, 1, 0, 2)
        y = leakyrelu.leaky_relu(x)
        assert [s for s, n in zip(y.strides, y.shape, strict=True) if n > 1] == [4, 80, 20]

    @pytest.mark.parametrize("index", [np.s_[:, ::2], np.s_[::-1], np.s_[:, :, 1:]], ids=str)
    def test_others_become_c_order(self, index: Any) -> None:
        assert leakyrelu.leaky_relu(self.x[index]).flags.c_contiguous

    def test_broadcast_becomes_c_order(self) -> None:
        assert leakyrelu.leaky_relu(np.broadcast_to(self.x[0], (3, 4, 5))).flags.c_contiguous


def test_read_only_and_memory_mapped_inputs(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    x = specials(dtype)
    x.flags.writeable = False
    assert_same(leakyrelu.leaky_relu(x, 0.1), select(x > 0, x, 0.1))
    file = tmp_path / "x.bin"
    x.tofile(file)
    mapped = np.memmap(file, dtype, "r")
    assert_same(leakyrelu.leaky_relu(mapped, 0.1), select(x > 0, x, 0.1))
    writable = np.memmap(file, dtype, "r+")
    assert leakyrelu.leaky_relu(writable, 0.1, inplace=True) is writable
    writable.flush()
    assert_same(np.fromfile(file, dtype), select(x > 0, x, 0.1))


@pytest.mark.parametrize("stride", [13, 0, -4, 1 << 40], ids=str)
def test_strides_of_extents_of_one_do_not_matter(stride: int) -> None:
    x = np.lib.stride_tricks.as_strided(np.arange(-8.0, 8.0, dtype=np.float32), (3, 1, 5), (4, stride, 12))
    y, mask = leakyrelu.leaky_relu_with_mask(x)
    assert_same(y, select(x > 0, x, 0.01))
    assert_same(mask, packed(x))


def test_woven_output_is_fine() -> None:
    memory = np.arange(-10, 10, dtype=np.float32)
    expected = select(memory[::2] > 0, memory[::2], 0.5)
    leakyrelu.leaky_relu(memory[::2], 0.5, out=memory[1::2])
    assert_same(memory[1::2].copy(), expected)


class TestLeakyReLU:
    def test_repr_is_the_page_s(self) -> None:
        assert repr(leakyrelu.LeakyReLU(0.1)) == "LeakyReLU(negative_slope=0.1)"
        assert repr(leakyrelu.LeakyReLU(inplace=True)) == "LeakyReLU(negative_slope=0.01, inplace=True)"

    def test_in_place(self) -> None:
        x = np.array([-1.0, 1.0])
        m = leakyrelu.LeakyReLU(0.1, inplace=True)
        assert m(x) is x
        np.testing.assert_array_equal(x, [-0.1, 1.0])


class TestThreads:
    def test_a_shape_may_change_during_a_call(self) -> None:
        """Whatever another thread does to an array, its old shape, freed by then, is not read."""
        x = np.ones((100, 120), np.float32)
        until = time.monotonic() + 1

        def reshape() -> None:
            while time.monotonic() < until:
                x.shape = (120, 100)
                x.shape = (100, 120)

        threads = [threading.Thread(target=reshape) for _ in range(2)]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            try:
                y = leakyrelu.leaky_relu(x)
            except ValueError as error:
                assert "differ in shape" in str(error)
            else:
                assert sorted(y.shape) == [100, 120]
        for thread in threads:
            thread.join()

    def test_set_and_get(self) -> None:
        before = leakyrelu.get_num_threads()
        try:
            leakyrelu.set_num_threads(3)
            assert leakyrelu.get_num_threads() == 3
        finally:
            leakyrelu.set_num_threads(before)

    def test_omp_num_threads_is_obeyed(self) -> None:
        code = "import leakyrelu; print(leakyrelu.get_num_threads())"
        env = os.environ | {"OMP_NUM_THREADS": "5"}
        assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout == b"5\n"

    def test_any_number_gives_the_same_bits(self, dtype: np.dtype[Any]) -> None:
        x = np.resize(specials(dtype), 1_000_003)
        expected, mask = leakyrelu.leaky_relu_with_mask(x, 0.1)
        before = leakyrelu.get_num_threads()
        try:
            for num_threads in (1, 2, 3, 8):
                leakyrelu.set_num_threads(num_threads)
                y, again = leakyrelu.leaky_relu_with_mask(x, 0.1)
                assert_same(y, expected)
                assert_same(again, mask)
        finally:
            leakyrelu.set_num_threads(before)

    def test_calls_from_several_threads(self) -> None:
        inputs = [np.full(300_001, -i, np.float32) for i in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for x, y in zip(inputs, pool.map(leakyrelu.leaky_relu, inputs), strict=True):
                assert_same(y, select(x > 0, x, 0.01))

    def test_a_forked_child_works(self) -> None:
        code = (
            "import os, signal, numpy as np, leakyrelu\n"
            "x = np.full(4_000_000, -1.0)\n"
            "leakyrelu.set_num_threads(2); leakyrelu.leaky_relu(x)\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    signal.alarm(60)\n"
            "    os._exit(0 if (leakyrelu.leaky_relu(x, 0.5) == -0.5).all() else 1)\n"
            "assert os.waitpid(child, 0)[1] == 0, 'the child hung or was wrong'\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_gil_is_free_during_the_work() -> None:
    # Two calls at once, each on one thread, overlap: the counting thread gets on while a long call runs.
    x = np.ones(30_000_000, np.float32)
    out = np.empty_like(x)
    counts = []

    def work() -> None:
        leakyrelu.leaky_relu(x, out=out)
        counts.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    ticks = 0
    while not counts:
        ticks += 1
    thread.join()
    assert ticks > 100
