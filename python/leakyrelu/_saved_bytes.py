"""What autograd keeps of a forward for the backward: recorded, and compared between torch's LeakyReLU and ours."""

import contextlib
import random
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only


@dataclass(frozen=True)
class SavedBytes:
    """Bytes that one forward keeps for the backward; str() makes a table (Markdown) of it."""

    model: str
    torch: int
    ours: int

    @property
    def ratio(self) -> float:
        """ours / torch, or 1 where nothing is kept."""
        return self.ours / self.torch if self.torch else 1.0

    def row(self) -> str:
        """The table's row alone."""
        return f"| {self.model} | {_readable(self.torch)} | {_readable(self.ours)} | {self.ratio:.2f} |"

    def __str__(self) -> str:
        return f"| model | torch | ours | |\n|---|---|---|---|\n{self.row()}"


def _readable(count: int) -> str:
    if count < 1 << 10:
        return f"{count} B"
    return f"{count / 2**10:.1f} KiB" if count < 1 << 20 else f"{count / 2**20:.1f} MiB"


class Saved:
    """The tensors that autograd holds for the backward, of what has run since."""

    def __init__(self) -> None:
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()

    def hold(self, tensor: Tensor) -> "_Held":
        held = _Held(tensor.detach())  # the tensor itself may hold the graph, which then would hold itself
        self._held.add(held)
        return held

    def bytes(self, outside: Iterable[Tensor] = ()) -> int:
        """Bytes of the blocks of memory under those still held, each counted once, those of `outside` not at all."""
        sizes = {key: size for held in self._held for key, size in _blocks([held.tensor]).items()}
        return sum(sizes[key] for key in sizes.keys() - _blocks(outside).keys())


class _Held:
    """A saved tensor as the graph has it: gone when the graph lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _blocks(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of each tensor's block of memory by its identity."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage._cdata: storage.nbytes() for storage in storages}


@contextlib.contextmanager
def recorded() -> Iterator[Saved]:
    """Records what is saved in the with block."""
    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(saved.hold, lambda held: held.tensor):
        yield saved


class _TorchsOwn(TorchFunctionMode):
    """With any mode at work, calls of ours go to torch's; that goes by its name to the mode, where ours may stand."""

    def __init__(self, originals: Mapping[Any, Any]) -> None:
        super().__init__()
        self._originals = originals

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._originals.get(function, function)(*args, **(kwargs or {}))


def compared(
    model: nn.Module,
    inputs: tuple[Any, ...],
    keywords: dict[str, Any],
    ours: contextlib.AbstractContextManager[None],
    originals: Mapping[Any, Any],
) -> SavedBytes:
    """`leakyrelu.torch.saved_bytes`.

    Args:
        ours: the context of our side.
        originals: torch's function for each of ours.
    """
    shapes = [" x ".join(map(str, leaf.shape)) for leaf in tree_leaves((inputs, keywords)) if isinstance(leaf, Tensor)]
    with _TorchsOwn(originals):
        by_torch = _kept(model, inputs, keywords)
    with ours:
        by_ours = _kept(model, inputs, keywords)
    return SavedBytes(", ".join([type(model).__name__, *shapes]), by_torch, by_ours)


def _kept(model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    inputs, keywords = tree_map_only(Tensor, _copied, (inputs, keywords))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    outside = [leaf for leaf in tree_leaves((inputs, keywords)) if isinstance(leaf, Tensor)]
    outside += [*model.parameters(), *buffers.values()]
    with _same_random_numbers(outside), torch.enable_grad(), recorded() as saved:
        result = torch.func.functional_call(model, buffers, inputs, keywords)
        kept = saved.bytes(outside)
    del result  # which holds the graph
    return kept


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@contextlib.contextmanager
def _same_random_numbers(tensors: list[Tensor]) -> Iterator[None]:
    """Leaves all generators of random numbers in the state that they have."""
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
