"""Tensors given to the functions on arrays go to leakyrelu.torch: no gradient is lost, every rule is torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same

import leakyrelu


def test_forward_is_differentiable() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = leakyrelu.leaky_relu(x, 0.1)
    assert_same(y, F.leaky_relu(x, 0.1))
    y.sum().backward()
    assert_same(x.grad, torch.tensor([0.1, 0.1, 1.0]))
    assert_same(leakyrelu.LeakyReLU(0.1)(x), y)


def test_in_place_and_out() -> None:
    x = torch.tensor([-2.0, 3.0])
    out = torch.empty(2)
    assert leakyrelu.leaky_relu(x, 0.5, out=out) is out
    assert_same(out, torch.tensor([-1.0, 3.0]))
    assert leakyrelu.leaky_relu(x, 0.5, inplace=True) is x
    assert_same(x, out)


def test_mask_and_backward() -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).t()
    y, mask = leakyrelu.leaky_relu_with_mask(x, -0.2)
    assert_same(y, F.leaky_relu(x, -0.2))
    np.testing.assert_array_equal(mask.numpy(), np.packbits(x.numpy().ravel() > 0, bitorder="little"))
    grad = leakyrelu.leaky_relu_backward(torch.ones(5, 3), mask, -0.2)
    positive = (x > 0).contiguous()
    assert_same(grad, torch.where(positive, 1.0, -0.2))
    assert leakyrelu.leaky_relu_backward(grad, mask, -0.2, out=grad) is grad
    assert_same(grad, torch.where(positive, 1.0, torch.tensor(-0.2) * -0.2))


def test_errors_are_torchs() -> None:
    with pytest.raises(NotImplementedError):
        leakyrelu.leaky_relu(torch.arange(3))
