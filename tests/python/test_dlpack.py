"""Arrays of other libraries, by DLPack: no copy in, an array of the same library out."""

import ctypes
import os

os.environ["JAX_PLATFORMS"] = "cpu"

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_cases import assert_same, select, specials

import leakyrelu
from leakyrelu import _core

jax.config.update("jax_enable_x64", True)


def test_forward_and_backward(dtype: np.dtype[Any]) -> None:
    numpy_x = np.resize(specials(dtype), (7, 9))
    x = jnp.asarray(numpy_x)
    y, mask = leakyrelu.leaky_relu_with_mask(x, -0.2)
    assert isinstance(y, jax.Array)
    assert isinstance(mask, jax.Array)
    positive = numpy_x > 0
    assert_same(np.asarray(y), select(positive, numpy_x, -0.2))
    assert_same(np.asarray(mask), np.packbits(positive, bitorder="little"))
    grad = leakyrelu.leaky_relu_backward(x, mask, -0.2)
    assert isinstance(grad, jax.Array)
    assert_same(np.asarray(grad), select(positive, numpy_x, -0.2))
    assert_same(np.asarray(leakyrelu.leaky_relu(x, -0.2)), select(positive, numpy_x, -0.2))
    assert_same(np.asarray(x), numpy_x)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (100_000,)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    y = leakyrelu.leaky_relu(jnp.full(shape, -2.0, jnp.float32), 0.5)
    assert isinstance(y, jax.Array)
    assert_same(np.asarray(y), np.full(shape, -1.0, np.float32))


def test_into_a_numpy_array(dtype: np.dtype[Any]) -> None:
    x = specials(dtype)
    out = np.empty_like(x)
    assert leakyrelu.leaky_relu(jnp.asarray(x), 0.1, out=out) is out
    assert_same(out, select(x > 0, x, 0.1))


def test_immutable_arrays_are_read_only() -> None:
    x = jnp.ones(4, jnp.float32)
    with pytest.raises(ValueError, match="x is read-only"):
        leakyrelu.leaky_relu(x, inplace=True)
    with pytest.raises(ValueError, match="out is read-only"):
        leakyrelu.leaky_relu(np.ones(4, np.float32), out=x)


def test_other_dtypes_are_named() -> None:
    with pytest.raises(TypeError, match="x has dtype int32; supported are"):
        leakyrelu.leaky_relu(jnp.arange(3, dtype=jnp.int32))


class Exporter:
    """The least that DLPack asks of an array."""

    def __init__(self, array: Any, device: tuple[int, int] = (1, 0), requires_grad: bool = False) -> None:
        self.array, self.device, self.requires_grad = array, device, requires_grad

    def __dlpack__(self, **options: Any) -> Any:
        if self.device[0] != 1:
            raise BufferError("not here")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def test_no_copy_is_made() -> None:
    memory = np.array([-2.0, 4.0], np.float32)
    out = Exporter(memory)
    assert leakyrelu.leaky_relu(np.array([-8.0, 1.0], np.float32), 0.5, out=out) is out
    np.testing.assert_array_equal(memory, [-4.0, 1.0])
    assert leakyrelu.leaky_relu(out, 0.5, inplace=True) is out
    np.testing.assert_array_equal(memory, [-2.0, 1.0])


def test_a_refusal_is_reported() -> None:
    message = "x does not give access to its memory by DLPack: not here" if _core.HAS_CUDA else "built without CUDA"
    with pytest.raises(TypeError, match=message) as raised:
        leakyrelu.leaky_relu(Exporter(np.ones(2, np.float32), device=(2, 0)))
    assert isinstance(raised.value.__cause__, BufferError) == _core.HAS_CUDA


def test_what_is_no_tensor() -> None:
    class Empty:
        def __dlpack__(self, **options: Any) -> str:
            return "nothing"

    with pytest.raises(
        TypeError, match="x does not give access to its memory by DLPack: its __dlpack__ returns no tensor but str"
    ):
        leakyrelu.leaky_relu(Empty())


