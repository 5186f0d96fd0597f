"""A tensor in the library's memory is like any other: resized, shared, moved, saved, freed anywhere and at any time."""

import copy
import gc
import io
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F
from hypothesis.stateful import precondition, rule
from large_outputs import MIB, SEQUENCES, LiveOutputs, holds, start_anew, stats
from tensor_cases import assert_same
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset

import leakyrelu
from leakyrelu.torch import leaky_relu, leaky_relu_, leaky_relu_with_mask

ELEMENTS = MIB // 2  # of the usual output here
SIZE = 4 * ELEMENTS
STRATEGIES = ["file_descriptor", "file_system"]


def output(value: float = -1.0, elements: int = ELEMENTS) -> Tensor:
    """A fresh output that holds `value` everywhere."""
    return leaky_relu(torch.full((elements,), float(value)), 1.0)


def plain(value: float = -1.0, elements: int = ELEMENTS) -> Tensor:
    """The same in torch's memory."""
    return torch.full((elements,), float(value))


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    start_anew()


@pytest.fixture
def in_use() -> int:
    """What is in use before the test."""
    gc.collect()
    return stats("in_use")


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Iterator[None]:
    before = multiprocessing.get_sharing_strategy()
    multiprocessing.set_sharing_strategy(request.param)
    yield
    multiprocessing.set_sharing_strategy(before)


def test_outputs_and_masks_lie_there(in_use: int) -> None:
    x = torch.ones(8 * MIB, dtype=torch.float16)
    y, mask = leaky_relu_with_mask(x)
    assert stats("in_use") == in_use + y.nbytes + mask.nbytes
    del y
    assert stats("in_use") == in_use + mask.nbytes
    assert holds(mask, 255)
    del mask
    assert stats("in_use") == in_use


