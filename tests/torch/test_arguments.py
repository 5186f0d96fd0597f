"""Proves that arguments are taken and refused as torch does, in its words; our own: test_torch_bad_calls.py."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor

from leakyrelu.torch import LeakyReLU, leaky_relu, leaky_relu_

X = torch.tensor([-2.0, -0.0, 0.0, 1.5, float("nan")])

SLOPES = {
    "int": 2,
    "negative_int": -2,
    "zero": 0,
    "bool": True,
    "false": False,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus_inf": float("-inf"),
    "huge": 1e300,
    "minus_huge": -1e300,
    "numpy_float64": np.float64(0.3),
    "numpy_negative": np.float64(-0.3),
    "numpy_float32": np.float32(0.3),
    "numpy_float16": np.float16(0.3),
    "numpy_int": np.int64(3),
    "numpy_uint8": np.uint8(3),
    "numpy_bool": np.bool_(True),
    "numpy_0d": np.array(0.3),
    "numpy_1d": np.array([0.3]),
    "numpy_complex": np.complex128(1j),
    "tensor_0d": torch.tensor(0.3),
    "tensor_0d_negative": torch.tensor(-0.3),
    "tensor_0d_int": torch.tensor(3),
    "tensor_0d_bool": torch.tensor(True),
    "tensor_0d_double": torch.tensor(0.3, dtype=torch.float64),
    "tensor_0d_complex": torch.tensor(1j),
    "tensor_0d_grad": torch.tensor(0.3, requires_grad=True),
    "tensor_1d": torch.tensor([0.3]),
    "tensor_2": torch.tensor([0.3, 0.4]),
    "tensor_meta": torch.tensor(0.3, device="meta"),
    "none": None,
    "str": "0.3",
    "bytes": b"0.3",
    "complex": 1j,
    "list": [0.3],
    "tuple": (0.3,),
    "object": object(),
    "type": float,
    "dtype": torch.float32,
}

INPUTS = {
    "float64": X.double(),
    "bfloat16": X.bfloat16(),
    "int32": torch.arange(-2, 3, dtype=torch.int32),
    "int64": torch.arange(-2, 3),
    "uint8": torch.arange(3, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "complex64": X.to(torch.complex64),
    "complex32": X.to(torch.complex32),
    "float8_e4m3fn": X.to(torch.float8_e4m3fn),
    "float8_e5m2": X.to(torch.float8_e5m2),
    "empty_int": torch.empty(0, dtype=torch.int32),
    "empty_bool": torch.empty(0, dtype=torch.bool),
    "none": None,
    "float": 1.0,
    "list": [1.0, -2.0],
    "tuple": (1.0, -2.0),
    "numpy": np.ones(3),
    "numpy_scalar": np.float32(-1),
    "str": "x",
    "list_of_tensors": [X, X],
    "module": torch.nn.ReLU(),
    "type": Tensor,
}

CALLS = {
    "nothing": lambda f, x: f(),
    "too_many": lambda f, x: f(x, 0.1, False, 1),
    "far_too_many": lambda f, x: f(x, 0.1, False, 1, 2, 3, 4, 5),
    "wrong_keyword": lambda f, x: f(x, slope=0.1),
    "no_input": lambda f, x: f(negative_slope=0.1),
    "twice_input": lambda f, x: f(x, input=x),
    "twice_slope": lambda f, x: f(x, 0.1, negative_slope=0.1),
    "twice_inplace": lambda f, x: f(x, 0.1, True, inplace=True),
    "keyword_input": lambda f, x: f(input=x),
    "keywords": lambda f, x: f(inplace=False, negative_slope=0.2, input=x),
    "keyword_slope": lambda f, x: f(x, negative_slope=-0.2),
    "star": lambda f, x: f(*(x, 0.2), **{"inplace": False}),
    "subclass_of_str_keyword": lambda f, x: f(x, **{type("S", (str,), {})("negative_slope"): 0.2}),
    "surrogate_keyword": lambda f, x: f(x, **{"\udc80": 1}),
    "inplace_none": lambda f, x: f(x, 0.1, None),
    "inplace_1": lambda f, x: f(x, 0.1, 1),
    "inplace_0": lambda f, x: f(x, 0.1, 0),
    "inplace_str": lambda f, x: f(x, 0.1, "no"),
    "inplace_empty_str": lambda f, x: f(x, 0.1, ""),
    "inplace_list": lambda f, x: f(x, 0.1, []),
    "inplace_numpy": lambda f, x: f(x, 0.1, np.bool_(True)),
    "inplace_tensor": lambda f, x: f(x, 0.1, torch.tensor(True)),
    "inplace_tensor_2": lambda f, x: f(x, 0.1, torch.tensor([True, False])),
    "inplace_1_negative": lambda f, x: f(x, -0.1, 1),
    "everything_wrong": lambda f, x: f("x", "y", "z"),
    "input_and_slope_swapped": lambda f, x: f(0.1, x),
}


def outcome(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except Exception as error:
            return error


# Where the library's own words say more.
BEYOND_FLOAT32 = "value cannot be converted to type float without overflow"


def assert_same_outcome(actual, expected) -> None:
    if isinstance(expected, Tensor):
        assert isinstance(actual, Tensor), actual
        assert_same(actual, expected)
    else:
        assert type(actual) is type(expected), (actual, expected)
        assert str(actual) == str(expected) or (
            str(expected) == BEYOND_FLOAT32 and str(actual).startswith("negative_slope is too large for float32")
        )


def assert_like_torch(run) -> None:
    assert_same_outcome(outcome(run, leaky_relu), outcome(run, F.leaky_relu))


by_grad = pytest.mark.parametrize("requires_grad", [False, True], ids=["", "grad"])
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])


@by_inplace
@by_grad
@pytest.mark.parametrize("slope", SLOPES)
def test_slope(slope: str, requires_grad: bool, inplace: bool) -> None:
    assert_like_torch(lambda f: f(X.clone().requires_grad_(requires_grad) * 1, SLOPES[slope], inplace))


@by_inplace
@pytest.mark.parametrize("slope", SLOPES)
def test_slope_of_float64(slope: str, inplace: bool) -> None:
    assert_like_torch(lambda f: f(X.double(), SLOPES[slope], inplace))


@by_inplace
@pytest.mark.parametrize("slope", [0.01, -0.3])
@pytest.mark.parametrize("kind", INPUTS)
def test_input(kind: str, slope: float, inplace: bool) -> None:
    x = INPUTS[kind]
    copy = (lambda: x.clone()) if isinstance(x, Tensor) else (lambda: x)
    assert_like_torch(lambda f: f(copy(), slope, inplace))


@pytest.mark.parametrize("call", CALLS)
def test_call(call: str) -> None:
    assert_like_torch(lambda f: CALLS[call](f, X.clone()))


@pytest.mark.parametrize("slope", SLOPES)
def test_slope_of_the_module(slope: str) -> None:
    actual = outcome(lambda: LeakyReLU(SLOPES[slope])(X))
    expected = outcome(lambda: torch.nn.LeakyReLU(SLOPES[slope])(X))
    assert_same_outcome(actual, expected)


@pytest.mark.parametrize("slope", SLOPES)
def test_slope_of_leaky_relu_(slope: str) -> None:
    actual = outcome(lambda: leaky_relu_(X.clone(), SLOPES[slope]))
    expected = outcome(lambda: F.leaky_relu_(X.clone(), SLOPES[slope]))
    assert_same_outcome(actual, expected)


@pytest.mark.parametrize("size", [3, 100000])
def test_an_error_leaves_the_input_and_the_interpreter_as_they_were(size: int) -> None:
    """Also where the interpreter's lock was let go of."""
    x = -torch.ones(size)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            leaky_relu_(x, 1e300)
    assert_same(x, -torch.ones(size))


def test_nothing_leaks() -> None:
    """References to arguments and results, by their counts."""
    import sys

    x, slope = torch.randn(5), 0.123
    marker = object()
    # Not those of None and True, which the whole process counts, other threads and the test runner included.
    before = [sys.getrefcount(o) for o in (x, slope, marker)]
    for _ in range(1000):
        leaky_relu(x, slope)
        leaky_relu(x, slope, False)
        leaky_relu(input=x, negative_slope=slope)
        leaky_relu_(x, slope)
        for wrong in (marker, None):
            with pytest.raises(TypeError):
                leaky_relu(x, wrong)
    after = [sys.getrefcount(o) for o in (x, slope, marker)]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True))
