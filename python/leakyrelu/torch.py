"""LeakyReLU for PyTorch: a drop-in that keeps one bit per element for the backward instead of the input.

Plain tensors on the CPU are done here, and on CUDA devices where it was built with a CUDA compiler.
Everything else (export, script, fx, functional transforms, subclasses, other devices, ...) goes to torch's own
leaky_relu, so nothing works less than before. Under torch.compile it is torch's own too, but keeps its result, which
the next layer keeps anyway, and nothing besides.

The work is done by a module that was built for the minor version of torch that is installed. Where this package has
none, the same functions run in Python over the functions on arrays, and a UserWarning says so at import.
"""

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._device import DeviceContext

from leakyrelu import _torch_modules
from leakyrelu._saved_bytes import SavedBytes, compared
from leakyrelu._torch_traced import keeps_result

__all__ = [
    "FusedLeakyReLU",
    "LeakyReLU",
    "SavedBytes",
    "bias_act",
    "convert",
    "fused_leaky_relu",
    "leaky_relu",
    "leaky_relu_",
    "patch",
    "patched",
    "saved_bytes",
    "unpatch",
]


def _in_python() -> Any:
    from leakyrelu import _torch_in_python

    modules = ", ".join(_torch_modules.available()) or "none"
    warnings.warn(
        f"leakyrelu has no module for torch {torch.__version__} (but for {modules}), so leakyrelu.torch runs in "
        "Python: as exact, with one bit per element all the same, but a call takes some microseconds longer, and "
        "tensors on CUDA devices are left to torch. Building leakyrelu where this torch is installed, with pip's "
        "--no-build-isolation, makes a module for it",
        stacklevel=4,
    )
    return _torch_in_python


_torch: Any = _torch_modules.load(torch.__version__) or _in_python()
_leaky_relu: Callable[..., Tensor] = _torch.leaky_relu

from leakyrelu._torch_fused import FusedLeakyReLU, bias_act, fused_leaky_relu  # noqa: E402 (its operator is there now)

# The operators on masks, for those who keep them themselves; see leakyrelu.leaky_relu_with_mask.
leaky_relu_with_mask = torch.ops.leakyrelu.leaky_relu_with_mask
leaky_relu_backward = torch.ops.leakyrelu.leaky_relu_backward

Model = TypeVar("Model", bound=nn.Module)

_log = logging.getLogger(__name__)
_is_dynamo_compiling = torch.compiler.is_dynamo_compiling
_original, _original_ = F.leaky_relu, F.leaky_relu_


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
        return _traced(input, negative_slope, inplace)
    return _leaky_relu(input, negative_slope, inplace)


