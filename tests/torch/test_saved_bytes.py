"""Proves that saved_bytes counts what autograd keeps, and leaves model, inputs and random numbers as they are."""

import copy
import random
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leakyrelu.torch import LeakyReLU, SavedBytes, convert, leaky_relu, patched, saved_bytes

SIZE = 1000
MASK = SIZE // 8


class Function(nn.Module):
    """A forward without parameters."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def kept(function: Callable, *inputs: Tensor) -> tuple[int, int]:
    saved = saved_bytes(Function(function), *inputs)
    return saved.torch, saved.ours


def x() -> Tensor:
    return torch.randn(SIZE, requires_grad=True)


# ---- The count


def test_one_leaky_relu() -> None:
    assert kept(lambda x: F.leaky_relu(x + 1), x()) == (4 * SIZE, MASK)
    assert kept(lambda x: nn.LeakyReLU()(x + 1), x()) == (4 * SIZE, MASK)
    assert kept(lambda x: F.leaky_relu(x + 1), x().double()) == (8 * SIZE, MASK)


def test_ours_is_compared_with_torchs_too() -> None:
    assert kept(lambda x: leaky_relu(x + 1), x()) == (4 * SIZE, MASK)
    assert kept(lambda x: LeakyReLU()(x + 1), x()) == (4 * SIZE, MASK)
    with patched():
        assert kept(lambda x: F.leaky_relu(x + 1), x()) == (4 * SIZE, MASK)
        assert F.leaky_relu is leaky_relu


def test_a_name_in_another_module_counts_where_it_is_patched() -> None:
    module = ModuleType("importer")
    module.leaky_relu = F.leaky_relu
    call = lambda x: module.leaky_relu(x + 1)  # noqa: E731
    assert kept(call, x()) == (4 * SIZE, 4 * SIZE)
    with patched(also=[module]):
        assert kept(call, x()) == (4 * SIZE, MASK)


def test_inputs_do_not_count_nor_do_parameters_or_buffers() -> None:
    assert kept(lambda x: F.leaky_relu(x), x()) == (0, MASK)
    linear = nn.Linear(4, 4)
    linear.register_buffer("scale", torch.rand(4))
    linear.forward = lambda x: F.linear(x, linear.weight) * linear.scale
    saved = saved_bytes(linear, torch.randn(5, 4))
    assert (saved.torch, saved.ours) == (0, 0)
    assert saved.ratio == 1


def test_a_block_of_memory_counts_once() -> None:
    def function(x: Tensor) -> Tensor:
        h = x + 1
        return (h * h).sum() + h.sin().sum() + h[10:].cos().sum() + h.view(10, 100).exp().detach().sum()

    assert kept(function, x()) == (4 * SIZE, 4 * SIZE)


def test_what_the_forward_drops_does_not_count() -> None:
    def function(x: Tensor) -> Tensor:
        (x + 1).sin()  # its graph is gone with it
        return x * 2

    assert kept(function, x()) == (0, 0)


def test_no_gradient_of_the_caller_is_one_here() -> None:
    with torch.no_grad():
        assert kept(lambda x: F.leaky_relu(x + 1), x()) == (4 * SIZE, MASK)


def test_no_gradient_at_all() -> None:
    assert kept(lambda x: F.leaky_relu(x + 1), x().detach()) == (0, 0)


def test_checkpointing_computes_again() -> None:
    assert kept(lambda x: checkpoint(lambda x: F.leaky_relu(x + 1), x, use_reentrant=False), x()) == (0, 0)


def test_keywords_and_nested_inputs() -> None:
    class Model(nn.Module):
        def forward(self, inputs: dict[str, list[Tensor]], *, flag: bool) -> Tensor:
            assert flag
            return F.leaky_relu(inputs["x"][0] + 1)

    saved = saved_bytes(Model(), {"x": [x()]}, flag=True)
    assert (saved.torch, saved.ours) == (4 * SIZE, MASK)
    assert saved.model == "Model, 1000"


def test_under_a_default_device() -> None:
    with torch.device("cpu"):
        assert kept(lambda x: F.leaky_relu(x + 1), x()) == (4 * SIZE, MASK)


# ---- What stays as it was


class Everything(nn.Module):
    """Buffers, dropout, other random numbers, in place over the input, old weight norm (which cannot be copied)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LeakyReLU(0.2, inplace=True)
        self.conv = nn.utils.weight_norm(nn.Conv1d(3, 8, 3))
        self.norm = nn.BatchNorm1d(8)
        self.spectral = nn.utils.spectral_norm(nn.Conv1d(8, 8, 3))
        self.second = nn.LeakyReLU(0.2)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(self.first(x)))
        return self.dropout(self.second(self.spectral(x))) * random.random() * np.random.rand()


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_the_model_stays_as_it_was() -> None:
    model = Everything()
    names = [name for name, _ in model.named_modules()]
    objects = [id(t) for t in (*model.parameters(), *model.buffers())]
    state = copy.deepcopy(model.state_dict())
    versions = [t._version for t in (*model.parameters(), *model.buffers())]
    classes = [type(module) for module in model.modules()]
    data = torch.randn(2, 3, 50)
    before = data.clone()
    random_states = torch.get_rng_state(), random.getstate(), np.random.get_state()

    saved = saved_bytes(model, data)
    assert saved.ours < saved.torch
    assert saved == saved_bytes(model, data)

    assert torch.equal(data, before)
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert random.getstate() == random_states[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), random_states[2], strict=True))
    assert [name for name, _ in model.named_modules()] == names
    assert [id(t) for t in (*model.parameters(), *model.buffers())] == objects
    assert [t._version for t in (*model.parameters(), *model.buffers())] == versions
    assert [type(module) for module in model.modules()] == classes
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_input_keeps_its_gradient_and_graph() -> None:
    leaf = x()
    leaf.grad = torch.ones(SIZE)
    inner = leaf * 2
    kept(lambda x: F.leaky_relu(x + 1), inner)
    assert torch.equal(leaf.grad, torch.ones(SIZE))
    inner.sum().backward()


def test_an_error_in_the_model_leaves_no_trace() -> None:
    def function(x: Tensor) -> Tensor:
        torch.rand(1)
        random.random()
        raise KeyError("mine")

    data = x()
    state, of_python = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyError, match="mine"):
        kept(function, data)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == of_python
    y = F.leaky_relu(x())
    assert y.grad_fn.name() == "LeakyReluBackward0"


# ---- The table


def test_table() -> None:
    saved = SavedBytes("DynUNet, 2 x 1 x 96 x 96", 3 << 20, 12345)
    assert str(saved) == (
        "| model | torch | ours | |\n|---|---|---|---|\n| DynUNet, 2 x 1 x 96 x 96 | 3.0 MiB | 12.1 KiB | 0.00 |"
    )
    assert saved.row() == str(saved).splitlines()[2]
    assert SavedBytes("m", 800, 400).row() == "| m | 800 B | 400 B | 0.50 |"


def test_the_table_of_a_model() -> None:
    model = convert(nn.Sequential(nn.Conv2d(1, 64, 3), nn.LeakyReLU(), nn.Conv2d(64, 64, 3)))
    row = saved_bytes(model, torch.randn(2, 1, 66, 66)).row()
    assert row == "| Sequential, 2 x 1 x 66 x 66 | 4.0 MiB | 2.1 MiB | 0.52 |"