@pytest.mark.parametrize(
    ("offset", "size", "value", "message"),
    [(0, 4, 2, r"x comes by DLPack 2\.\d+; it must come by version 1"), (56, 8, 0, "x has no shape")],
    ids=["another version", "no shape"],
)
def test_a_capsule_that_cannot_be_read(offset: int, size: int, value: int, message: str) -> None:
    """What is said to be at another place, or is nowhere, is not looked for."""

    class Forger(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            capsule = super().__dlpack__(**options)
            ctypes.memmove(address(capsule, b"dltensor_versioned") + offset, value.to_bytes(8, "little"), size)
            return capsule

    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    with pytest.raises(TypeError, match=message):
        leakyrelu.leaky_relu(Forger(np.ones(2, np.float32)))


def test_the_stride_of_one_byte_does_not_matter() -> None:
    """A library may leave any stride to an extent of 1."""
    stride = ctypes.c_int64(9)

    class Strided(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            capsule = super().__dlpack__(**options)
            strides = ctypes.c_void_p.from_address(address(capsule, b"dltensor_versioned") + 64)
            strides.value = ctypes.addressof(stride)
            return capsule

    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    mask = Strided(np.array([0b10], np.uint8))
    y = leakyrelu.leaky_relu_backward(np.array([-2.0, 4.0], np.float32), mask, 0.5)
    assert_same(y, np.array([-1.0, 4.0], np.float32))


def test_arrays_that_change_while_others_are_asked() -> None:
    """NumPy's x is not read with the shape that it had before its output's __dlpack__ ran."""

    class Sly(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            victim.shape = (4, 6)
            return super().__dlpack__(**options)

    for call in (leakyrelu.leaky_relu, lambda x, out: leakyrelu.leaky_relu_backward(x, np.zeros(3, np.uint8), out=out)):
        victim = np.ones((8, 3), np.float32)
        out = np.zeros((8, 3), np.float32)
        with pytest.raises(ValueError, match="differ in shape"):
            call(victim, out=Sly(out))
        assert_same(out, np.zeros((8, 3), np.float32))
    victim = np.zeros(24, np.uint8)
    out = np.zeros(24 * 8, np.float32)
    with pytest.raises(ValueError, match=r"mask has shape \(4, 6\); it must have one dimension"):
        leakyrelu.leaky_relu_backward(np.ones(24 * 8, np.float32), victim, out=Sly(out))
    assert_same(out, np.zeros(24 * 8, np.float32))


def test_what_an_array_raises_about_itself_is_passed_on() -> None:
    class Undecided(Exporter):
        @property
        def requires_grad(self) -> Any:
            return np.ones(2)  # of which the truth is an error

        @requires_grad.setter
        def requires_grad(self, value: bool) -> None: ...

    with pytest.raises(ValueError, match="truth value of an array"):
        leakyrelu.leaky_relu(Undecided(np.ones(2, np.float32)))


def test_nothing_is_written_before_a_library_is_found() -> None:
    class Lost(Exporter):
        def __array_namespace__(self) -> Any:
            raise RuntimeError("no namespace")

    memory = np.array([-1.0, 1.0], np.float32)
    x = Lost(memory)
    with pytest.raises(RuntimeError, match="no namespace"):
        leakyrelu.leaky_relu_with_mask(x, out=x)
    assert_same(memory, np.array([-1.0, 1.0], np.float32))


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn"])
def test_dtypes_of_dlpack_that_have_no_name_here(name: str) -> None:
    with pytest.raises(TypeError, match=r"x has dtype \(\d+, 8, 1\) in DLPack's code, bits and lanes; supported"):
        leakyrelu.leaky_relu(jnp.ones(3, name))


def test_an_interrupt_is_passed_on() -> None:
    class Interrupted(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leakyrelu.leaky_relu(Interrupted(np.ones(2, np.float32)))


def test_dlpack_before_1_0() -> None:
    """Which knows of no versions, and cannot say that memory may be written to."""

    class Old:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, stream: Any = None) -> Any:
            return self.array.__dlpack__()

    x = Old(np.array([-2.0, 4.0], np.float32))
    assert_same(leakyrelu.leaky_relu(x, 0.5), np.array([-1.0, 4.0], np.float32))
    with pytest.raises(ValueError, match="x is read-only"):
        leakyrelu.leaky_relu(x, inplace=True)


def test_a_library_that_takes_no_arrays_gets_numpy_s(dtype: np.dtype[Any]) -> None:
    numpy_x = np.resize(specials(dtype), (7, 9))
    x = Exporter(jnp.asarray(numpy_x))
    y, mask = leakyrelu.leaky_relu_with_mask(x, -0.2)
    assert type(y) is type(mask) is np.ndarray
    assert_same(y, select(numpy_x > 0, numpy_x, -0.2))
    assert_same(mask, np.packbits(numpy_x > 0, bitorder="little"))
    assert_same(leakyrelu.leaky_relu_backward(x, mask, -0.2), y)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad], ids=["jit", "vmap", "grad"])
def test_traced_by_jax(transform: Any) -> None:
    x = jnp.ones(3) if transform is not jax.grad else 1.0
    for call in (leakyrelu.leaky_relu, lambda x: leakyrelu.leaky_relu_backward(x, np.zeros(1, np.uint8))):
        with pytest.raises(TypeError, match=r"is being traced by JAX .*; call leakyrelu by jax.pure_callback"):
            transform(call)(x)


def test_a_gradient_is_never_lost() -> None:
    with pytest.raises(TypeError, match=r"x requires a gradient, which would be lost; pass x.detach\(\)"):
        leakyrelu.leaky_relu(Exporter(np.ones(2, np.float32), requires_grad=True))