# What TorchScript compiles in its place.
leaky_relu.__prepare_scriptable__ = lambda: _original  # type: ignore[attr-defined]


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu(input, negative_slope, inplace=True)`."""
    return leaky_relu(input, negative_slope, True)


class LeakyReLU(nn.LeakyReLU):
    """`torch.nn.LeakyReLU`, keeping a mask of ceil(n / 8) bytes for the backward.

    Shape, parameters and (empty) state are those of `torch.nn.LeakyReLU`. Its repr starts with `leakyrelu.torch.`, and
    the `grad_fn` of its results is a `LeakyReluMaskBackward`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns `leaky_relu(input, self.negative_slope, self.inplace)`."""
        return leaky_relu(input, self.negative_slope, self.inplace)

    def _get_name(self) -> str:  # in torch's repr of modules
        return "leakyrelu.torch.LeakyReLU" if type(self) is LeakyReLU else type(self).__name__


def convert(model: Model) -> Model:
    """Turns every `torch.nn.LeakyReLU` inside a model (itself included) into one of this module.

    In place: names, hooks, training flags and sharing stay. Subclasses of `torch.nn.LeakyReLU` are left
    alone. How many were turned is logged (`logging`, level INFO).

    Returns:
        The model.

    Raises:
        TypeError: `model` is not a `torch.nn.Module`.

    Warns:
        UserWarning: There is none inside. A model may call `torch.nn.functional.leaky_relu` instead; see `patched`.
    """
    _require_module(model)
    count = 0
    for module in model.modules():
        if type(module) is nn.LeakyReLU:
            module.__class__ = LeakyReLU
            count += 1
    _log.info("converted %d LeakyReLU modules", count)
    if count == 0 and not any(type(module) is LeakyReLU for module in model.modules()):
        warnings.warn(
            f"convert() found no torch.nn.LeakyReLU in this {type(model).__name__} and changed nothing. If the model "
            "calls torch.nn.functional.leaky_relu, run it within leakyrelu.torch.patched()",
            stacklevel=2,
        )
    return model


_Name = tuple[ModuleType, str]

_patch_lock = threading.Lock()
_patches: list[list[_Name]] = []  # what each patch that is not undone yet has replaced
_before: dict[_Name, Callable[..., Any]] = {}  # what stood there before the first of them


def patch(also: Iterable[ModuleType] = ()) -> None:
    """Routes `torch.nn.functional.leaky_relu` and `leaky_relu_` through this module, in the whole process.

    Counted: as many calls of `unpatch` undo it.

    Args:
        also: modules that have imported the functions by name (`from torch.nn.functional import leaky_relu`). Such a
            name does not follow `torch.nn.functional`; in these modules it is replaced too, whatever it is there.

    Raises:
        TypeError: `also` is not a list, or another iterable, of modules.
        ValueError: One of the modules has no such name.
    """
    _replace(_modules(also))


def unpatch() -> None:
    """Undoes the last `patch`.

    Raises:
        RuntimeError: There is none.
    """
    with _patch_lock:
        if not _patches:
            raise RuntimeError("unpatch() without a patch() before it")
        _restore(_patches[-1])


@contextlib.contextmanager
def patched(also: Iterable[ModuleType] = ()) -> Iterator[None]:
    """`patch(also)` for the length of a with block.

    Code that has run `from torch.nn.functional import leaky_relu` keeps torch's function under that name. Name its
    module: `with patched(also=[its_module]):`.
    """
    names = _replace(_modules(also))
    try:
        yield
    finally:
        with _patch_lock:
            _restore(names)


def _modules(also: Iterable[ModuleType]) -> list[ModuleType]:
    if not isinstance(also, Iterable):
        raise TypeError(f"also must be a list of modules, such as [module], not a {type(also).__name__}")
    modules = list(also)
    for module in modules:
        if not isinstance(module, ModuleType):
            raise TypeError(f"also must be a list of modules, but has a {type(module).__name__} in it")
    return modules


def _replace(modules: list[ModuleType]) -> list[_Name]:
    with _patch_lock:
        ours: dict[Callable[..., Any], Callable[..., Any]] = {_original: leaky_relu, _original_: leaky_relu_}
        functions: dict[_Name, Callable[..., Any]] = {(F, "leaky_relu"): leaky_relu, (F, "leaky_relu_"): leaky_relu_}
        # Where somebody has put others before.
        ours |= {_before.get(key, getattr(*key)): function for key, function in functions.items()}
        for module in modules:
            found = {
                (module, name): ours.get(value, value)
                for name, value in vars(module).items()
                if callable(value) and (_is_in(value, ours) or _is_in(value, ours.values()))
            }
            if not found:
                raise ValueError(
                    f"also: the module {module.__name__} has no name for torch.nn.functional.leaky_relu or "
                    "leaky_relu_; give the modules that import them by name, others need nothing"
                )
            functions |= found
        for key, function in functions.items():
            _before.setdefault(key, getattr(*key))
            setattr(*key, function)
        names = list(functions)
        _patches.append(names)
        return names


def _is_in(value: object, functions: Iterable[object]) -> bool:
    return any(value is function for function in functions)


def _restore(names: list[_Name]) -> None:
    """Undoes the patch that has replaced `names`, but for what others have replaced too."""
    # By identity: others may have replaced the same names.
    del _patches[next(i for i, patch in enumerate(_patches) if patch is names)]
    for key in names:
        if not any(key in others for others in _patches):
            setattr(*key, _before.pop(key))


def saved_bytes(model: nn.Module, *inputs: Any, **keywords: Any) -> SavedBytes:
    """How many bytes a forward keeps for the backward, with torch's own LeakyReLU and with this module's.

    `print(saved_bytes(model, x))` shows it as a table. Runs `model(*inputs, **keywords)` twice, with a gradient: as if
    nothing had been converted or patched, and within `patched()`. (Where a module has imported the function by name,
    call this within `patched(also=[its_module])`.) Every block of memory that autograd holds when the forward
    is done counts once; parameters, buffers and inputs do not count. What checkpointing computes again does not either.

    Parameters, buffers, inputs and the states of random generators are afterwards as before.

    Returns:
        A `SavedBytes`.

    Raises:
        TypeError: `model` is not a `torch.nn.Module`.
    """
    _require_module(model)
    return compared(model, inputs, keywords, patched(), {leaky_relu: _original, leaky_relu_: _original_})


def _require_module(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not a {type(model).__name__}")


def _traced(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """What torch.compile traces: torch's own operator, whose backward sees the result instead of the input.

    For slopes of 0 and more, result > 0 is input > 0, at NaN and infinities too. The next layer keeps the result
    anyway, so nothing is kept besides, where torch would keep a byte per element. torch does so in place; here that is
    in place in a copy, which the compiler removes.
    """
    if not inplace and keeps_result(negative_slope, input):
        return _original(input.clone(), negative_slope, True)
    return _fallback(input, negative_slope, inplace)


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
_torch.set_default_device_mode(DeviceContext)
for _node in (_torch.LeakyReluMaskBackward, _torch.FusedLeakyReluBackward):
    torch.autograd.graph.Node.register(_node)  # as torch's own nodes are
