"""The sides in Python: ours on arrays and on tensors, torch, NumPy, onnxruntime.

Each has the statement that its users would write. What is missing or does not import is said, and left out.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import leakyrelu
import leakyrelu.torch
from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.data import Data, numpy_dtype
from benchmarks.measure import Side

OURS = "leakyrelu"  # on arrays, fresh outputs
OURS_OUT = "leakyrelu, out="
OURS_TORCH = "leakyrelu.torch"
TORCH = "torch"
ONNXRUNTIME = "onnxruntime"
WHERE = "np.where"
MAXIMUM = "np.maximum"


class Peer(ABC):
    """One side of the comparison."""

    name: str
    dtypes: tuple[str, ...] = cases.DTYPES

    @abstractmethod
    def side(self, case: Case, data: Data) -> Side | None:
        """How it does the case's operation; None if it has none."""


class Arrays(Peer):
    """`leakyrelu` on NumPy arrays, into fresh memory or into memory that is there already."""

    def __init__(self, name: str, out: str) -> None:
        self.name = name
        self._out = out

    def side(self, case: Case, data: Data) -> Side | None:
        s = _slope(case)
        f: Callable[..., Any] = leakyrelu.leaky_relu
        match case.operation:
            case cases.FORWARD:
                statement = f"f(x{s}{self._out})"
            case cases.KEEPING:
                statement, f = f"f(x{s}{self._out})", leakyrelu.leaky_relu_with_mask
            case cases.BACKWARD:
                statement, f = f"f(g, mask{s}{self._out})", leakyrelu.leaky_relu_backward
            case cases.IN_PLACE if not self._out:
                statement = f"f(x, {case.slope}, True)"
            case _:
                return None
        return Side(self.name, statement, {"f": f, "x": data.x, "g": data.g, "mask": data.mask, "y": data.y})


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


class NumpyWhere(Peer):
    """What most people write."""

    name = WHERE
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

    name = MAXIMUM
    dtypes = ("float32", "float64")

    def side(self, case: Case, data: Data) -> Side | None:
        if case.operation != cases.FORWARD:
            return None
        names = {"maximum": np.maximum, "x": data.x, "s": numpy_dtype(case.dtype).type(case.slope)}
        return Side(self.name, "maximum(x, x * s)", names)


class Onnxruntime(Peer):
    """A model of one LeakyRelu, from NumPy arrays to NumPy arrays."""

    name = ONNXRUNTIME
    dtypes = ("float32",)

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


def python_peers() -> tuple[list[Peer], dict[str, str]]:
    """The sides that work here, and why the others do not."""
    peers = [
        Tensors(TORCH, F, torch.nn.LeakyReLU),
        Tensors(OURS_TORCH, leakyrelu.torch, leakyrelu.torch.LeakyReLU),
        Arrays(OURS, ""),
        Arrays(OURS_OUT, ", out=y"),
        NumpyWhere(),
        NumpyMaximum(),
    ]
    try:
        return [*peers, Onnxruntime()], {}
    except ImportError as error:
        return peers, {ONNXRUNTIME: " ".join(f"{type(error).__name__}: {error}".split())}


def _slope(case: Case) -> str:
    """The argument after the input; none for the default, as in the documentation's example."""
    return "" if case.slope == cases.SLOPE else f", {case.slope}"
