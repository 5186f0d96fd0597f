"""What leakyrelu._torch does, in Python over the functions on arrays: for a torch that no module was built for.

The same values, and one bit per element kept all the same. A call takes some microseconds longer; it runs on as many
threads as `leakyrelu.get_num_threads()` says, not torch's; and tensors on CUDA devices are left to torch's operator.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet

from leakyrelu import _core
from leakyrelu._torch_composed import biased, checked, composed, sum_of_bias, widened

HAS_CUDA = False

_DTYPES = tuple(getattr(torch, name) for name in _core.DTYPES)
_LARGEST_INT = 1 << 53  # that a float holds with all that are smaller


def _keys(*keys: Any) -> int:
    result = DispatchKeySet(keys[0])
    for key in keys[1:]:
        result = result.add(key)
    return int(result.raw_repr())


# As in bindings/torch/plain.h: the keys of a plain tensor, and what this thread's calls include with nothing at work.
_PLAIN = _keys(DispatchKey.CPU, DispatchKey.AutogradCPU, DispatchKey.AutocastCPU, DispatchKey.ADInplaceOrView)
_EAGER = _keys(DispatchKey.BackendSelect, DispatchKey.ADInplaceOrView)
_INFERENCE = _keys(DispatchKey.BackendSelect)

_Order = tuple[int, ...]  # of dims, outermost first
_Work = Callable[[Tensor], tuple[Tensor, Tensor]]

_fallback: Callable[..., Tensor]
_default_device_mode: type


def set_fallback(function: Callable[..., Tensor]) -> None:
    """Sets the function that takes what `leaky_relu` does not."""
    global _fallback
    _fallback = function


def set_default_device_mode(mode: type) -> None:
    """Sets the class of the mode that `leaky_relu` may ignore."""
    global _default_device_mode
    _default_device_mode = mode


def leaky_relu(*args: Any, **keywords: Any) -> Tensor:
    """See `leakyrelu.torch.leaky_relu`."""
    try:
        input, negative_slope, inplace = _arguments(*args, **keywords)
    except TypeError:
        return _fallback(*args, **keywords)  # which finds the words for it
    if (
        (type(input) is Tensor or type(input) is torch.nn.Parameter)
        and isinstance(inplace, bool)
        and _is_number(negative_slope)
        and not _is_mode_active()
        and _can_take(input)
        and not (inplace and _may_repeat_element(input))
    ):
        try:
            return _in_place(input, negative_slope) if inplace else _out_of_place(input, negative_slope)
        except ValueError:  # by the core, with nothing written: an element that repeats, a slope beyond float32
            pass
    return _fallback(*args, **keywords)


def _arguments(input: Any, negative_slope: Any = 0.01, inplace: Any = False) -> tuple[Any, Any, Any]:
    return input, negative_slope, inplace


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= _LARGEST_INT)


def _is_mode_active() -> bool:
    from torch.overrides import _get_current_function_mode_stack

    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return any(type(mode) is not _default_device_mode for mode in modes)


def _can_take(tensor: Tensor) -> bool:
    """Whether it is a plain tensor, and nothing watches or transforms this thread's calls."""
    included = torch._C._dispatch_tls_local_include_set().raw_repr()
    if included != _EAGER and not (torch.is_inference_mode_enabled() and included == _INFERENCE):
        return False
    if included == _EAGER and torch._C._dispatch_tls_is_dispatch_key_excluded(DispatchKey.AutogradCPU):
        return False
    keys = torch._C._dispatch_keys(tensor).raw_repr()
    if keys & ~_PLAIN or not tensor.is_cpu or tensor.dtype not in _DTYPES:
        return False
    if torch.autograd.forward_ad._current_level < 0:
        return True
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is None  # type: ignore[no-untyped-call]


def _needs_gradient(tensor: Tensor) -> bool:
    return tensor.requires_grad and torch.is_grad_enabled()


def _out_of_place(input: Tensor, slope: float) -> Tensor:
    order = _memory_order(input)
    if _needs_gradient(input):
        return _apply(input, functools.partial(_forward, slope, order, False), slope, order)
    output = _empty_like(input)
    _core.leaky_relu(_Array(input, order), slope, False, _Array(output, order))
    return output


def _in_place(input: Tensor, slope: float) -> Tensor:
    if input.is_inference() or (_needs_gradient(input) and (input.is_leaf or input._is_view())):
        # Where torch may refuse, it must do so before anything is written: its copy does.
        return input.copy_(_out_of_place(input, slope))
    if _needs_gradient(input):
        order = _memory_order(input)
        return _apply(input, functools.partial(_forward, slope, order, True), slope, order)
    _core.leaky_relu(_Array(input), slope, True, None)
    torch.autograd.graph.increment_version(input)
    return input


