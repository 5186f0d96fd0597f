"""LeakyReLU for PyTorch: a drop-in that keeps one bit an element for the backward instead of the input.

Plain tensors on the CPU are done here, and on CUDA devices where it was built with a CUDA compiler.
Everything else (compile, export, script, fx, functional transforms, subclasses, other devices, ...) goes to
torch's own leaky_relu, so nothing works less than before.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leakyrelu._torch_version import TORCH_VERSION

if torch.__version__.split("+")[0].split(".")[:2] != TORCH_VERSION.split(".")[:2]:
    raise ImportError(
        f"leakyrelu.torch was built for torch {TORCH_VERSION}, but this is torch {torch.__version__}; "
        "pip install --no-build-isolation --force-reinstall --no-deps leakyrelu builds it anew"
    )

from leakyrelu import _torch

__all__ = ["LeakyReLU", "convert", "leaky_relu", "leaky_relu_", "patch", "patched", "unpatch"]

# The operators on masks, for those who keep them themselves; see leakyrelu.leaky_relu_with_mask.
leaky_relu_with_mask = torch.ops.leakyrelu.leaky_relu_with_mask
leaky_relu_backward = torch.ops.leakyrelu.leaky_relu_backward

Model = TypeVar("Model", bound=nn.Module)

_log = logging.getLogger(__name__)
_is_dynamo_compiling = torch.compiler.is_dynamo_compiling
_original = F.leaky_relu


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.leaky_relu`, keeping a mask of ceil(n / 8) bytes for the backward.

    Args:
        input: tensor of n elements, of any shape.
        negative_slope: factor for elements that are not greater than zero.
        inplace: write the result over `input` and return it; for every slope, negative ones included.

    Returns:
        Tensor of the shape, dtype and strides that torch's own would have, differentiable to any order.

    Raises:
        What `torch.nn.functional.leaky_relu` raises.
    """
    if _is_dynamo_compiling():
        return _fallback(input, negative_slope, inplace)
    return _torch.leaky_relu(input, negative_slope, inplace)


# What TorchScript compiles in its place.
leaky_relu.__prepare_scriptable__ = lambda: _original  # type: ignore[attr-defined]


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu(input, negative_slope, inplace=True)`."""
    return leaky_relu(input, negative_slope, True)


class LeakyReLU(nn.LeakyReLU):
    """`torch.nn.LeakyReLU`, keeping a mask of ceil(n / 8) bytes for the backward.

    Shape, parameters, repr and (empty) state are those of `torch.nn.LeakyReLU`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns `leaky_relu(input, self.negative_slope, self.inplace)`."""
        return leaky_relu(input, self.negative_slope, self.inplace)


def convert(model: Model) -> Model:
    """Turns every `torch.nn.LeakyReLU` inside a model (itself included) into one of this module.

    In place: names, hooks, training flags and sharing stay. Subclasses of `torch.nn.LeakyReLU` are left
    alone. How many were turned is logged (`logging`, level INFO).

    Returns:
        The model.
    """
    count = 0
    for module in model.modules():
        if type(module) is nn.LeakyReLU:
            module.__class__ = LeakyReLU
            count += 1
    _log.info("converted %d LeakyReLU modules", count)
    return model


_patch_lock = threading.Lock()
_patches = 0
_unpatched = F.leaky_relu, F.leaky_relu_  # what stood there before the first patch


def patch() -> None:
    """Routes `torch.nn.functional.leaky_relu` and `leaky_relu_` through this module, in the whole process.

    Counted: as many calls of `unpatch` undo it.
    """
    global _patches, _unpatched
    with _patch_lock:
        if _patches == 0:
            _unpatched = F.leaky_relu, F.leaky_relu_
            F.leaky_relu, F.leaky_relu_ = leaky_relu, leaky_relu_
        _patches += 1


def unpatch() -> None:
    """Undoes one `patch`.

    Raises:
        RuntimeError: There is none.
    """
    global _patches
    with _patch_lock:
        if _patches == 0:
            raise RuntimeError("unpatch() without a patch() before it")
        _patches -= 1
        if _patches == 0:
            F.leaky_relu, F.leaky_relu_ = _unpatched


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """`patch()` for the length of a with block."""
    patch()
    try:
        yield
    finally:
        unpatch()


def _fallback(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """What the fast call does not take: torch's own operators."""
    if inplace and isinstance(input, Tensor) and _is_negative(negative_slope):
        # torch's backward refuses this in place: compute from a copy, which backward sees, and copy back.
        return input.copy_(_original(input.clone(), negative_slope))
    return _original(input, negative_slope, inplace)


def _is_negative(negative_slope: object) -> bool:
    # What is no number at all is for torch to refuse, in its own words.
    if isinstance(negative_slope, int | float):
        return negative_slope < 0
    try:
        return float(negative_slope) < 0  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return False


_torch.set_fallback(_fallback)
torch.autograd.graph.Node.register(_torch.LeakyReluBackward)  # as torch's own nodes are
