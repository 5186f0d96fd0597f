"""The sides in Python: ours on arrays and on tensors, torch, NumPy, numba, JAX, onnxruntime.

Each has the statement that its users would write. What is missing or does not import is said, and left out.
"""

import importlib
import itertools
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import leakyrelu
import leakyrelu.torch
from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Array, Data, numpy_dtype
from benchmarks.measure import Side

OURS = "leakyrelu"  # on arrays, fresh outputs
OURS_OUT = "leakyrelu, out="
OURS_TORCH = "leakyrelu.torch"
TORCH = "torch"
COMPILE = "torch.compile"
ONNXRUNTIME = "onnxruntime"
JAX = "jax.jit"
NUMBA = "numba, into out"

# Kinds of value, see exactness.py.
KINDS = ("normal numbers", "large numbers", "zeros", "infinities", "NaN", "subnormals")

# Operation, dtype, slope and kind of value.
Difference = tuple[str, str, float, str]


def known(
    operations: Iterable[str], dtypes: Iterable[str], slopes: Iterable[float], kinds: Iterable[str]
) -> frozenset[Difference]:
    """Where a side is known to give other bits than the oracle."""
    return frozenset(itertools.product(operations, dtypes, slopes, kinds))


class Peer(ABC):
    """One side of the comparison."""

    name: str
    differs: frozenset[Difference] = frozenset()
    dtypes: tuple[str, ...] = cases.DTYPES
    slopes_are_free = True  # else one that compiles for long, and is checked with the default alone

    @abstractmethod
    def side(self, case: Case, data: Data) -> Side | None:
        """How it does the case's operation; None if it has none."""


class Ours(Peer):
    """`leakyrelu` on NumPy arrays."""

    name = OURS

    def side(self, case: Case, data: Data) -> Side | None:
        s = _slope(case)
        match case.operation:
            case cases.FORWARD:
                return Side(self.name, f"f(x{s})", {"f": leakyrelu.leaky_relu, "x": data.x})
            case cases.KEEPING:
                return Side(self.name, f"f(x{s})", {"f": leakyrelu.leaky_relu_with_mask, "x": data.x})
            case cases.MODULE:
                return Side(self.name, "m(x)", {"m": leakyrelu.LeakyReLU(case.slope), "x": data.x})
            case cases.BACKWARD:
                names = {"f": leakyrelu.leaky_relu_backward, "g": data.g, "mask": data.mask}
                return Side(self.name, f"f(g, mask{s})", names)
            case cases.IN_PLACE:
                return Side(self.name, f"f(x, {case.slope}, True)", {"f": leakyrelu.leaky_relu, "x": data.x})
        return None


class OursOut(Peer):
    """`leakyrelu` on NumPy arrays into memory that is there already."""

    name = OURS_OUT

    def side(self, case: Case, data: Data) -> Side | None:
        s = _slope(case)
        match case.operation:
            case cases.FORWARD:
                return Side(self.name, f"f(x{s}, out=y)", {"f": leakyrelu.leaky_relu, "x": data.x, "y": data.y})
            case cases.KEEPING:
                names = {"f": leakyrelu.leaky_relu_with_mask, "x": data.x, "y": data.y}
                return Side(self.name, f"f(x{s}, out=y)", names)
            case cases.BACKWARD:
                names = {"f": leakyrelu.leaky_relu_backward, "g": data.g, "mask": data.mask, "y": data.y}
                return Side(self.name, f"f(g, mask{s}, out=y)", names)
        return None