def _may_repeat_element(tensor: Tensor) -> bool:
    """False only if no two indices are the same element: each stride steps over all that the shorter ones reach."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return tensor.numel() > 0
        reach += (size - 1) * stride
    return False


class _Array:
    """The memory of a tensor, with its dims in an order, for the functions on arrays, which hand tensors to torch."""

    def __init__(self, tensor: Tensor, order: _Order | None = None) -> None:
        tensor = tensor.detach()
        self._tensor = tensor if order is None else tensor.permute(order)

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._tensor.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def _empty_like(tensor: Tensor) -> Tensor:
    """A fresh tensor with the strides that torch's own leaky_relu gives its result."""
    # torch.empty_like keeps odd strides of dims of one element.
    return torch.empty(tensor.shape, dtype=tensor.dtype) if tensor.is_contiguous() else torch.empty_like(tensor)


def _memory_order(tensor: Tensor) -> _Order:
    """In which a dense tensor's memory and its mask are one long run."""
    if tensor.is_contiguous():
        return _c_order(tensor)
    strides = torch.empty_like(tensor, device="meta").stride()  # those of the output
    return tuple(sorted(range(len(strides)), key=lambda dim: -strides[dim]))


def _forward(slope: float, order: _Order, inplace: bool, input: Tensor) -> tuple[Tensor, Tensor]:
    """The output and the mask."""
    output = input if inplace else _empty_like(input)
    x = _Array(input, order)
    mask = _core.leaky_relu_with_mask(x, slope, x if inplace else _Array(output, order))[1]
    return output, torch.from_numpy(mask) if mask.size else torch.empty(0, dtype=torch.uint8)


