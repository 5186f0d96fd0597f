"""What one process of test_distributed.py does; each case compares ours with the original."""

import copy
import sys
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from leakyrelu.torch import convert, leaky_relu

WORLD = 2


def network(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 16),
        nn.LeakyReLU(0.2, inplace),
        nn.Linear(16, 8),
        nn.LeakyReLU(0.2, inplace),
    )


def data() -> Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(dist.get_rank()))


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def train(model: nn.Module, inputs: Callable[[], Tensor] = data) -> list[Tensor]:
    """Two steps; then the parameters, their last gradients and the input's."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimiser.zero_grad()
        x = inputs().requires_grad_()
        whole(model(x)).float().square().sum().backward()
        optimiser.step()
    return [x.grad, *(whole(p).detach() for p in model.parameters())] + [whole(p.grad) for p in model.parameters()]


def compare(wrap: Callable[[nn.Module], nn.Module], inplace: bool = False) -> None:
    expected = train(wrap(network(inplace)))
    actual = train(wrap(convert(network(inplace))))
    for ours, native in zip(actual, expected, strict=True):
        assert_same(ours, native)


def ddp() -> None:
    compare(DistributedDataParallel)


def ddp_inplace() -> None:
    compare(DistributedDataParallel, inplace=True)


def ddp_static_graph() -> None:
    compare(lambda m: DistributedDataParallel(m, static_graph=True))


def ddp_converted_after_wrapping() -> None:
    expected = train(DistributedDataParallel(network()))
    for ours, native in zip(train(convert(DistributedDataParallel(network()))), expected, strict=True):
        assert_same(ours, native)


def _sharded(model: nn.Module, **options) -> nn.Module:
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def fsdp2() -> None:
    compare(_sharded)


def fsdp2_inplace() -> None:
    compare(_sharded, inplace=True)


def fsdp2_mixed_precision() -> None:
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    compare(lambda m: _sharded(m, mp_policy=policy))


def fsdp2_checkpoint() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    compare(lambda m: _sharded(nn.Sequential(checkpoint_wrapper(copy.deepcopy(m)))))


def fsdp2_activation_is_a_unit() -> None:
    """fully_shard changes the class of what it wraps; ours may be that."""
    mesh = init_device_mesh("cpu", (WORLD,))

    def wrap(model: nn.Module) -> nn.Module:
        for layer in model:
            fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    compare(wrap)


def fsdp2_converted_after_wrapping() -> None:
    expected = train(_sharded(network()))
    for ours, native in zip(train(convert(_sharded(network()))), expected, strict=True):
        assert_same(ours, native)


def tensor_parallel() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    compare(lambda m: parallelize_module(m, mesh, plan))


def tensor_parallel_dtensors() -> None:
    """Activations stay DTensors between the layers."""
    mesh = init_device_mesh("cpu", (WORLD,))
    plan = {
        "0": ColwiseParallel(use_local_output=False),
        "2": RowwiseParallel(output_layouts=Shard(0), use_local_output=False),
    }
    compare(lambda m: parallelize_module(m, mesh, plan))


def sequence_parallel_module() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    plan = {
        "0": ColwiseParallel(output_layouts=Shard(0), use_local_output=False),
        "1": SequenceParallel(sequence_dim=0),
        "2": RowwiseParallel(input_layouts=Shard(0)),
    }
    compare(lambda m: parallelize_module(m, mesh, plan))


def _dtensor(make: Callable[[], DTensor], slope: float = 0.3) -> None:
    results = []
    for function in (leaky_relu, F.leaky_relu):
        x = make().requires_grad_()
        y = function(x, slope)
        y.square().sum().backward()
        results.append((y, x.grad))
    (y, dx), (expected_y, expected_dx) = results
    assert type(y) is type(dx) is DTensor
    assert y.placements == expected_y.placements
    assert dx.placements == expected_dx.placements
    assert_same(y.full_tensor(), expected_y.full_tensor())
    assert_same(dx.full_tensor(), expected_dx.full_tensor())


def _values() -> Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(3))


def dtensor_shard() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    for dim in (0, 1):
        for slope in (0.3, -0.3):
            _dtensor(lambda dim=dim: distribute_tensor(_values(), mesh, [Shard(dim)]), slope)


def dtensor_replicate() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    _dtensor(lambda: distribute_tensor(_values(), mesh, [Replicate()]))


def dtensor_partial() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    _dtensor(lambda: DTensor.from_local(_values() * (dist.get_rank() - 0.7), mesh, [Partial()]))


def dtensor_in_place() -> None:
    mesh = init_device_mesh("cpu", (WORLD,))
    for slope in (0.3, -0.3):
        for placement in (Shard(0), Replicate()):
            x = distribute_tensor(_values(), mesh, [placement])
            assert leaky_relu(x, slope, inplace=True) is x
            assert_same(x.full_tensor(), F.leaky_relu(_values(), slope))


def dtensor_gradient_of_a_plain_call() -> None:
    """to_local, ours, from_local: the gradient arrives through both."""
    mesh = init_device_mesh("cpu", (WORLD,))
    grads = []
    for function in (leaky_relu, F.leaky_relu):
        x = distribute_tensor(_values(), mesh, [Shard(0)]).requires_grad_()
        y = DTensor.from_local(function(x.to_local(), 0.3), mesh, [Shard(0)])
        y.square().sum().backward()
        grads.append(x.grad.full_tensor())
    assert_same(*grads)


CASES = [
    ddp,
    ddp_inplace,
    ddp_static_graph,
    ddp_converted_after_wrapping,
    fsdp2,
    fsdp2_inplace,
    fsdp2_mixed_precision,
    fsdp2_checkpoint,
    fsdp2_activation_is_a_unit,
    fsdp2_converted_after_wrapping,
    tensor_parallel,
    tensor_parallel_dtensors,
    sequence_parallel_module,
    dtensor_shard,
    dtensor_replicate,
    dtensor_partial,
    dtensor_in_place,
    dtensor_gradient_of_a_plain_call,
]


def main(rank: int, store: str) -> None:
    """Runs all cases in one group and writes a line for each: its name and how it went."""
    torch.set_num_threads(1)
    timeout = timedelta(seconds=30)
    file = dist.FileStore(store, WORLD)
    dist.init_process_group("gloo", store=file, rank=rank, world_size=WORLD, timeout=timeout)
    for case in CASES:
        try:
            case()
        except Exception as error:
            text = " ".join(str(error).split())
            print(f"{case.__name__}\t{type(error).__name__}: {text}", flush=True)
        else:
            print(f"{case.__name__}\tpassed", flush=True)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
