"""Real models with random weights, native against ours: equal bit for bit, and what they keep."""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import real_models
import torch
from soaking import in_own_process, resident
from torch import Tensor, nn

import leakyrelu.torch
from leakyrelu._saved_bytes import recorded
from leakyrelu.torch import convert, patched, saved_bytes

MIB = 2**20


class Case(NamedTuple):
    """A model, its input, and the most that may be kept for backward, as a part of native's."""

    model: nn.Module
    input: Tensor
    limit: float


def hifigan(frames: int = 48, **config: Any) -> Case:
    return Case(*real_models.hifigan(frames, **config), 0.57)


def patch_discriminator(size: int = 192) -> Case:
    return Case(*real_models.patch_discriminator(size), 0.65)


# A quarter of the default's channels.
SMALL_HIFIGAN = {"upsample_initial_channel": 128}

Way = Callable[[nn.Module, Tensor], tuple[nn.Module, Any]]


def native(model: nn.Module, x: Tensor) -> tuple[nn.Module, Any]:
    return model, model(x)


def by_patched(model: nn.Module, x: Tensor) -> tuple[nn.Module, Any]:
    with patched():
        return model, model(x)


def by_convert(model: nn.Module, x: Tensor) -> tuple[nn.Module, Any]:
    return model, convert(model)(x)


class Step(NamedTuple):
    """What a training step leaves behind."""

    outputs: list[Tensor]
    gradients: list[Tensor]
    kept: int  # bytes that autograd's saved tensors hold between forward and backward