class LeakyReluMask(torch.autograd.Function):
    """Either direction: the backward is linear in the gradient, so its own backward is another.

    Args:
        work: gives the output, which may be the input, and the mask that is kept.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, work: _Work, slope: float, order: _Order) -> Tensor:
        output, mask = work(input)
        if output is input:
            ctx.mark_dirty(input)
        ctx.save_for_backward(mask)
        ctx.slope, ctx.order = slope, order
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (mask,) = ctx.saved_tensors
        if grad is None or not ctx.needs_input_grad[0]:
            return None, None, None, None
        return _backward(grad, mask, ctx.slope, ctx.order), None, None, None


_apply: Callable[[Tensor, _Work, float, _Order], Tensor] = LeakyReluMask.apply
LeakyReluMaskBackward: type = LeakyReluMask._backward_cls


def _backward(grad: Tensor, mask: Tensor, slope: float, order: _Order, like_grad: bool = False) -> Tensor:
    """The gradient by the input, laid out as the input was, or as `grad`."""

    def work(grad: Tensor) -> tuple[Tensor, Tensor]:
        if like_grad:
            result = _empty_like(grad)
        else:
            result = _undo(order, torch.empty([grad.shape[dim] for dim in order], dtype=grad.dtype))
        _core.leaky_relu_backward(_Array(grad, order), mask.numpy(), slope, _Array(result, order))
        return result, mask

    if type(grad) is Tensor and _can_take(grad) and type(mask) is Tensor and mask.is_cpu and mask.is_contiguous():
        return _apply(grad, work, slope, order) if _needs_gradient(grad) else work(grad)[0]
    result = torch.where(_unpacked(mask, grad, order), grad, grad * slope)
    return torch.empty_like(grad).copy_(result) if like_grad else result


def _unpacked(mask: Tensor, grad: Tensor, order: _Order) -> Tensor:
    """The mask's bits as a tensor of bool of the gradient's shape."""
    bits = (mask.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8, device=mask.device)) & 1
    bits = bits.reshape(-1)[: grad.numel()].to(torch.bool)
    return _undo(order, bits.reshape([grad.shape[dim] for dim in order]))


def _undo(order: _Order, tensor: Tensor) -> Tensor:
    """Undoes `permute(order)`."""
    return tensor.permute([order.index(dim) for dim in range(len(order))])


def _c_order(tensor: Tensor) -> _Order:
    return tuple(range(tensor.dim()))


# ---- The fused operation


class FusedLeakyReLU(torch.autograd.Function):
    """In four steps, of which the bits are kept."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, bias: Tensor | None, slope: float, scale: float, clamp: float | None, dim: int
    ) -> Tensor:
        t = biased(input, bias, dim)
        order = _memory_order(t)
        v, mask = _forward(slope, order, False, t)
        v = v * scale
        within = None if clamp is None else _packed(((v >= -clamp) & (v <= clamp)).permute(order))
        ctx.save_for_backward(mask, within)
        ctx.slope, ctx.scale, ctx.order, ctx.dim = slope, scale, order, None if bias is None else dim
        ctx.set_materialize_grads(False)
        return (v if clamp is None else v.clamp(-clamp, clamp)).to(input.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        mask, within = ctx.saved_tensors
        if grad is None:
            return None, None, None, None, None, None
        h = widened(grad)
        if within is not None:
            h = torch.where(_unpacked(within, grad, ctx.order), h, torch.zeros((), dtype=h.dtype))
        dx = _backward(h * ctx.scale, mask, ctx.slope, ctx.order).to(grad.dtype)
        db = None if ctx.dim is None or not ctx.needs_input_grad[1] else sum_of_bias(dx, ctx.dim)
        return dx if ctx.needs_input_grad[0] else None, db, None, None, None, None


_apply_fused: Callable[..., Tensor] = FusedLeakyReLU.apply
FusedLeakyReluBackward: type = FusedLeakyReLU._backward_cls


def _packed(bits: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(bits.reshape(-1).numpy(), bitorder="little"))


def _fused_leaky_relu(
    input: Tensor,
    bias: Tensor | None = None,
    negative_slope: float = 0.2,
    scale: float = 2**0.5,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    bias, dim = checked(input, bias, clamp, dim)
    # An infinite clamp changes no value, but the gradient at NaN, which it stops; the core takes it for none.
    can_take = all(type(t) in (Tensor, torch.nn.Parameter) and _can_take(t) for t in (input, bias) if t is not None)
    if can_take and clamp != float("inf"):
        try:
            return _apply_fused(input, bias, negative_slope, scale, clamp, dim)
        except ValueError:  # by the core: a slope beyond float32, for which torch finds the words
            pass
    return composed(input, bias, negative_slope, scale, clamp, dim)


# ---- The operators


def _leaky_relu(self: Tensor, negative_slope: float = 0.01) -> Tensor:
    return leaky_relu(self, negative_slope)


def _leaky_relu_(self: Tensor, negative_slope: float = 0.01) -> Tensor:
    return leaky_relu(self, negative_slope, True)


@contextlib.contextmanager
def _as_torch() -> Iterator[None]:
    """What the core refuses is RuntimeError on this side."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(str(error)) from None


@_as_torch()
def _leaky_relu_with_mask(self: Tensor, negative_slope: float = 0.01) -> tuple[Tensor, Tensor]:
    if type(self) is Tensor and _is_number(negative_slope) and _can_take(self):
        masks = []

        def work(input: Tensor) -> tuple[Tensor, Tensor]:
            output, mask = _forward(negative_slope, _c_order(input), False, input)
            masks.append(mask)
            return output, mask

        output = _apply(self, work, negative_slope, _c_order(self)) if _needs_gradient(self) else work(self)[0]
        return output, masks[0]
    positive = F.pad((self > 0).reshape(-1).to(torch.uint8), (0, -self.numel() % 8)).reshape(-1, 8)
    weights = 1 << torch.arange(8, dtype=torch.uint8, device=self.device)
    return torch.ops.aten.leaky_relu(self, negative_slope), (positive * weights).sum(1, dtype=torch.uint8)


@_as_torch()
def _leaky_relu_backward(grad: Tensor, mask: Tensor, negative_slope: float = 0.01) -> Tensor:
    if mask.dtype != torch.uint8 or mask.dim() != 1:
        raise RuntimeError(
            "mask must be a uint8 tensor of one dimension, as leaky_relu_with_mask returns it, not of "
            f"{mask.dtype} and {mask.dim()} dimensions"
        )
    if mask.device != grad.device:
        raise RuntimeError(f"mask is on {mask.device}, grad on {grad.device}; they must be on the same device")
    if mask.numel() != (needed := (grad.numel() + 7) // 8):
        raise RuntimeError(f"mask has {mask.numel()} bytes; {grad.numel()} elements need {needed}")
    return _backward(grad, mask, float(negative_slope), _c_order(grad), like_grad=True)


_library: Any = torch.library.Library("leakyrelu", "DEF")  # type: ignore[no-untyped-call]
_pointwise = (torch.Tag.pointwise,)
for _schema, _function, _tags in (
    ("leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor", _leaky_relu, _pointwise),
    ("leaky_relu_(Tensor(a!) self, Scalar negative_slope=0.01) -> Tensor(a!)", _leaky_relu_, _pointwise),
    ("leaky_relu_with_mask(Tensor self, Scalar negative_slope=0.01) -> (Tensor, Tensor)", _leaky_relu_with_mask, ()),
    ("leaky_relu_backward(Tensor grad, Tensor mask, Scalar negative_slope=0.01) -> Tensor", _leaky_relu_backward, ()),
    (
        "fused_leaky_relu(Tensor input, Tensor? bias=None, float negative_slope=0.2, float scale=1.4142135623730951, "
        "float? clamp=None, int dim=1) -> Tensor",
        _fused_leaky_relu,
        (),
    ),
):
    _library.define(_schema, tags=(torch.Tag.pt2_compliant_tag, *_tags))
    _library.impl(_schema.split("(")[0], _function, "CompositeImplicitAutograd")
