"""Arrays of other libraries, by DLPack: no copy in, an array of the same library out."""

import ctypes
import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

os.environ["JAX_PLATFORMS"] = "cpu"

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_cases import assert_same, select, specials
from capsules import Deleter, Destructor, Managed, Versioned, capsule, has_name, held_by
from numpy.lib import NumpyVersion

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


# Before that, it exports without saying so, and what is not said to be writable is not.
numpy_says_what_is_writable = pytest.mark.skipif(NumpyVersion(np.__version__) < "2.1.0", reason="needs NumPy 2.1")


@numpy_says_what_is_writable
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


class Forged:
    """Elements whose capsules say of themselves what `change` makes of the truth, and count their deleters."""

    def __init__(
        self, elements: Any, change: Callable[[Any], None] = lambda holder: None, holder_type: Any = Versioned
    ) -> None:
        self.memory = np.array(elements)
        self.change, self.holder_type = change, holder_type
        self.name = b"dltensor_versioned" if holder_type is Versioned else b"dltensor"
        self.given = self.deleted = 0
        self.deleter, self.destructor = Deleter(self.delete), Destructor(self.destroy)
        self.kept: list[Any] = []

    def __dlpack__(self, **options: Any) -> Any:
        holder = self.holder_type()
        if self.holder_type is Versioned:
            holder.major = 1
        holder.deleter = self.deleter
        tensor, memory = holder.tensor, self.memory
        tensor.data, tensor.ndim = memory.ctypes.data, memory.ndim
        tensor.device_type, tensor.device_id = 1, 0
        tensor.code, tensor.bits, tensor.lanes = 2 if memory.dtype.kind == "f" else 1, 8 * memory.itemsize, 1
        tensor.shape = (ctypes.c_int64 * memory.ndim)(*memory.shape)
        self.change(holder)
        self.kept.append(holder)
        self.given += 1
        return capsule(holder, self.name, self.destructor)

    def delete(self, holder: int) -> None:
        self.deleted += 1

    def destroy(self, capsule: int) -> None:
        """As DLPack asks of who exports: what nobody has taken is deleted."""
        if has_name(capsule, self.name):
            self.deleted += 1


X, MASK = np.array([-2.0, 4.0, -0.0], np.float32), np.array([0b010], np.uint8)


def said(**values: Any) -> Callable[[Any], None]:
    """What makes a capsule say so of its tensor, or of itself."""

    def change(holder: Any) -> None:
        for name, value in values.items():
            setattr(holder if name in ("major", "minor", "flags") else holder.tensor, name, value)

    return change