class Tensors(Peer):
    """torch's functions, or ours in their place."""

    def __init__(self, name: str, functions: Any, module: type[torch.nn.Module]) -> None:
        self.name = name
        self._function, self._in_place = functions.leaky_relu, functions.leaky_relu_
        self._module = module

    def side(self, case: Case, data: Data) -> Side | None:
        s = _slope(case)
        f = self._function
        match case.operation:
            case cases.FORWARD:
                return Side(self.name, f"f(x{s})", {"f": f, "x": data.tensor})
            case cases.KEEPING:
                return Side(self.name, f"f(x{s})", {"f": f, "x": data.leaf()})
            case cases.MODULE:
                return Side(self.name, "m(x)", {"m": self._module(case.slope), "x": data.tensor})
            case cases.MODULE_KEEPING:
                return Side(self.name, "m(x)", {"m": self._module(case.slope), "x": data.leaf()})
            case cases.BACKWARD:
                x = data.leaf()
                names = {"grad": torch.autograd.grad, "x": x, "y": f(x, case.slope), "g": data.tensor_g}
                return Side(self.name, "grad(y, x, g, retain_graph=True)", names)
            case cases.BACKWARD_OPERATOR:
                return self._backward_operator(case, data)
            case cases.FORWARD_AND_BACKWARD:
                names = {"f": f, "x": data.leaf(), "g": data.tensor_g}
                return Side(self.name, f"x.grad = None; f(x{s}).backward(g)", names, "x.grad")
            case cases.IN_PLACE:
                return Side(self.name, f"f(x, {case.slope})", {"f": self._in_place, "x": data.tensor})
        return None

    def _backward_operator(self, case: Case, data: Data) -> Side | None:
        if self.name == OURS_TORCH:
            mask = torch.from_numpy(data.mask)
            names = {"f": leakyrelu.torch.leaky_relu_backward, "g": data.tensor_g, "mask": mask}
            return Side(self.name, f"f(g, mask, {case.slope})", names)
        names = {"f": torch.ops.aten.leaky_relu_backward, "g": data.tensor_g, "x": data.tensor}
        return Side(self.name, f"f(g, x, {case.slope}, False)", names)


class Compiled(Peer):
    """torch's function under `torch.compile`: for each number of threads a program of its own, for all sizes."""

    name = COMPILE
    slopes_are_free = False

    def __init__(self, full: bool) -> None:
        if not full:
            self.dtypes = ("float32",)
        self._full = full
        self._functions: dict[tuple[Any, ...], Any] = {}

    def side(self, case: Case, data: Data) -> Side | None:
        operations = [cases.FORWARD, cases.FORWARD_AND_BACKWARD] if self._full else [cases.FORWARD]
        if case.operation not in operations or case.layout != "contiguous" or case.slope != cases.SLOPE:
            return None
        key = case.operation, case.dtype, case.threads
        if key not in self._functions:
            self._functions[key] = torch.compile(_fresh_leaky_relu(), dynamic=True, fullgraph=True)
        if case.operation == cases.FORWARD:
            return Side(self.name, "f(x)", {"f": self._functions[key], "x": data.tensor})
        names = {"f": self._functions[key], "x": data.leaf(), "g": data.tensor_g}
        return Side(self.name, "x.grad = None; f(x).backward(g)", names, "x.grad")


def _fresh_leaky_relu() -> Callable[[torch.Tensor], torch.Tensor]:
    """With code of its own, by which Dynamo keeps and counts what it has compiled."""

    def leaky_relu(x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x)

    return types.FunctionType(leaky_relu.__code__.replace(), globals())


class NumpyWhere(Peer):
    """What most people write."""

    name = "np.where"
    dtypes = ("float32", "float64")

    def side(self, case: Case, data: Data) -> Side | None:
        s = numpy_dtype(case.dtype).type(case.slope)
        if case.operation == cases.FORWARD:
            return Side(self.name, "where(x > 0, x, x * s)", {"where": np.where, "x": data.x, "s": s})
        if case.operation == cases.BACKWARD:
            names = {"where": np.where, "x": data.x, "g": data.g, "s": s}
            return Side(self.name, "where(x > 0, g, g * s)", names)
        return None


class NumpyMaximum(Peer):
    """The short form, for slopes from 0 to 1."""

    name = "np.maximum"
    dtypes = ("float32", "float64")
    differs = known([cases.FORWARD], dtypes, [0.0], ["infinities"]) | known(
        [cases.FORWARD], dtypes, [1.7], ["normal numbers", "large numbers", "subnormals"]
    )

    def side(self, case: Case, data: Data) -> Side | None:
        if case.operation != cases.FORWARD:
            return None
        names = {"maximum": np.maximum, "x": data.x, "s": numpy_dtype(case.dtype).type(case.slope)}
        return Side(self.name, "maximum(x, x * s)", names)


