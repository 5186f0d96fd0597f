"""Proves that tensors on a CUDA device get what torch gives on the CPU, bit for bit, and get it the CUDA way."""

import copy
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from cuda_card import current_device, fake_card, launches_under_gil, memory_device, real_card
from tensor_cases import DTYPES, SLOPES, assert_same, filled, packed, specials
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks

if not torch.cuda.is_available():
    pytest.skip("torch sees no CUDA device", allow_module_level=True)

import leakyrelu
from leakyrelu.torch import LeakyReLU, _torch, convert, leaky_relu, leaky_relu_, patched

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
by_slope = pytest.mark.parametrize("slope", SLOPES, ids=str)
by_inplace = pytest.mark.parametrize("inplace", [False, True], ids=["", "inplace"])
by_device = pytest.mark.parametrize("device", [f"cuda:{i}" for i in range(torch.cuda.device_count())])


def test_the_library_was_built_with_cuda() -> None:
    assert _torch.HAS_CUDA, "built without a CUDA compiler; the tests below would prove torch's operator"


# ---- Values and gradients


def value_and_gradient(x: Tensor, slope: float, dy: Tensor, inplace: bool = False) -> tuple[Tensor, Tensor]:
    leaf = x.requires_grad_()
    y = leaky_relu(leaf.clone(), slope, inplace)
    y.backward(dy)
    assert leaf.grad is not None
    assert y.device == leaf.grad.device == x.device
    return y.cpu(), leaf.grad.cpu()


def expected(x: Tensor, slope: float, dy: Tensor) -> tuple[Tensor, Tensor]:
    """On the CPU by torch, out of place, since in place it refuses the gradient of negative slopes."""
    leaf = x.clone().requires_grad_()
    y = F.leaky_relu(leaf, slope)
    y.backward(dy)
    assert leaf.grad is not None
    return y, leaf.grad


@by_inplace
@by_slope
@by_dtype
@pytest.mark.parametrize("size", [0, 1, 7, 1000, 20003])
def test_sizes(size: int, dtype: torch.dtype, slope: float, inplace: bool) -> None:
    x, dy = filled(dtype, size, seed=1), filled(dtype, size, seed=2)
    y, dx = value_and_gradient(x.cuda(), slope, dy.cuda(), inplace)
    expected_y, expected_dx = expected(x, slope, dy)
    assert_same(y, expected_y)
    assert_same(dx, expected_dx)


@by_slope
@by_dtype
def test_every_pair_of_special_values(dtype: torch.dtype, slope: float) -> None:
    values = specials(dtype)
    x, dy = (grid.contiguous() for grid in torch.meshgrid(values, values, indexing="ij"))
    y, dx = value_and_gradient(x.cuda(), slope, dy.cuda())
    expected_y, expected_dx = expected(x, slope, dy)
    assert_same(y, expected_y)
    assert_same(dx, expected_dx)


@by_dtype
def test_without_a_gradient(dtype: torch.dtype) -> None:
    x = filled(dtype, 3, 5, 7)
    assert_same(leaky_relu(x.cuda(), 0.1).cpu(), F.leaky_relu(x, 0.1))
    on_device = x.cuda()
    assert leaky_relu_(on_device, -0.1) is on_device
    assert_same(on_device.cpu(), F.leaky_relu(x, -0.1))
    with torch.inference_mode():
        assert_same(leaky_relu(x.cuda(), 0.1).cpu(), F.leaky_relu(x, 0.1))
    with torch.autocast("cuda"):
        assert leaky_relu(x.cuda()).dtype == dtype


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "sliced": lambda t: t[1:, ::2, :, 1:4],
    "offset": lambda t: t.flatten()[1:],
    "transposed": lambda t: t.transpose(0, 3),
    "permuted and sliced": lambda t: t.permute(3, 1, 0, 2)[:, 1:],
    "expanded": lambda t: t[:, :1].expand(-1, 4, -1, -1),
    "one element": lambda t: t[1, 1, 1, 1],
    "none": lambda t: t[:, 2:2],
    "channels_last": lambda t: t.permute(0, 3, 1, 2),
}
by_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