def integers(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


NOWHERE = "has no data in what its __dlpack__ returns; only a tensor without elements needs none"
OFFSET = "has a byte_offset of {} in what its __dlpack__ returns; it must not lead beyond the address space"
OTHER_DEVICE = "is on DLPack device ({}, {}); it must be on the CPU, (1, 0), or all on one CUDA device"
DTYPE = "has dtype {}; supported are float16, bfloat16, float32 and float64, in native byte order"
TOO_FAR = (
    "an array's shape or strides reach beyond the address space; the number of elements and the distance in bytes "
    "between any two of them must fit int64"
)
LIES = {
    "another version": (
        said(major=2, minor=3),
        "comes by DLPack 2.3; it must come by version 1, which __dlpack__ was asked for",
    ),
    "no shape": (said(shape=None), "has no shape in what its __dlpack__ returns; only a tensor with ndim 0 needs none"),
    "no data": (said(data=None), NOWHERE),
    "an offset to nowhere": (said(data=None, byte_offset=64), NOWHERE),
    "pinned memory": (said(device_type=3), OTHER_DEVICE.format(3, 0)),
    "fewer than no dims": (said(ndim=-1), "has ndim -1 in what its __dlpack__ returns; it must be 0 to 64"),
    "65 dims": (said(ndim=65), "has ndim 65 in what its __dlpack__ returns; it must be 0 to 64"),
    "2**31 - 1 dims": (
        said(ndim=2**31 - 1),
        f"has ndim {2**31 - 1} in what its __dlpack__ returns; it must be 0 to 64",
    ),
    "an offset of -4": (said(byte_offset=2**64 - 4), OFFSET.format(2**64 - 4)),
    "an offset around the end": (said(byte_offset=2**64 - 2**62), OFFSET.format(2**64 - 2**62)),
    "a negative extent": (
        said(shape=integers(-3)),
        "has an extent of -3 in what its __dlpack__ returns; extents must be 0 or more",
    ),
}
LIES_ABOUT_NUMBERS = {
    "two lanes": (said(lanes=2), TypeError, "x " + DTYPE.format("(2, 32, 2) in DLPack's code, bits and lanes")),
    "no lanes": (said(lanes=0), TypeError, "x " + DTYPE.format("(2, 32, 0) in DLPack's code, bits and lanes")),
    "no bits": (said(bits=0), TypeError, "x " + DTYPE.format("float0")),
    "80 bits": (said(bits=80), TypeError, "x " + DTYPE.format("float80")),
    "no such code": (said(code=200), TypeError, "x " + DTYPE.format("(200, 32, 1) in DLPack's code, bits and lanes")),
    "a stride too long": (said(strides=integers(2**62)), ValueError, TOO_FAR),
    "strides too long together": (
        said(ndim=2, shape=integers(3, 2), strides=integers(2**60, 2**62)),
        ValueError,
        TOO_FAR,
    ),
    "the most negative stride": (said(strides=integers(-(2**63))), ValueError, TOO_FAR),
    "too many elements": (said(ndim=2, shape=integers(2**62, 4), strides=integers(0, 0)), ValueError, TOO_FAR),
}


def calls_with(change: Callable[[Any], None]) -> Iterator[tuple[str, list[Forged], Callable[[], Any]]]:
    """Calls with one argument whose capsule says that: its name, what is exported for the call, and the call."""

    def forged(name: str, of: str, elements: Any) -> Forged:
        return Forged(elements, change if name == of else lambda holder: None)

    for of in ("x", "out"):
        x, out = forged("x", of, X), forged("out", of, X)
        yield of, [x, out], lambda x=x, out=out: leakyrelu.leaky_relu(x, 0.5, out=out)
        yield of, [x, out], lambda x=x, out=out: leakyrelu.leaky_relu_with_mask(x, 0.5, out=out)
    for of in ("grad", "mask", "out"):
        grad, mask, out = forged("grad", of, X), forged("mask", of, MASK), forged("out", of, X)
        call = lambda grad=grad, mask=mask, out=out: leakyrelu.leaky_relu_backward(grad, mask, 0.5, out=out)  # noqa: E731
        yield of, [grad, mask, out], call


def assert_deleted(exporters: list[Forged]) -> None:
    if any(e.deleted < e.given for e in exporters):
        gc.collect()  # which takes a quarter of a second beside torch
    assert [e.deleted for e in exporters] == [e.given for e in exporters]


@pytest.mark.parametrize("lie", LIES)
def test_what_a_capsule_cannot_say(lie: str) -> None:
    """Of whatever argument: nothing is looked for there, nothing is written, and each deleter is called once."""
    change, message = LIES[lie]
    for name, exporters, call in calls_with(change):
        before = [exporter.memory.copy() for exporter in exporters]
        with pytest.raises(TypeError, match=f"^{re.escape(f'{name} {message}')}$"):
            call()
        for exporter, memory in zip(exporters, before, strict=True):
            assert_same(exporter.memory, memory)
        assert_deleted(exporters)


@pytest.mark.parametrize("lie", LIES_ABOUT_NUMBERS)
def test_what_no_elements_can_have(lie: str) -> None:
    change, error, message = LIES_ABOUT_NUMBERS[lie]
    x = Forged(X, change)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        leakyrelu.leaky_relu(x, 0.5, inplace=True)
    assert_same(x.memory, X)
    assert_deleted([x])


# What capsules may say of nine numbers, and what these are then.
TRUTHS: dict[str, tuple[Callable[[Any], None], Callable[[Any], Any]]] = {
    "a later version 1": (said(minor=999), lambda m: m),
    "unknown flags": (said(flags=2 | 4 | 1 << 63), lambda m: m),
    "a second CPU": (said(device_id=1), lambda m: m),
    "a stride": (said(shape=integers(3), strides=integers(4)), lambda m: m[::4]),
    "a negative stride": (said(strides=integers(-1), byte_offset=32), lambda m: m[::-1]),
    "two dims in C order": (said(ndim=2, shape=integers(3, 3)), lambda m: m.reshape(3, 3)),
    "any stride of one element": (said(shape=integers(1), strides=integers(-(2**63))), lambda m: m[:1]),
    "an offset": (said(shape=integers(5), byte_offset=16), lambda m: m[4:]),
    "a misaligned offset": (said(shape=integers(8), byte_offset=1), lambda m: m.view("u1")[1:33].view("f4")),
    "ndim 0": (said(ndim=0, shape=None), lambda m: m[:1].reshape(())),
    "no elements": (said(shape=integers(0), data=None, byte_offset=64), lambda m: m[:0]),
    "64 dims": (said(ndim=64, shape=integers(9, *[1] * 63)), lambda m: m.reshape(9, *[1] * 63)),
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_what_a_capsule_may_say(truth: str) -> None:
    if truth == "64 dims" and NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("NumPy 1 has 32 dims at most")
    change, view = TRUTHS[truth]
    memory = np.array([-2.0, 4.0, -0.0, np.nan, 8.0, -np.inf, 1e-45, -1.0, 3.0], np.float32)
    x, out = Forged(memory, change), Forged(memory, change)
    numbers = view(memory.copy())
    expected = np.asarray(select(numbers > 0, numbers, 0.5), np.float32)
    y, mask = leakyrelu.leaky_relu_with_mask(x, 0.5)
    assert_same(y, expected)
    assert leakyrelu.leaky_relu_backward(numbers, mask, 0.5, out=out) is out
    assert_same(np.array(view(out.memory)), expected)
    all_of_it = memory.copy()
    view(all_of_it)[...] = expected
    assert out.memory.tobytes() == all_of_it.tobytes()
    assert_deleted([x, out])


def test_a_stride_of_one_element_is_not_passed_on() -> None:
    """It may be one that no number of bytes is."""
    x = Forged(X[:1], said(shape=integers(1), strides=integers(-(2**63))))
    assert leakyrelu.leaky_relu(x, 0.5).strides == (4,)


def test_jax_with_several_cpus() -> None:
    """Which it has when told so, for tests; it numbers them in what it exports. Their memory is the same."""
    code = "x = jax.device_put(jnp.array([-2.0, 4.0]), jax.devices()[1]); print(leakyrelu.leaky_relu(x, 0.5))"
    program = [sys.executable, "-c", f"import jax, jax.numpy as jnp, leakyrelu; {code}"]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[-1.  4.]\n"


def test_a_deleter_may_be_missing() -> None:
    x = Forged(X, lambda holder: setattr(holder, "deleter", Deleter()))
    assert_same(leakyrelu.leaky_relu(x, 0.5), select(X > 0, X, 0.5))
    assert x.deleted == 0


@pytest.mark.parametrize("holder_type", [Versioned, Managed], ids=["version 1", "before"])
def test_each_deleter_is_called_once(holder_type: Any) -> None:
    """With and without a result, whoever is to blame, and as often as the same array is asked."""
    x, mask = Forged(X, holder_type=holder_type), Forged(MASK, holder_type=holder_type)
    out = Forged(X)
    leakyrelu.leaky_relu(x, 0.5, out=out)
    leakyrelu.leaky_relu_backward(x, mask, 0.5, out=out)
    leakyrelu.leaky_relu_with_mask(x, 0.5)
    assert_deleted([x, mask, out])
    for kind in (TypeError, MemoryError, KeyboardInterrupt):

        class Raising:
            def __dlpack__(self, **options: Any) -> Any:
                raise kind  # noqa: B023

        for call in (
            lambda: leakyrelu.leaky_relu(x, 0.5, out=Raising()),
            lambda: leakyrelu.leaky_relu_backward(x, mask, 0.5, out=Raising()),
            lambda: leakyrelu.leaky_relu_backward(x, Raising(), 0.5, out=out),
        ):
            with pytest.raises(kind):
                call()
            assert_deleted([x, mask, out])
    short, read_only = Forged(X[:2]), Forged(X, said(flags=1))
    for wrong in (short, read_only):
        with pytest.raises(ValueError, match=r"out has shape|out is read-only"):
            leakyrelu.leaky_relu(x, 0.5, out=wrong)
    assert_deleted([x, short, read_only])
    assert_same(out.memory, select(X > 0, X, 0.5))


def test_a_capsule_that_comes_twice() -> None:
    class Thrifty(Forged):
        def __dlpack__(self, **options: Any) -> Any:
            if not hasattr(self, "only"):
                self.only = super().__dlpack__(**options)
            return self.only

    message = "its __dlpack__ returns no tensor but PyCapsule used_dltensor_versioned"
    x = Thrifty(X)
    assert_same(leakyrelu.leaky_relu(x, 0.5), select(X > 0, X, 0.5))
    for again in (x, Thrifty(X)):
        with pytest.raises(TypeError, match=message):
            leakyrelu.leaky_relu(again, 0.5, inplace=True)
        assert_same(again.memory, X)
        assert again.deleted == again.given == 1


def test_the_stride_of_one_byte_does_not_matter() -> None:
    """A library may leave any stride to an extent of 1."""
    stride = ctypes.c_int64(9)

    class Strided(Exporter):
        def __dlpack__(self, **options: Any) -> Any:
            capsule = super().__dlpack__(**options)
            held_by(capsule).tensor.strides = ctypes.pointer(stride)
            return capsule

    mask = Strided(np.array([0b10], np.uint8))
    y = leakyrelu.leaky_relu_backward(np.array([-2.0, 4.0], np.float32), mask, 0.5)
    assert_same(y, np.array([-1.0, 4.0], np.float32))


@numpy_says_what_is_writable
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