class Numba(Peer):
    """The formula as a parallel loop, into memory that is there already."""

    name = NUMBA
    dtypes = ("float32", "float64")

    def __init__(self) -> None:
        self._numba: Any = importlib.import_module("numba")
        prange = self._numba.prange

        def forward(x: Array, y: Array, s: Any) -> None:
            for i in prange(x.size):
                y[i] = x[i] if x[i] > 0 else x[i] * s

        def backward(x: Array, g: Array, y: Array, s: Any) -> None:
            for i in prange(x.size):
                y[i] = g[i] if x[i] > 0 else g[i] * s

        self._forward = self._numba.njit(parallel=True)(forward)
        self._backward = self._numba.njit(parallel=True)(backward)

    def side(self, case: Case, data: Data) -> Side | None:
        if case.layout != "contiguous":
            return None
        self._numba.set_num_threads(case.threads)
        names = {"x": data.x, "y": data.y, "s": numpy_dtype(case.dtype).type(case.slope)}
        if case.operation == cases.FORWARD:
            return Side(self.name, "f(x, y, s)", names | {"f": self._forward}, "y")
        if case.operation == cases.BACKWARD:
            return Side(self.name, "f(x, g, y, s)", names | {"f": self._backward, "g": data.g}, "y")
        return None


class Jax(Peer):
    """The formula under `jax.jit`. XLA cannot be told how many threads to take: it is measured with all alone."""

    name = JAX
    differs = known(
        [cases.FORWARD, cases.BACKWARD],
        ["float32", "float64", "bfloat16"],  # of float16 they are normal in float32
        cases.CHECKED_SLOPES,
        ["subnormals"],
    )

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._jax: Any = importlib.import_module("jax")
        self._jax.config.update("jax_enable_x64", True)

    def side(self, case: Case, data: Data) -> Side | None:
        if case.layout != "contiguous" or case.threads != self._cores:
            return None
        wide = self._jax.numpy.float64 if case.dtype == "float64" else self._jax.numpy.float32
        where = self._jax.numpy.where

        def select(x: Any, v: Any) -> Any:
            return where(x > 0, v, (v.astype(wide) * wide(case.slope)).astype(v.dtype))

        x = self._jax.device_put(data.x)
        if case.operation == cases.FORWARD:
            f = self._jax.jit(lambda x: select(x, x))
            return Side(self.name, "f(x).block_until_ready()", {"f": f, "x": x})
        if case.operation == cases.BACKWARD:
            names = {"f": self._jax.jit(select), "x": x, "g": self._jax.device_put(data.g)}
            return Side(self.name, "f(x, g).block_until_ready()", names)
        return None


class Onnxruntime(Peer):
    """A model of one LeakyRelu, from NumPy arrays to NumPy arrays."""

    name = ONNXRUNTIME
    dtypes = ("float32",)
    differs = known([cases.FORWARD], dtypes, [-0.2], ["zeros"])

    def __init__(self) -> None:
        self._ort: Any = importlib.import_module("onnxruntime")
        self._onnx: Any = importlib.import_module("onnx")

    def side(self, case: Case, data: Data) -> Side | None:
        if case.operation != cases.FORWARD or case.layout != "contiguous":
            return None
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=case.slope)
        x, y = (helper.make_tensor_value_info(name, kind, ["n"]) for name in "xy")
        # Versions that any onnxruntime of the last years reads.
        model = helper.make_model(
            helper.make_graph([node], "leaky_relu", [x], [y]),
            opset_imports=[helper.make_opsetid("", 16)],
            ir_version=8,
        )
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = case.threads
        session = self._ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return Side(self.name, "run(None, feed)", {"run": session.run, "feed": {"x": data.x}})


def python_peers(full: bool, cores: int) -> tuple[list[Peer], dict[str, str]]:
    """The sides that work here, and why the others do not."""
    makers: dict[str, Callable[[], Peer]] = {
        TORCH: lambda: Tensors(TORCH, F, torch.nn.LeakyReLU),
        OURS_TORCH: lambda: Tensors(OURS_TORCH, leakyrelu.torch, leakyrelu.torch.LeakyReLU),
        COMPILE: lambda: Compiled(full),
        OURS: Ours,
        OURS_OUT: OursOut,
        ONNXRUNTIME: Onnxruntime,
        JAX: lambda: Jax(cores),
        "np.where": NumpyWhere,
        "np.maximum": NumpyMaximum,
        NUMBA: Numba,
    }
    peers, missing = [], {}
    for name, make in makers.items():
        try:
            peers.append(make())
        except Exception as error:
            missing[name] = " ".join(f"{type(error).__name__}: {error}".split())
    return peers, missing


def _slope(case: Case) -> str:
    """The argument after the input; none for the default, as in the documentation's example."""
    return "" if case.slope == cases.SLOPE else f", {case.slope}"