@by_view
@by_dtype
def test_strided(dtype: torch.dtype, view: Callable[[Tensor], Tensor]) -> None:
    base = filled(dtype, 4, 5, 6, 7)
    x = view(base)
    dy = filled(dtype, *x.shape, seed=1)
    leaf = view(base.cuda()).detach().requires_grad_()
    y = leaky_relu(leaf, -0.2)
    expected_y, expected_dx = expected_strided(x, -0.2, dy)
    assert_same(y.cpu(), expected_y)
    (dx,) = torch.autograd.grad(y, leaf, dy.cuda())
    assert_same(dx.cpu(), expected_dx)


def expected_strided(x: Tensor, slope: float, dy: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    y = F.leaky_relu(leaf, slope)
    return y, torch.autograd.grad(y, leaf, dy)[0]


@pytest.mark.parametrize("view", [VIEWS[name] for name in VIEWS if name != "expanded"], ids=str)
@by_dtype
def test_strided_in_place(dtype: torch.dtype, view: Callable[[Tensor], Tensor]) -> None:
    """And what lies between the view's elements stays."""
    base = filled(dtype, 4, 5, 6, 7)
    on_device = base.cuda()
    leaky_relu_(view(on_device), 0.3)
    leaky_relu_(view(base), 0.3)
    assert_same(on_device.cpu(), base)


@by_view
def test_gradients_of_other_strides(view: Callable[[Tensor], Tensor]) -> None:
    base = filled(torch.float32, 4, 5, 6, 7)
    dy = view(base)
    x = filled(torch.float32, *dy.shape, seed=1)
    leaf = x.cuda().requires_grad_()
    (dx,) = torch.autograd.grad(leaky_relu(leaf, 0.2), leaf, view(base.cuda()))
    assert_same(dx.cpu(), expected_strided(x, 0.2, dy)[1])


@by_dtype
def test_any_order_of_derivatives(dtype: torch.dtype) -> None:
    """The backward is linear in the gradient, so its derivative by that is the same function."""
    x, dy, ddx = (filled(dtype, 33, seed=seed) for seed in range(3))
    leaf, gradient, second = x.cuda().requires_grad_(), dy.cuda().requires_grad_(), ddx.cuda().requires_grad_()
    (dx,) = torch.autograd.grad(leaky_relu(leaf, -0.3), leaf, gradient, create_graph=True)
    (back,) = torch.autograd.grad(dx, gradient, second, create_graph=True)
    (again,) = torch.autograd.grad(back, second, gradient)
    assert_same(dx.cpu().detach(), expected(x, -0.3, dy)[1])
    assert_same(back.cpu().detach(), expected(x, -0.3, ddx)[1])
    assert_same(again.cpu(), expected(x, -0.3, dy)[1])


@real_card
@by_dtype
def test_torch_gives_the_same_on_the_device(dtype: torch.dtype) -> None:
    x, dy = filled(dtype, 64, 1001).cuda(), filled(dtype, 64, 1001, seed=1).cuda()
    leaf = x.clone().requires_grad_()
    reference = x.clone().requires_grad_()
    y, reference_y = leaky_relu(leaf, 0.2), F.leaky_relu(reference, 0.2)
    y.backward(dy)
    reference_y.backward(dy)
    assert_same(y.cpu(), reference_y.cpu())
    assert_same(leaf.grad.cpu(), reference.grad.cpu())  # type: ignore[union-attr]


@real_card
def test_gradcheck() -> None:
    x = torch.randn(4, 5, dtype=torch.float64, device="cuda", requires_grad=True)
    assert torch.autograd.gradcheck(leaky_relu, (x, -0.2))
    assert torch.autograd.gradgradcheck(leaky_relu, (x, -0.2))


# ---- What is kept


@by_inplace
@by_dtype
def test_one_bit_an_element(dtype: torch.dtype, inplace: bool) -> None:
    x = filled(dtype, 1003)
    leaf = x.cuda().requires_grad_()
    saved: list[Tensor] = []
    with saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        leaky_relu(leaf.clone(), 0.01, inplace)
    (mask,) = saved
    assert mask.is_cuda
    assert_same(mask.cpu(), packed(x > 0))


def test_nothing_else_in_the_allocator() -> None:
    """In place: by the allocator's own figures, what a call adds is its mask."""
    leaf = filled(torch.float32, 1 << 20).cuda().requires_grad_()
    x = leaf.clone()
    gc.collect()
    before = torch.cuda.memory_allocated()
    leaky_relu(x, 0.01, inplace=True)
    assert torch.cuda.memory_allocated() - before == 1 << 17
    x.detach_()
    assert torch.cuda.memory_allocated() == before


def test_save_on_cpu() -> None:
    x, dy = filled(torch.float32, 100), filled(torch.float32, 100, seed=1)
    leaf = x.cuda().requires_grad_()
    with save_on_cpu():
        y = leaky_relu(leaf, 0.1)
    y.backward(dy.cuda())
    assert_same(leaf.grad.cpu(), expected(x, 0.1, dy)[1])  # type: ignore[union-attr]


# ---- torch's rules


def test_in_place_counts_as_a_change() -> None:
    x = filled(torch.float32, 10).cuda()
    view = x[2:]
    before = x._version
    leaky_relu_(view)
    assert x._version == view._version == before + 1
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaky_relu_(filled(torch.float32, 10).cuda().requires_grad_())


def test_arguments_are_judged_as_torch_does() -> None:
    x = torch.arange(4).cuda()
    with pytest.raises((RuntimeError, NotImplementedError)):
        leaky_relu(x)
    with pytest.raises(RuntimeError, match="negative_slope is too large for float32"):
        leaky_relu(filled(torch.float32, 4).cuda(), 1e300)


def test_operators_on_masks() -> None:
    x, dy = filled(torch.float32, 5, 7), filled(torch.float32, 5, 7, seed=1)
    y, mask = leakyrelu.leaky_relu_with_mask(x.cuda(), -0.2)
    assert_same(y.cpu(), F.leaky_relu(x, -0.2))
    assert_same(mask.cpu(), packed(x > 0))
    dx = leakyrelu.leaky_relu_backward(dy.cuda(), mask, -0.2)
    assert_same(dx.cpu(), expected(x, -0.2, dy)[1])
    # A mask serves on every device.
    assert_same(leakyrelu.leaky_relu_backward(dy, mask.cpu(), -0.2), dx.cpu())
    with pytest.raises(RuntimeError, match="mask is on cpu, grad on cuda:0; they must be on the same device"):
        leakyrelu.leaky_relu_backward(dy.cuda(), mask.cpu(), -0.2)


def test_modules() -> None:
    x = filled(torch.float32, 8)
    model = convert(nn.Sequential(nn.LeakyReLU(0.3), nn.Flatten(0), nn.LeakyReLU(0.2, inplace=True))).cuda()
    assert all(type(module) is LeakyReLU for module in (model[0], model[2]))
    result = F.leaky_relu(F.leaky_relu(x, 0.3), 0.2)
    assert_same(model(x.cuda()).cpu(), result)
    assert_same(copy.deepcopy(model)(x.cuda()).cpu(), result)
    with patched():
        y = nn.LeakyReLU(0.3)(x.cuda().requires_grad_())
    assert "LeakyReluMaskBackward" in type(y.grad_fn).__name__
    assert_same(y.detach().cpu(), F.leaky_relu(x, 0.3))


def test_the_profiler_sees_it() -> None:
    x = filled(torch.float32, 8).cuda()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        leaky_relu(x)
    assert "leakyrelu::leaky_relu" in {event.key for event in profile.key_averages()}


# ---- Devices, streams, graphs, threads


@by_device
def test_on_the_device_of_the_input(device: str) -> None:
    x, dy = filled(torch.float32, 100), filled(torch.float32, 100, seed=1)
    y, dx = value_and_gradient(x.to(device), 0.2, dy.to(device))
    assert_same(y, F.leaky_relu(x, 0.2))
    assert_same(dx, expected(x, 0.2, dy)[1])
    assert torch.cuda.current_device() == 0


@fake_card
def test_the_device_is_what_it_was() -> None:
    """Asked behind torch's back; the device of the input has been used before, so that torch sets the other back."""
    x = filled(torch.float32, 100).to("cuda:1")
    filled(torch.float32, 1).to("cuda:0")
    leaky_relu(x)
    assert current_device() == 0


@fake_card
def test_copies_on_write_are_made_on_their_device() -> None:
    """And only where something is written."""
    x = filled(torch.float32, 1000).to("cuda:1")
    filled(torch.float32, 1).to("cuda:0")
    lazy = torch._lazy_clone(x)
    leaky_relu(lazy, 0.2)
    assert torch._C._is_cow_tensor(lazy)
    leaky_relu_(lazy, 0.2)
    assert not torch._C._is_cow_tensor(lazy)
    assert memory_device(lazy.data_ptr()) == 1
    assert_same(lazy.cpu(), F.leaky_relu(x.cpu(), 0.2))


@fake_card
def test_the_gil_is_released() -> None:
    before = launches_under_gil()
    x = filled(torch.float32, 4).cuda().requires_grad_()
    leaky_relu(x).backward(filled(torch.float32, 4).cuda())
    assert launches_under_gil() == before


@fake_card
def test_another_allocator() -> None:
    """In a process of its own, since torch takes one only before it has used its own."""
    program = """
import os, torch, leakyrelu.torch
library = os.environ["LD_PRELOAD"]
allocator = torch.cuda.memory.CUDAPluggableAllocator(library, "fake_card_allocate", "fake_card_free")
torch.cuda.memory.change_current_allocator(allocator)
y = leakyrelu.torch.leaky_relu(torch.full((9,), -2.0).cuda().requires_grad_(), 0.5)
assert y.detach().cpu().tolist() == [-1.0] * 9
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@by_device
def test_on_the_current_stream(device: str) -> None:
    x = filled(torch.float32, 100000)
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
    leaf = torch.empty(100000, device=device, requires_grad=True)
    dy = filled(torch.float32, 100000, seed=1)
    with torch.cuda.stream(stream):
        with torch.no_grad():
            leaf.copy_(x, non_blocking=True)
        y = leaky_relu(leaf, 0.2)
        y.backward(dy.to(device, non_blocking=True))
    stream.synchronize()
    assert_same(y.cpu(), F.leaky_relu(x, 0.2))
    assert_same(leaf.grad.cpu(), expected(x, 0.2, dy)[1])  # type: ignore[union-attr]


def test_in_a_graph() -> None:
    """Captured once, replayed on other numbers: nothing ran while it was captured."""
    x, dy, y, dx = (torch.empty(1003, device="cuda") for _ in range(4))
    leaf = x.requires_grad_()

    def work() -> None:
        result = leaky_relu(leaf, 0.2)
        y.copy_(result.detach())
        dx.copy_(torch.autograd.grad(result, leaf, dy)[0])

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        work()  # a first time outside, as torch wants it
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    for seed in range(3):
        numbers, gradient = filled(torch.float32, 1003, seed=seed), filled(torch.float32, 1003, seed=seed + 10)
        with torch.no_grad():
            x.copy_(numbers)
        dy.copy_(gradient)
        graph.replay()
        torch.cuda.synchronize()
        assert_same(y.cpu(), F.leaky_relu(numbers, 0.2))
        assert_same(dx.cpu(), expected(numbers, 0.2, gradient)[1])


def test_from_two_threads() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            x, dy = filled(torch.float32, 1000, seed=seed), filled(torch.float32, 1000, seed=seed + 1)
            with torch.cuda.stream(torch.cuda.Stream()):
                for _ in range(20):
                    y, dx = value_and_gradient(x.cuda(), 0.2, dy.cuda())
            assert_same(y, F.leaky_relu(x, 0.2))
            assert_same(dx, expected(x, 0.2, dy)[1])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_out_of_memory() -> None:
    """Is torch's error, before anything is written; and the next call works."""
    free, _ = torch.cuda.mem_get_info()
    x = torch.empty(free * 3 // 10, dtype=torch.float16, device="cuda")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        leaky_relu(x)
    small = filled(torch.float16, 10)
    assert_same(leaky_relu(small.cuda()).cpu(), F.leaky_relu(small))