def test_small_ones_do_not() -> None:
    before = leakyrelu.memory_stats()
    y = output(elements=MIB // 4 - 1)
    assert leakyrelu.memory_stats() == before
    assert holds(y, -1)


def test_the_next_output_takes_it() -> None:
    y = output(-1)
    address, reused = y.data_ptr(), stats("reused")
    del y
    assert stats("cached") == SIZE
    z = output(-2)
    assert z.data_ptr() == address
    assert stats("reused") == reused + 1
    assert holds(z, -2)


def test_also_after_an_array() -> None:
    """Arrays and tensors have one cache."""
    y = leakyrelu.leaky_relu(np.ones(ELEMENTS, np.float32))
    address = y.ctypes.data
    del y
    assert output().data_ptr() == address


def test_backward_frees_the_mask(in_use: int) -> None:
    x = torch.full((8 * MIB,), -1, dtype=torch.float16, requires_grad=True)
    y = leaky_relu(x, 0.5)
    assert stats("in_use") == in_use + x.nbytes + MIB
    y.sum().backward()
    assert stats("in_use") == in_use + 2 * x.nbytes, "y and the gradient"
    assert holds(x.grad, 0.5)
    x.grad = None
    del y
    assert stats("in_use") == in_use


def test_channels_last_and_strided() -> None:
    x = torch.randn(2, 64, 64, 64).to(memory_format=torch.channels_last)
    assert_same(leaky_relu(x), F.leaky_relu(x))
    assert_same(leaky_relu(x[:, ::2]), F.leaky_relu(x[:, ::2]))


def test_inference_mode() -> None:
    with torch.inference_mode():
        y = output()
    assert y.is_inference()
    assert holds(y, -1)


class TestResize:
    @pytest.mark.parametrize("elements", [0, 1, MIB // 4 - 1, MIB // 4, ELEMENTS, 4 * ELEMENTS])
    def test_tensor(self, elements: int) -> None:
        ours, theirs = output(), plain()
        for tensor in (ours, theirs):
            tensor.resize_(elements)
        assert ours.untyped_storage().nbytes() == theirs.untyped_storage().nbytes()
        assert_same(ours[:ELEMENTS], theirs[:ELEMENTS])

    @pytest.mark.parametrize("size", [0, 4, MIB - 1, MIB, SIZE, 4 * SIZE])
    def test_storage(self, size: int, in_use: int) -> None:
        tensor = output()
        storage = tensor.untyped_storage()
        assert storage.resizable()
        storage.resize_(size)
        assert storage.nbytes() == size
        assert stats("in_use") == in_use + (size if size >= MIB else 0)
        kept = torch.empty(0).set_(storage, 0, (min(size, SIZE) // 4,))
        assert holds(kept, -1)

    def test_away_and_back(self, in_use: int) -> None:
        tensor = output()
        storage = tensor.untyped_storage()
        storage.resize_(0)
        assert stats("in_use") == in_use
        storage.resize_(SIZE)
        assert stats("in_use") == in_use + SIZE
        tensor.fill_(3)
        assert holds(tensor, 3)

    def test_too_far(self) -> None:
        tensor = output()
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            tensor.untyped_storage().resize_(1 << 47)
        assert holds(tensor, -1)


class TestStorage:
    def test_set_to_its_storage(self, in_use: int) -> None:
        tensor = output()
        part = torch.empty(0).set_(tensor.untyped_storage(), 10, (5,), (2,))
        del tensor
        assert holds(part, -1)
        assert stats("in_use") == in_use + SIZE
        part.set_()
        assert stats("in_use") == in_use

    def test_set_to_another(self, in_use: int) -> None:
        tensor = output()
        tensor.set_(plain(-2))
        assert holds(tensor, -2)
        assert stats("in_use") == in_use

    def test_data_exchanged(self, in_use: int) -> None:
        parameter = torch.nn.Parameter(output())
        parameter.data = plain(-2)
        assert stats("in_use") == in_use

    def test_views_keep_it(self, in_use: int) -> None:
        tensor = output()
        views = [tensor[1000:][::7].view(-1, 1), tensor.as_strided((3, 3), (1, 2), 5), tensor.view(torch.int32)[3:]]
        del tensor
        assert stats("in_use") == in_use + SIZE
        for view in views:
            assert holds(view.view(torch.float32), -1)

    def test_two_halves_of_a_lazy_clone(self) -> None:
        tensor = output()
        clone = torch._lazy_clone(tensor)
        clone[0] = 7
        other = torch._lazy_clone(tensor)
        tensor[1] = 9
        assert tensor[:3].tolist() == [-1, 9, -1]
        assert clone[:3].tolist() == [7, -1, -1]
        assert other[:3].tolist() == [-1, -1, -1]

    def test_freed_by_another_thread(self, in_use: int) -> None:
        tensors = [output()]
        thread = threading.Thread(target=tensors.clear)
        thread.start()
        thread.join()
        assert stats("in_use") == in_use
        assert stats("cached") == SIZE

    def test_pinned_as_torch_s_own(self) -> None:
        if torch.accelerator.is_available():
            pytest.skip("here memory can be pinned")
        messages = []
        for tensor in (output(), plain()):
            assert not tensor.is_pinned()
            with pytest.raises(RuntimeError) as error:
                tensor.pin_memory()
            messages.append(str(error.value).splitlines()[0])
        assert messages[0] == messages[1]


class TestCopies:
    @pytest.mark.parametrize(
        "duplicate",
        [Tensor.clone, copy.deepcopy, lambda y: pickle.loads(pickle.dumps(y))],
        ids=["clone", "deep", "pickle"],
    )
    def test_equal(self, duplicate: object) -> None:
        tensor = output()
        other = duplicate(tensor)
        tensor.fill_(5)
        assert holds(other, -1)

    def test_saved(self) -> None:
        file = io.BytesIO()
        torch.save([output()[10:], output(-2)], file)
        file.seek(0)
        first, second = torch.load(file)
        assert holds(first, -1)
        assert holds(second, -2)

    def test_of_a_memory_mapped_one(self, tmp_path: Path) -> None:
        torch.save(output(), tmp_path / "y")
        mapped = torch.load(tmp_path / "y", mmap=True)
        assert holds(leaky_relu(mapped, 0.5), -0.5)
        assert holds(leaky_relu(mapped, 0.5, inplace=True), -0.5)


class TestOtherLibraries:
    def test_numpy(self, in_use: int) -> None:
        array = output().numpy()
        assert stats("in_use") == in_use + SIZE
        again = torch.from_numpy(array)
        del array
        assert holds(again, -1)
        del again
        assert stats("in_use") == in_use

    def test_dlpack(self, in_use: int) -> None:
        array = np.from_dlpack(output(-1))
        tensor = torch.from_dlpack(output(-2))
        assert stats("in_use") == in_use + 2 * SIZE
        assert (array == -1).all()
        assert holds(tensor, -2)
        del array, tensor
        assert stats("in_use") == in_use

    def test_an_array_as_a_tensor(self, in_use: int) -> None:
        tensor = torch.from_numpy(leakyrelu.leaky_relu(np.full(ELEMENTS, -1, np.float32), 1.0))
        assert stats("in_use") == in_use + SIZE
        assert holds(tensor, -1)
        del tensor
        assert stats("in_use") == in_use


def write_over(tensors: multiprocessing.Queue, back: multiprocessing.Queue) -> None:
    torch.set_num_threads(1)  # the parent's are not here, and torch would wait for them
    tensor = tensors.get(timeout=30)
    correct = holds(tensor, -1)
    tensor.fill_(-2)
    back.put((correct, output(-3)))
    tensors.get(timeout=30)  # not before the parent has the answer, whose file descriptor this process sends


class Outputs(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        return output(-float(index))


@pytest.mark.usefixtures("strategy")
class TestProcesses:
    """With both of torch's ways to share memory."""

    def test_moved_to_shared_memory(self, in_use: int) -> None:
        tensor = output()
        assert not tensor.is_shared()
        tensor.share_memory_()
        assert tensor.is_shared()
        assert stats("in_use") == in_use
        assert holds(tensor, -1)

    def test_through_queues(self) -> None:
        context = multiprocessing.get_context("fork")
        there, back = context.Queue(), context.Queue()
        process = context.Process(target=write_over, args=(there, back), daemon=True)
        process.start()
        tensor = output()
        there.put(tensor)
        correct, answer = back.get(timeout=30)
        there.put(None)
        process.join(30)
        assert process.exitcode == 0
        assert correct, "the child got other values"
        assert holds(tensor, -2), "the child wrote to other memory"
        assert holds(answer, -3)

    def test_from_data_loader_workers(self) -> None:
        loader = DataLoader(Outputs(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
        for index, tensor in enumerate(loader):
            assert holds(tensor, -float(index))

    def test_collated_by_workers(self) -> None:
        loader = DataLoader(Outputs(), batch_size=3, num_workers=2, multiprocessing_context="fork", timeout=60)
        for start, batch in zip([0, 3], loader, strict=True):
            assert batch[:, 0].tolist() == [-start, -start - 1, -start - 2]


def test_the_profiler_sees_it() -> None:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        y = output()
        del y
    events = [(event.name, event.self_cpu_memory_usage) for event in profiler.events()]
    assert ("leakyrelu::leaky_relu", SIZE) in events
    assert sum(size for _, size in events) == 0, events


def test_any_number_of_threads() -> None:
    x = torch.randn(8 * ELEMENTS)
    expected = F.leaky_relu(x)
    before = torch.get_num_threads()
    try:
        for number in (1, 4, 2, 1, 3):
            torch.set_num_threads(number)
            assert_same(leaky_relu(x), expected)
    finally:
        torch.set_num_threads(before)


def test_no_memory_says_what_torch_says() -> None:
    messages = []
    for function in (leaky_relu, F.leaky_relu):
        with pytest.raises(RuntimeError, match="can't allocate memory") as error:
            function(torch.ones(1).expand(1 << 45).view(1 << 40, 32))
        messages.append(str(error.value).splitlines()[0])
    assert messages[0] == messages[1]


def run(code: str) -> str:
    prelude = """
        import atexit, os, sys, threading, time, numpy as np, torch, leakyrelu
        from leakyrelu.torch import leaky_relu
        torch.set_num_threads(1)
        MIB = 1 << 20
        leakyrelu._core.set_large_bytes(MIB)
        def output(size): return leaky_relu(torch.full((size // 4,), -1.0), 1.0)
    """
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(prelude) + textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_kept_memory_is_given_up_before_an_error() -> None:
    code = """
        import resource
        x = torch.full((24 * MIB,), -1.0)
        tensors = [output(64 * MIB) for _ in range(2)]
        del tensors
        assert leakyrelu.memory_stats()["cached"] == 128 * MIB
        with open("/proc/self/statm") as file: size = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + 16 * MIB, -1))
        y = leaky_relu(x, 1.0)
        assert leakyrelu.memory_stats()["cached"] == 0
        try:
            leaky_relu(x)
            print("more than there is")
        except RuntimeError as error:
            assert "can't allocate memory" in str(error), error
        del y
        assert leaky_relu(x, 2.0)[-1] == -2
    """
    assert run(code) == ""


def test_the_process_ends_quietly() -> None:
    """With buffers that are freed at every stage of its end, and by other owners."""
    code = """
        sys.keep = [output(2 * MIB)]
        y = output(2 * MIB)
        array = output(2 * MIB).numpy()
        capsule = torch.utils.dlpack.to_dlpack(output(2 * MIB))
        x = torch.ones(8 * MIB, dtype=torch.float16, requires_grad=True)
        graph = leaky_relu(x)
        class Cycle: pass
        cycle = Cycle()
        cycle.itself, cycle.y = cycle, output(2 * MIB)
        atexit.register(lambda: (y.sum(), output(2 * MIB)))
        assert leakyrelu.memory_stats()["in_use"] == 10 * MIB + graph.nbytes + MIB
    """
    assert run(code) == ""


def test_the_process_is_ended_at_once() -> None:
    assert run("y = output(2 * MIB); output(2 * MIB); os._exit(0)") == ""


class Sequences(LiveOutputs):
    """Random sequences of outputs, resized, shared, freed here and in other threads, under changing limits."""

    @precondition(lambda self: len(self.live) < 6)
    @rule(elements=st.integers(MIB // 8, MIB) | st.sampled_from([MIB // 4 - 1, MIB // 4, MIB // 2, MIB // 2 + 1]))
    def forward(self, elements: int) -> None:
        value = self.value()
        self.live.append((output(value, elements), value))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free_in_a_thread(self, data: st.DataObject) -> None:
        tensors = [self.pick(data)]
        thread = threading.Thread(target=tensors.clear)
        thread.start()
        thread.join()

    @precondition(lambda self: self.live)
    @rule(data=st.data(), elements=st.integers(0, MIB))
    def resize(self, data: st.DataObject, elements: int) -> None:
        tensor, value = self.pick(data)
        kept = min(tensor.numel(), elements)
        tensor.untyped_storage().resize_(4 * elements)
        tensor.set_(tensor.untyped_storage(), 0, (elements,))
        assert holds(tensor[:kept], value)
        tensor[kept:] = value
        self.live.append((tensor, value))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def view(self, data: st.DataObject) -> None:
        """A tensor becomes a view of all but its first element."""
        tensor, value = self.pick(data)
        self.live.append((tensor.clone() if tensor.storage_offset() else tensor[1:], value))


TestSequences = Sequences.TestCase
TestSequences.settings = SEQUENCES


def test_reading_does_not_copy_what_is_copied_on_write() -> None:
    x = torch.tensor([-2.0, 3.0])
    lazy = torch._lazy_clone(x)
    y = leaky_relu(lazy.requires_grad_(), 0.5)
    y.sum().backward()
    assert torch._C._is_cow_tensor(lazy)
    assert torch.equal(y.detach(), torch.tensor([-1.0, 3.0]))
    again = torch._lazy_clone(x)
    leaky_relu_(again, 0.5)
    assert not torch._C._is_cow_tensor(again)
    assert torch.equal(again, torch.tensor([-1.0, 3.0]))
    assert torch.equal(x, torch.tensor([-2.0, 3.0]))
