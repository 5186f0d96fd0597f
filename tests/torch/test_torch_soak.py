"""A million calls on small tensors, a thousand on large ones, and hundreds of training steps leave nothing behind."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from soaking import LARGE, SMALL, assert_nothing_left, growth, in_own_process
from torch import Tensor, nn

from leakyrelu.torch import LeakyReLU, convert, fused_leaky_relu, leaky_relu, leaky_relu_

pytestmark = pytest.mark.slow

WAYS = ("function", "module", "inplace", "backward", "second_backward", "fused", "fused_backward")
STEPS = 500


def call_of(way: str, elements: int) -> Callable[[], Tensor]:
    x = torch.linspace(-1, 1, elements).reshape(1, 2, -1)
    leaf, bias, module = x.clone().requires_grad_(), torch.tensor([0.5, -0.5], requires_grad=True), LeakyReLU(0.5)

    def backward(y: Tensor, twice: bool = False) -> Tensor:
        (gradient,) = torch.autograd.grad(y, leaf, leaf if twice else x, create_graph=twice)
        return torch.autograd.grad(gradient, leaf, x)[0] if twice else gradient

    calls: dict[str, Callable[[], Tensor]] = {
        "function": lambda: leaky_relu(x, 0.5),
        "module": lambda: module(x),
        "inplace": lambda: leaky_relu_(x, 1.0),
        "backward": lambda: backward(leaky_relu(leaf, 0.5)),
        "second_backward": lambda: backward(leaky_relu(leaf, 0.5), twice=True),
        "fused": lambda: fused_leaky_relu(x, bias.detach()),
        "fused_backward": lambda: backward(fused_leaky_relu(leaf, bias, clamp=1.0)),
    }
    return calls[way]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("way", WAYS)
def test_calls_leave_nothing_behind(way: str, size: tuple[int, int]) -> None:
    assert_nothing_left(call_of, way, size)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """As many others that compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


class Training:
    """A convolutional network whose activations are as large as the library's kept memory begins to be."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1)]
        for _ in range(3):
            layers += [nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, padding=1)]
        self.model: nn.Module = nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.losses: list[float] = []

    def step(self, x: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.model(x).square().mean()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())


def train() -> tuple[bool, int]:
    """Whether the losses are torch's, bit for bit, and bytes by which the process has grown in STEPS steps."""
    theirs, ours = Training(), Training()
    convert(ours.model)
    x = torch.randn(2, 3, 192, 192)
    for side in (theirs, ours):
        side.step(x)
    # From here on the system refuses what goes much beyond a step.
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + (96 << 20),) * 2)

    def steps() -> None:
        for side in (theirs, ours):
            side.step(x)

    found = growth(steps, STEPS)
    return theirs.losses == ours.losses, found


def test_training_on_a_busy_machine_short_of_memory() -> None:
    with busy(2):
        is_same, found = in_own_process(train)
    assert is_same
    assert found < 32 << 20  # what torch's convolutions keep differs from step to step
