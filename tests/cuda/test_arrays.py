"""Proves that arrays on a CUDA device, of whatever library, get the CPU's results, on the right stream."""

import ctypes
import gc
import sys
import types
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from array_cases import DTYPES, SLOPES, assert_same, select, specials
from cuda_card import (
    IS_FAKE,
    current_device,
    fake_card,
    launches_under_gil,
    memory_used,
    process,
    real_card,
    waits,
)

import leakyrelu
from leakyrelu import _core

if not _core.HAS_CUDA:
    pytest.skip("built without CUDA", allow_module_level=True)
if IS_FAKE:
    import fake_libraries
    from fake_libraries import Array, CuPyArray

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
by_slope = pytest.mark.parametrize("slope", SLOPES, ids=str)

LAYOUTS = {
    "rows": lambda a: a,
    "transposed": lambda a: a.T,
    "sliced": lambda a: a[1:, ::2],
    "transposed and sliced": lambda a: a.T[:, ::2],
    "reversed": lambda a: a[::-1],
    "none": lambda a: a[:, :0],
}


def numbers(dtype: np.dtype[Any], *shape: int) -> np.ndarray[Any, Any]:
    return np.resize(specials(dtype), shape)


@pytest.fixture(params=["like JAX", "like CuPy"])
def library(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The class of arrays of a library on the fake card."""
    if request.param == "like JAX":
        yield Array
    else:
        with fake_libraries.cupy_imported():
            yield CuPyArray


# ---- Values


@fake_card
@by_slope
@by_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_and_backward(library: Any, layout: str, dtype: np.dtype[Any], slope: float) -> None:
    host = LAYOUTS[layout](numbers(dtype, 7, 13))
    x = library(host)
    grad = library(LAYOUTS[layout](np.roll(numbers(dtype, 7, 13), 5)))
    y, mask = leakyrelu.leaky_relu_with_mask(x, slope)
    dx = leakyrelu.leaky_relu_backward(grad, mask, slope)
    assert type(y) is type(mask) is type(dx) is library
    positive = host > 0
    assert_same(y.host, select(positive, host, slope))
    assert_same(mask.host, np.packbits(positive, bitorder="little"))
    assert_same(dx.host, select(positive, grad.host, slope))
    assert_same(leakyrelu.leaky_relu(x, slope).host, y.host)
    assert y.host.strides == np.empty_like(host, order="K" if layout == "transposed" else "C").strides


@fake_card
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (100_000,)], ids=str)
def test_shapes(library: Any, shape: tuple[int, ...]) -> None:
    y = leakyrelu.LeakyReLU(0.5)(library(np.full(shape, -2.0, np.float32)))
    assert_same(y.host, np.full(shape, -1.0, np.float32))


@fake_card
@by_dtype
def test_in_place_and_out(dtype: np.dtype[Any]) -> None:
    with fake_libraries.cupy_imported():
        host = numbers(dtype, 5, 8)
        result, grads = select(host > 0, host, -0.2), select(host > 0, host[::-1], -0.2)
        x, out = CuPyArray(host.copy()), CuPyArray(np.empty_like(host))
        assert leakyrelu.leaky_relu(x, -0.2, out=out) is out
        assert_same(out.host, result)
        assert leakyrelu.leaky_relu(x, -0.2, inplace=True) is x
        assert_same(x.host, result)
        again = CuPyArray(host.copy())
        y, mask = leakyrelu.leaky_relu_with_mask(again, -0.2, out=again)
        assert y is again
        grad = CuPyArray(host[::-1].copy())
        assert leakyrelu.leaky_relu_backward(grad, mask, -0.2, out=grad) is grad
        assert_same(grad.host, grads)


@real_card
@by_dtype
@pytest.mark.parametrize("name", ["cupy", "jax.numpy"])
def test_libraries_on_a_card(name: str, dtype: np.dtype[Any]) -> None:
    namespace = pytest.importorskip(name)
    if name == "jax.numpy":
        jax = sys.modules["jax"]
        jax.config.update("jax_enable_x64", True)
        if jax.default_backend() != "gpu":
            pytest.skip("this JAX sees no GPU")
        to_host = np.asarray
    else:
        to_host = namespace.asnumpy
        if dtype == ml_dtypes.bfloat16:
            pytest.skip("CuPy does not hand over bfloat16 by DLPack")
    host = numbers(dtype, 64, 1003)
    x = namespace.asarray(host)
    y, mask = leakyrelu.leaky_relu_with_mask(x, -0.2)
    dx = leakyrelu.leaky_relu_backward(y, mask, -0.2)
    assert type(y) is type(mask) is type(dx) is type(x)
    assert_same(to_host(y), select(host > 0, host, -0.2))
    assert_same(to_host(mask), np.packbits(host > 0, bitorder="little"))
    assert_same(to_host(dx), select(host > 0, to_host(y), -0.2))


class OverTorch:
    """A library of arrays that has torch do all but LeakyReLU; so that there is one on every machine with a card."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> object:
        return self.tensor.__dlpack__(**options)

    def __array_namespace__(self) -> types.SimpleNamespace:
        from_dlpack = sys.modules["torch"].from_dlpack
        return types.SimpleNamespace(from_dlpack=lambda exporter: OverTorch(from_dlpack(exporter)))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_a_library_over_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    from tensor_cases import assert_same, filled, packed

    dtype = getattr(torch, name)
    x, grad = filled(dtype, 37, 1003), filled(dtype, 37, 1003, seed=1)
    y, mask = leakyrelu.leaky_relu_with_mask(OverTorch(x.cuda()), -0.2)
    dx = leakyrelu.leaky_relu_backward(OverTorch(grad.cuda()), mask, -0.2)
    assert_same(y.tensor.cpu(), torch.nn.functional.leaky_relu(x, -0.2))
    assert_same(mask.tensor.cpu(), packed(x > 0))
    assert_same(dx.tensor.cpu(), leakyrelu.leaky_relu_backward(grad, packed(x > 0), -0.2))
    assert leakyrelu.leaky_relu(y, 1.0, out=dx) is dx
    assert_same(dx.tensor.cpu(), y.tensor.cpu())


# ---- Streams, devices, memory


@fake_card
def test_others_wait_on_the_default_stream() -> None:
    """Which their memory is asked for on, too."""
    x = Array(np.ones(4, np.float32), device=1)
    before = waits(0), waits(1)
    y, mask = leakyrelu.leaky_relu_with_mask(x)
    assert (waits(0), waits(1)) == (before[0], before[1] + 1)
    leakyrelu.leaky_relu_backward(y, mask)
    assert (waits(0), waits(1)) == (before[0], before[1] + 2)
    assert x.streams == y.streams == mask.streams == [1]  # DLPack's number for it


@fake_card
def test_cupy_is_on_its_current_stream() -> None:
    """By capturing that: nothing runs before the graph does, and waiting would be an error."""
    stream, graph, replay = (ctypes.c_void_p() for _ in range(3))
    assert process.cudaStreamCreateWithPriority(ctypes.byref(stream), 0, 0) == 0
    with fake_libraries.cupy_imported() as cupy:
        x, out = CuPyArray(np.full(9, -2.0, np.float32)), CuPyArray(np.zeros(9, np.float32))
        mask = CuPyArray(np.packbits([True] * 9, bitorder="little"))
        cupy.stream = stream.value or 0
        try:
            assert process.cudaStreamBeginCapture(stream, 0) == 0
            leakyrelu.leaky_relu(x, 0.5, out=out)
            y, _ = leakyrelu.leaky_relu_with_mask(x, 0.25)
            dx = leakyrelu.leaky_relu_backward(x, mask, 0.25)
            y.host[:] = dx.host[:] = 7
            assert process.cudaStreamEndCapture(stream, ctypes.byref(graph)) == 0
        finally:
            cupy.stream = 0
        assert x.streams == [stream.value] * 3
        assert_same(out.host, np.zeros(9, np.float32))
        assert_same(dx.host, np.full(9, 7, np.float32))
        assert process.cudaGraphInstantiateWithFlags(ctypes.byref(replay), graph, ctypes.c_ulonglong(0)) == 0
        assert process.cudaGraphLaunch(replay, stream) == 0
        assert_same(out.host, np.full(9, -1.0, np.float32))
        assert_same(y.host, np.full(9, -0.5, np.float32))
        assert_same(dx.host, x.host)
        leakyrelu.leaky_relu(x)
        assert x.streams[3:] == [1]  # its default stream, which CUDA and DLPack number differently


@fake_card
def test_cupy_arrays_among_others_wait() -> None:
    """The library of an output of another kind knows nothing of CuPy's stream."""
    with fake_libraries.cupy_imported() as cupy:
        x, out = CuPyArray(np.full(4, -2.0, np.float32), device=1), Array(np.zeros(4, np.float32), device=1)
        out.writable = True
        before = waits(1)
        assert leakyrelu.leaky_relu(x, 0.5, out=out) is out
        assert waits(1) == before + 1
        assert x.streams == out.streams == [1]
        assert x.current_devices == [1]  # CuPy orders the streams of its current device
        assert cupy.device == 0
        assert_same(out.host, np.full(4, -1.0, np.float32))
        among = CuPyArray(np.zeros(4, np.float32), device=1)
        with pytest.raises(ValueError, match="out is read-only"):  # for who knows no CuPy
            leakyrelu.leaky_relu(out, 0.5, out=among)
        assert among.current_devices == [1]


@fake_card
def test_on_the_device_of_the_array(library: Any) -> None:
    """Which is not the current one, and is not afterwards."""
    x = library(np.full(1 << 20, -2.0, np.float32), device=1)
    used = memory_used(1)
    y, mask = leakyrelu.leaky_relu_with_mask(x, 0.5)
    dx = leakyrelu.leaky_relu_backward(x, mask, 0.5)
    assert y.where == mask.where == dx.where == (2, 1)
    assert memory_used(1) - used == y.host.nbytes + mask.host.nbytes + dx.host.nbytes
    assert_same(y.host, np.full(1 << 20, -1.0, np.float32))
    assert_same(dx.host, y.host)
    assert current_device() == 0
    del y, mask, dx
    gc.collect()
    assert memory_used(1) == used


@fake_card
@pytest.mark.parametrize("kinds", [(2, 13), (13, 2)], ids=str)
def test_managed_memory_is_as_good(kinds: tuple[int, int]) -> None:
    with fake_libraries.cupy_imported():
        x = CuPyArray(np.full(4, -2.0, np.float32), device_type=kinds[0])
        out = CuPyArray(np.zeros(4, np.float32), device_type=kinds[1])
        assert leakyrelu.leaky_relu(x, 0.5, out=out) is out
        assert_same(out.host, np.full(4, -1.0, np.float32))
        assert_same(leakyrelu.leaky_relu(x, 0.5).host, out.host)


@fake_card
def test_the_gil_is_released(library: Any) -> None:
    """A launch waits if there are many before it, maybe for a function of Python's."""
    before = launches_under_gil()
    y, mask = leakyrelu.leaky_relu_with_mask(library(np.ones(4, np.float32)))
    leakyrelu.leaky_relu_backward(y, mask)
    assert launches_under_gil() == before


@fake_card
def test_out_of_memory() -> None:
    x = Array(np.broadcast_to(np.float32(-2), (1 << 14, 1 << 15)))  # 2 GiB would be the result, of 1 GiB there is
    with pytest.raises(MemoryError, match="out of memory"):
        leakyrelu.leaky_relu(x)


@fake_card
def test_what_cuda_refuses_is_reported() -> None:
    with fake_libraries.cupy_imported() as cupy:
        x = CuPyArray(np.ones(4, np.float32))
        cupy.stream = 12345
        try:
            with pytest.raises(RuntimeError, match=r"CUDA: .*invalid resource handle"):
                leakyrelu.leaky_relu(x)
        finally:
            cupy.stream = 0


# ---- Errors

ONES = np.ones(4, np.float32)


@fake_card
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: leakyrelu.leaky_relu(Array(np.arange(3))), TypeError, "x has dtype int64; supported are float16"),
        (lambda: leakyrelu.leaky_relu(Array(ONES > 0)), TypeError, "x has dtype bool; supported are float16"),
        (lambda: leakyrelu.leaky_relu(Array(ONES), inplace=True), ValueError, "x is read-only"),
        (lambda: leakyrelu.leaky_relu(Array(ONES), out=Array(ONES)), ValueError, "out is read-only"),
        (lambda: leakyrelu.leaky_relu(Array(ONES), "0.1"), TypeError, "negative_slope must be a number, not str"),
        (lambda: leakyrelu.leaky_relu(Array(ONES), 1e39), ValueError, "negative_slope is too large for float32"),
        (
            lambda: leakyrelu.leaky_relu(Array(ONES), out=np.empty(4, np.float32)),
            TypeError,
            r"out is on DLPack device \(1, 0\); it must be on CUDA device \(2, 0\), as x",
        ),
        (
            lambda: leakyrelu.leaky_relu(ONES, out=Array(ONES)),
            TypeError,
            r"out is on DLPack device \(2, 0\); it must be on the CPU, \(1, 0\), or all on one CUDA device",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(ONES), Array(np.zeros(1, np.uint8), device=1)),
            TypeError,
            r"mask is on DLPack device \(2, 1\); it must be on CUDA device \(2, 0\), as grad",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(ONES), np.zeros(1, np.uint8)),
            TypeError,
            r"mask is on DLPack device \(1, 0\); it must be on CUDA device \(2, 0\), as grad",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(ONES), Array(np.zeros(2, np.uint8))),
            ValueError,
            "mask has 2 bytes; 4 elements need 1",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(ONES), Array(ONES)),
            TypeError,
            "mask has dtype float32; it must be uint8",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(np.ones(16, np.float32)), Array(np.zeros(4, np.uint8)[::2])),
            ValueError,
            "mask is not contiguous",
        ),
        (
            lambda: leakyrelu.leaky_relu_backward(Array(ONES), [0]),
            TypeError,
            "mask does not give access to its memory by DLPack",
        ),
        (
            lambda: leakyrelu.leaky_relu(Array(ONES, device_type=10)),
            TypeError,
            r"x is on DLPack device \(10, 0\); it must be on the CPU",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
    assert_same(ONES, np.ones(4, np.float32))


@fake_card
def test_what_an_array_says_of_itself_is_checked() -> None:
    liar = Array(ONES)
    liar.where = (1, 0)  # in the capsule, while the method below says otherwise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Array, "__dlpack_device__", lambda self: (2, 0))
        with pytest.raises(TypeError, match=r"x is on DLPack device \(1, 0\); it must be on CUDA device \(2, 0\)"):
            leakyrelu.leaky_relu(liar)


@fake_card
def test_a_gradient_is_not_lost() -> None:
    x = Array(ONES)
    x.requires_grad = True  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"x requires a gradient, which would be lost; pass x.detach\(\)"):
        leakyrelu.leaky_relu(x)


@fake_card
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty(4, np.float64), TypeError, "out has dtype float64, x has float32; they must be the same"),
        (np.empty(5, np.float32), ValueError, r"out has shape \(5,\), x has \(4,\); they must be the same"),
        (
            np.lib.stride_tricks.as_strided(np.empty(4, np.float32), (4,), (0,)),
            ValueError,
            "holds an element more than once",
        ),
    ],
)
def test_errors_of_outputs(out: np.ndarray[Any, Any], error: type[Exception], message: str) -> None:
    with fake_libraries.cupy_imported(), pytest.raises(error, match=message):
        leakyrelu.leaky_relu(CuPyArray(ONES), out=CuPyArray(out))


@fake_card
def test_built_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "HAS_CUDA", False)
    with pytest.raises(TypeError, match="this leakyrelu was built without CUDA; with nvcc"):
        leakyrelu.leaky_relu(Array(ONES))
