"""Proves that processes forked for a DataLoader can call it, threads or not in the parent."""

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