def step(case: Case, way: Way) -> Step:
    """Runs a copy of the model, so that buffers start out the same, forward and backward."""
    model, x = copy.deepcopy(case.model), case.input.clone().requires_grad_()
    outside = [x, *model.parameters(), *model.buffers()]
    with recorded() as saved:
        model, result = way(model, x)
    kept = saved.bytes(outside)

    outputs = [result] if isinstance(result, Tensor) else list(result)
    torch.autograd.backward(outputs, [weights(output) for output in outputs])
    gradients = [parameter.grad for parameter in (x, *model.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return Step(outputs, [g for g in gradients if g is not None], kept)


def weights(output: Tensor) -> Tensor:
    """A gradient with no two elements alike."""
    return torch.linspace(-1, 1, output.numel()).view_as(output)


def assert_same_bits(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> None:
    for ours_i, theirs_i in zip(ours, theirs, strict=True):
        assert torch.equal(ours_i.detach().view(torch.int32), theirs_i.detach().view(torch.int32))


@pytest.mark.parametrize(
    ("case", "way"),
    [
        pytest.param(partial(hifigan, **SMALL_HIFIGAN), by_patched, id="HifiGan-patched"),
        pytest.param(patch_discriminator, by_patched, id="PatchDiscriminator-patched"),
        pytest.param(patch_discriminator, by_convert, id="PatchDiscriminator-convert"),
        pytest.param(partial(hifigan, 200), by_patched, id="HifiGan-default", marks=pytest.mark.slow),
        pytest.param(
            partial(patch_discriminator, 512),
            by_convert,
            id="PatchDiscriminator-512",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_same_bits_from_less_memory(case: Callable[[], Case], way: Way) -> None:
    made = case()
    theirs, ours = step(made, native), step(made, way)
    assert_same_bits(ours.outputs, theirs.outputs)
    assert_same_bits(ours.gradients, theirs.gradients)
    saved = saved_bytes(made.model, made.input.clone().requires_grad_())
    print(f"\n{saved}")  # the table of docs/pytorch.md
    assert (saved.torch, saved.ours) == (theirs.kept, ours.kept)
    assert saved.ratio <= made.limit


def growth_in_forward(case: Callable[[], Case]) -> tuple[int, int]:
    """Bytes by which this process grows in a forward, natively and ours.

    For a process of its own, in which ours finds nothing to reuse.
    """
    model, x, _ = case()
    # Once for what stays whatever happens: compiled convolutions, threads' stacks.
    with torch.no_grad():
        model(x)
    start = resident()
    outputs = model(x)
    theirs = resident() - start
    del outputs
    again = resident()
    assert again - start < 0.02 * theirs, "native's memory is still there"
    with patched():
        outputs = model(x)
    ours = resident() - again
    del outputs
    return theirs, ours


@pytest.mark.slow  # the compiler takes minutes
@pytest.mark.parametrize("case", [partial(patch_discriminator, 256), partial(hifigan, 100)], ids=["Patch", "HifiGan"])
def test_compiled_keeps_less(case: Callable[[], Case]) -> None:
    made = case()
    saved = saved_bytes(torch.compile(made.model), made.input.clone().requires_grad_())
    print(f"\n{type(made.model).__name__}, compiled:\n{saved}")  # docs/pytorch.md's second table
    assert saved.ours < saved.torch


@pytest.mark.parametrize(
    "case",
    [partial(hifigan, **SMALL_HIFIGAN), patch_discriminator],
    ids=["HifiGan", "PatchDiscriminator"],
)
def test_the_process_holds_less(case: Callable[[], Case]) -> None:
    theirs, ours = in_own_process(growth_in_forward, case)
    print(f"held: {theirs / MIB:.1f} MiB natively, {ours / MIB:.1f} MiB ours, {ours / theirs:.3f}")
    assert ours <= case().limit * theirs


def mask_bytes(model: nn.Module, x: Tensor) -> int:
    """What the masks of one forward come to."""
    sizes: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.LeakyReLU):
            module.register_forward_hook(lambda _m, _i, y: sizes.append(-(-y.numel() // 8)))
    model(x)
    return sum(sizes)


@pytest.mark.parametrize("way", [by_patched, by_convert])
def test_in_place_before_a_layer_that_keeps_its_input(way: Way) -> None:
    """Natively the input's memory is the result's, which the convolution behind keeps anyway."""
    model, x = real_models.dyn_unet(96)
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.LeakyReLU))
    case = Case(model, x, 1.0)
    theirs, ours = step(case, native), step(case, way)
    assert_same_bits(ours.outputs, theirs.outputs)
    assert_same_bits(ours.gradients, theirs.gradients)
    saved = saved_bytes(model, case.input.clone().requires_grad_())
    print(f"\n{saved}")  # the table of docs/pytorch.md
    assert (saved.torch, saved.ours) == (theirs.kept, ours.kept)
    assert ours.kept == theirs.kept + mask_bytes(copy.deepcopy(model), case.input)


def discriminator() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.InstanceNorm2d(32, affine=True),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 4),
        nn.Flatten(),
        nn.Linear(25, 1),
    )


def wgan_gp_loss(model: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Gulrajani et al., 2017."""
    mix = torch.linspace(0, 1, len(real)).view(-1, 1, 1, 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(model(between).sum(), between, create_graph=True)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    return model(fake).mean() - model(real).mean() + 10 * penalty


def r1_loss(model: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mescheder et al., 2018."""
    real = real.clone().requires_grad_()
    scores = model(real)
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    penalty = gradient.square().sum(dim=(1, 2, 3)).mean()
    softplus = nn.functional.softplus
    return softplus(-scores).mean() + softplus(model(fake)).mean() + 5 * penalty


def train(model: nn.Module, loss_of: Callable[..., Tensor]) -> Iterator[Tensor]:
    """Yields the loss and all gradients of each of three steps, and at last the weights."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for _ in range(3):
        real, fake = torch.randn(2, 8, 3, 32, 32, generator=generator)
        optimizer.zero_grad()
        loss = loss_of(model, real, fake)
        torch.autograd.backward(loss)
        optimizer.step()
        yield loss
        yield from (p.grad.clone() for p in model.parameters() if p.grad is not None)
    yield from model.parameters()


@pytest.mark.parametrize("loss_of", [wgan_gp_loss, r1_loss])
def test_gradient_penalty(loss_of: Callable[..., Tensor]) -> None:
    ours = convert(discriminator())
    assert sum(isinstance(m, leakyrelu.torch.LeakyReLU) for m in ours.modules()) == 2
    assert_same_bits(train(ours, loss_of), train(discriminator(), loss_of))
    with patched():
        by_patch = list(train(discriminator(), loss_of))
    assert_same_bits(by_patch, train(discriminator(), loss_of))
