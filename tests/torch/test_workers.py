"""Proves that forked processes, such as a DataLoader's, can call it, threads or not in the parent."""

import multiprocessing

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leakyrelu.torch import leaky_relu

SIZE = 300000  # enough for several threads


class Activated(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        x = values(index).requires_grad_()
        y = leaky_relu(x)
        y.sum().backward()
        return torch.stack([y.detach(), x.grad])


def values(index: int) -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(index))


def test_forked_workers() -> None:
    leaky_relu(values(9))  # the parent's threads exist before the fork
    loader = DataLoader(Activated(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    results = list(loader)
    assert len(results) == 4
    for index, (y, dx) in enumerate(results):
        x = values(index).requires_grad_()
        expected = F.leaky_relu(x)
        expected.sum().backward()
        assert_same(y, expected)
        assert_same(dx, x.grad)


def test_parent_works_on_after_the_fork() -> None:
    for _ in DataLoader(Activated(), batch_size=None, num_workers=1, timeout=60):
        pass
    x = values(0)
    assert_same(leaky_relu(x), F.leaky_relu(x))


def in_the_child(x: Tensor, dy: Tensor) -> None:
    for _ in range(3):
        y = leaky_relu(x, 0.5)
        (dx,) = torch.autograd.grad(y, x, dy)
        values, positive = x.detach().numpy(), x.detach().numpy() > 0
        assert (y.detach().numpy() == np.where(positive, values, values / 2)).all()
        assert (dx.numpy() == np.where(positive, dy.numpy(), dy.numpy() / 2)).all()


@pytest.mark.parametrize("before", [F.leaky_relu, leaky_relu], ids=["torch", "ours"])
def test_a_child_of_a_process_whose_threads_torch_has_started(before) -> None:
    """torch's own operations wait there for ever (hence NumPy's); these do not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    x, dy = values(0).requires_grad_(), values(1)
    before(x)
    child = multiprocessing.get_context("fork").Process(target=in_the_child, args=(x, dy))
    child.start()
    child.join(30)
    torch.set_num_threads(threads)
    hangs = child.is_alive()
    child.kill()
    child.join(30)
    assert not hangs
    assert child.exitcode == 0
