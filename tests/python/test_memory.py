"""Large outputs: NumPy arrays like any other, in memory that is kept for reuse, but never too much nor for long."""

import contextlib
import copy
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import precondition, rule
from large_outputs import MIB, SEQUENCES, LiveOutputs, holds, start_anew, stats

import leakyrelu

Array = np.ndarray[Any, Any]

SIZE = 2 * MIB  # of the usual output here
STEP = 64 << 10  # to a multiple of which sizes are rounded up


def output(value: float = -1.0, size: int = SIZE) -> Array:
    """A fresh output of `size` bytes that holds `value` everywhere."""
    return leakyrelu.leaky_relu(np.full(size // 4, value, np.float32), 1.0)


def run(code: str, **environment: str) -> str:
    """What the code prints in a process of its own."""
    prelude = "import os, time, numpy as np, leakyrelu\nfrom leakyrelu import _core, memory_stats\n"
    prelude += "MIB = 1 << 20\n_core.set_large_bytes(MIB)\n"
    prelude += "def output(size): return leakyrelu.leaky_relu(np.full(size // 4, -1, np.float32), 1.0)\n"
    # Few threads, whose stacks would count where memory is limited.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    without = {name: value for name, value in os.environ.items() if name != "LEAKYRELU_CACHE_LIMIT"}
    result = subprocess.run(
        # Python from 3.12 on warns of each fork() beside threads, which are what is tested.
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", prelude + textwrap.dedent(code)],
        env=without | threads | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    start_anew()


class TestArray:
    """An array from a large output does what any array does."""

    def test_it_is_an_array(self) -> None:
        y = output()
        assert type(y) is np.ndarray
        assert y.flags.carray
        assert y.flags.writeable

    def test_resizing_is_refused_as_for_any_view(self) -> None:
        y = output()
        with pytest.raises(ValueError, match="it does not own its data"):
            y.resize(1, refcheck=False)
        assert holds(y, -1)

    def test_it_can_be_made_read_only_and_writable_again(self) -> None:
        y = output()
        y.setflags(write=False)
        y.setflags(write=True)
        y[0] = 3

    @pytest.mark.parametrize("size", [MIB - 4, MIB])
    def test_only_large_outputs_are_the_library_s(self, size: int) -> None:
        y = output(size=size)
        assert stats("in_use") == (size if size >= MIB else 0)
        assert y.flags.owndata == (size < MIB)

    def test_every_function_s_outputs(self) -> None:
        x = np.full(8 * MIB, -1, np.float16)
        y, mask = leakyrelu.leaky_relu_with_mask(x)
        dx = leakyrelu.leaky_relu_backward(y, mask)
        assert stats("in_use") == y.nbytes + mask.nbytes + dx.nbytes

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
    def test_in_the_order_of_the_input(self, order: tuple[int, int, int]) -> None:
        x = np.arange(SIZE // 4, dtype=np.float32).reshape(8, 16, -1).transpose(order)
        y = leakyrelu.leaky_relu(x)
        assert y.strides == x.strides
        assert not y.flags.owndata
        np.testing.assert_array_equal(y, x)

    def test_out_and_in_place_take_none(self) -> None:
        x = np.ones(SIZE // 4, np.float32)
        before = leakyrelu.memory_stats()
        leakyrelu.leaky_relu(x, out=np.empty_like(x))
        leakyrelu.leaky_relu(x, inplace=True)
        assert leakyrelu.memory_stats() == before

    def test_in_use_counts_it(self) -> None:
        before = stats("in_use")
        y = output()
        assert stats("in_use") == before + SIZE
        del y
        assert stats("in_use") == before

    def test_a_view_keeps_it(self) -> None:
        before = stats("in_use")
        view = output()[5:8]
        assert stats("in_use") == before + SIZE
        assert holds(view, -1)

    def test_copies_are_numpy_s_own(self) -> None:
        y = output()
        before = stats("in_use")
        for other in [y.copy(), copy.copy(y), copy.deepcopy(y), pickle.loads(pickle.dumps(y))]:
            assert stats("in_use") == before
            assert holds(other, -1)

    def test_pickle_out_of_band(self) -> None:
        y = output()
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(y, 5, buffer_callback=buffers.append)
        assert len(data) < 1000
        assert np.shares_memory(pickle.loads(data, buffers=buffers), y)


class TestReuse:
    def test_the_next_output_takes_it(self) -> None:
        y = output(-1)
        address = y.ctypes.data
        del y
        assert stats("cached") == SIZE
        reused, fresh = stats("reused"), stats("fresh")
        z = output(-2)
        assert z.ctypes.data == address
        assert (stats("reused"), stats("fresh"), stats("cached")) == (reused + 1, fresh, 0)
        assert holds(z, -2)

    def test_also_for_slightly_less(self) -> None:
        y = output(size=16 * STEP + SIZE)
        del y
        reused = stats("reused")
        output(size=14 * STEP + SIZE - 4)
        assert stats("reused") == reused + 1

    def test_not_for_much_less(self) -> None:
        y = output(size=4 * SIZE)
        del y
        small = output(size=SIZE)
        assert stats("in_use") == SIZE
        assert stats("cached") == 0, "more than was in use at once"
        assert holds(small, -1)

    def test_a_larger_output_does_not_come_on_top(self) -> None:
        output(size=SIZE)
        y = output(size=2 * SIZE)
        assert stats("in_use") + stats("cached") == y.nbytes

    def test_the_last_freed_comes_first(self) -> None:
        a, b, c = output(), output(), output()
        address = b.ctypes.data
        del a, c, b
        assert output().ctypes.data == address

    def test_small_outputs_are_not_kept(self) -> None:
        before = leakyrelu.memory_stats()
        output(size=MIB - 4)
        assert leakyrelu.memory_stats() == before

    def test_freed_by_another_thread(self) -> None:
        arrays = [output()]
        thread = threading.Thread(target=arrays.clear)
        thread.start()
        thread.join()
        assert stats("cached") == SIZE


class TestLimit:
    def test_default(self) -> None:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        assert 0 < stats("limit") <= min(1 << 30, total // 8)

    @pytest.mark.parametrize("limit", [0, 1, 3 * MIB, np.int64(5), 2**63 - 1, None], ids=str)
    def test_set(self, limit: Any) -> None:
        default = stats("limit")
        leakyrelu.set_cache_limit(limit)
        assert stats("limit") == (default if limit is None else limit)

    @pytest.mark.parametrize("limit", [1.0, "1", b"1", True, [1]], ids=repr)
    def test_not_an_integer(self, limit: Any) -> None:
        before = stats("limit")
        with pytest.raises(TypeError, match="limit must be an integer"):
            leakyrelu.set_cache_limit(limit)
        assert stats("limit") == before

    @pytest.mark.parametrize("limit", [-1, -(2**80), 2**63, 2**80])
    def test_out_of_range(self, limit: int) -> None:
        before = stats("limit")
        with pytest.raises(ValueError, match=r"limit is .*at least 0 and at most"):
            leakyrelu.set_cache_limit(limit)
        assert stats("limit") == before

    def test_zero_turns_it_off(self) -> None:
        y, z = output(), output()
        del y
        leakyrelu.set_cache_limit(0)
        assert stats("cached") == 0
        del z
        assert stats("cached") == 0
        y = output()
        assert holds(y, -1)
        del y
        assert stats("cached") == 0

    def test_what_is_larger_is_not_kept(self) -> None:
        leakyrelu.set_cache_limit(SIZE - 1)
        output()
        assert stats("cached") == 0

    def test_a_lower_one_gives_the_oldest_back(self) -> None:
        arrays = [output() for _ in range(2)]
        last = arrays[1].ctypes.data
        while arrays:
            arrays.pop(0)
        assert stats("cached") == 2 * SIZE
        leakyrelu.set_cache_limit(2 * SIZE - 1)
        assert stats("cached") == SIZE
        assert output().ctypes.data == last

    @pytest.mark.parametrize("value", ["0", "3145728", str(2**63 - 1)])
    def test_environment(self, value: str) -> None:
        code = "print(memory_stats()['limit']); leakyrelu.set_cache_limit(5); leakyrelu.set_cache_limit(None)\n"
        code += "print(memory_stats()['limit'])"
        assert run(code, LEAKYRELU_CACHE_LIMIT=value).split() == [value, value]

    @pytest.mark.parametrize("value", ["", "-1", "many", "1GiB", "0x10", "1e9", "7 8"])
    def test_environment_that_is_no_number_of_bytes(self, value: str) -> None:
        assert run("print(memory_stats()['limit'])", LEAKYRELU_CACHE_LIMIT=value) == str(stats("limit"))

    def test_the_command_line_tells_it(self) -> None:
        command = [sys.executable, "-m", "leakyrelu", "info"]
        environment = os.environ | {"LEAKYRELU_CACHE_LIMIT": "12345678"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert "memory: 0 bytes in use, 0 kept, 12345678 kept at most" in result.stdout.splitlines()


class TestGivenBack:
    def test_by_empty_cache(self) -> None:
        arrays = [output() for _ in range(3)]
        del arrays[1:]
        assert stats("cached") == 2 * SIZE
        leakyrelu.empty_cache()
        assert stats("cached") == 0
        assert holds(arrays[0], -1)

    def test_really(self) -> None:
        """By what the system counts as resident."""
        code = """
            def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") // MIB
            y = output(64 * MIB)
            del y
            kept = resident()
            leakyrelu.empty_cache()
            print(kept - resident())
        """
        assert 60 <= int(run(code)) <= 68

    def test_a_buffer_takes_no_more_than_it_needs(self) -> None:
        code = """
            def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") // MIB
            output(MIB)
            before = resident()
            arrays = [output(17 * MIB // 8) for _ in range(32)]
            print(resident() - before)
        """
        assert int(run(code)) <= 32 * 17 // 8 + 8

    def test_what_was_not_in_use_at_once_is_not_kept(self) -> None:
        code = """
            for size in range(1, 9):
                y = output(size * MIB)
                del y
                assert memory_stats()["cached"] <= size * MIB, memory_stats()
            arrays = [output(3 * MIB), output(3 * MIB)]
            del arrays
            assert memory_stats()["cached"] <= 8 * MIB, memory_stats()
        """
        run(code)

    def test_when_idle_at_the_next_call(self) -> None:
        """Also in a forked child, and by no thread."""
        code = """
            def tasks(): return len(os.listdir("/proc/self/task"))
            before = tasks()
            child = os.fork()
            y = output(4 * MIB)
            del y
            assert memory_stats()["cached"] == 4 * MIB
            assert tasks() == before
            time.sleep(5.1)
            assert memory_stats()["cached"] == 0, "kept for ever"
            if child == 0: os._exit(0)
            assert os.waitpid(child, 0)[1] == 0, "the child"
        """
        run(code)

    def test_before_a_fork(self) -> None:
        code = """
            y, z = output(4 * MIB), output(4 * MIB)
            del z
            assert memory_stats()["cached"] == 4 * MIB
            child = os.fork()
            if child == 0:
                ok = memory_stats()["cached"] == 0 and memory_stats()["in_use"] == 4 * MIB and (y == -1).all()
                del y
                ok = ok and memory_stats()["cached"] == 4 * MIB and (output(4 * MIB) == -1).all()
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert memory_stats()["cached"] == 0
            assert (y == -1).all()
        """
        run(code)


class TestRefusals:
    """When the system gives less than is asked for."""

    def test_no_memory_at_all(self) -> None:
        for elements in (1 << 45, (1 << 61) - 1):
            with pytest.raises(MemoryError):
                leakyrelu.leaky_relu(np.broadcast_to(np.float32(1), (elements,)))
        assert holds(output(), -1)

    def test_kept_memory_is_given_up_first(self) -> None:
        code = """
            import resource
            x = np.full(24 * MIB, -1, np.float32)
            arrays = [output(64 * MIB) for _ in range(2)]
            del arrays
            assert memory_stats()["cached"] == 128 * MIB
            size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
            resource.setrlimit(resource.RLIMIT_AS, (size + 16 * MIB, -1))
            y = leakyrelu.leaky_relu(x, 1.0)
            assert y[0] == y[-1] == -1
            assert memory_stats()["cached"] == 0
            try:
                leakyrelu.leaky_relu(x)
                print("more than there is")
            except MemoryError:
                pass
            del y
            assert leakyrelu.leaky_relu(x, 2.0)[-1] == -2
        """
        assert run(code) == ""


class TestThreads:
    def test_everything_at_once(self) -> None:
        """Outputs, freed here and there, with limits, clearings and forks in between."""
        code = """
            import random, signal, threading
            output(MIB)  # imports what the first call does
            done = time.monotonic() + 4
            shared, wrong = [], []
            def work(seed):
                choose = random.Random(seed)
                while time.monotonic() < done:
                    value = np.float32(-choose.randrange(1, 1000))
                    size = choose.randrange(MIB // 2, 3 * MIB) // 4
                    y = leakyrelu.leaky_relu(np.full(size, value), 1.0)
                    shared.append((y, value))
                    if len(shared) > 6:
                        y, value = shared.pop(choose.randrange(3))
                        if not (y == value).all(): wrong.append(value)
            def turn():
                choose = random.Random(0)
                while time.monotonic() < done:
                    leakyrelu.set_cache_limit(choose.choice([0, MIB, 4 * MIB, None, 1 << 40]))
                    leakyrelu.empty_cache()
                    stats = memory_stats()
                    if min(stats.values()) < 0: wrong.append(stats)
                    time.sleep(0.001)
            threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
            threads.append(threading.Thread(target=turn))
            for thread in threads: thread.start()
            while time.monotonic() < done:
                child = os.fork()
                if child == 0:
                    signal.alarm(20)
                    y = output(2 * MIB)
                    leakyrelu.empty_cache()
                    os._exit(0 if (y == -1).all() else 1)
                status = os.waitpid(child, 0)[1]
                if status: wrong.append(f"child: {status}")
                time.sleep(0.01)
            for thread in threads: thread.join()
            shared.clear()
            assert not wrong, wrong[:5]
            assert memory_stats()["in_use"] == 0, memory_stats()
        """
        run(code, OMP_NUM_THREADS="2")


class TestShutdown:
    @pytest.mark.parametrize(
        "code",
        [
            "import sys; sys.keep = [output(2 * MIB)]",
            "import atexit; y = output(2 * MIB); atexit.register(lambda: (y.sum(), output(2 * MIB)))",
            "y = output(2 * MIB)",
            "output(2 * MIB); os._exit(0)",
            "class Cycle: pass\nc = Cycle(); c.c = c; c.y = output(2 * MIB)",
        ],
        ids=["in sys", "atexit", "global", "os._exit", "cycle"],
    )
    def test_quiet(self, code: str) -> None:
        assert run(code) == ""

    def test_reloaded(self) -> None:
        y = output()
        importlib.reload(leakyrelu._array)
        importlib.reload(leakyrelu)
        assert stats("in_use") >= SIZE
        assert holds(y, -1)


@contextlib.contextmanager
def in_child() -> Iterator[bool]:
    """True in a forked child, whose exit status is checked: 0 if the block was left without an error."""
    child = os.fork()
    if child != 0:
        yield False
        status = os.waitpid(child, 0)[1]
        assert status == 0, f"the child ended with {status}"
        return
    try:
        signal.alarm(30)
        yield True
        os._exit(0)
    finally:
        os._exit(1)


class Sequences(LiveOutputs):
    """Random sequences of outputs, freed, forked, under changing limits."""

    @precondition(lambda self: len(self.live) < 6)
    @rule(size=st.integers(MIB // 2, 4 * MIB) | st.sampled_from([MIB - 4, MIB, 2 * MIB, 2 * MIB + 4]))
    def forward(self, size: int) -> None:
        value = self.value()
        self.live.append((output(value, size), value))

    @precondition(lambda self: len(self.live) < 6)
    @rule(size=st.integers(MIB - 1, MIB + STEP))
    def mask(self, size: int) -> None:
        x = np.ones(8 * size, np.float16)
        _, mask = leakyrelu.leaky_relu_with_mask(x, out=x)
        self.live.append((mask, 255))

    @rule()
    def fork(self) -> None:
        with in_child() as is_child:
            if is_child:
                self.contents()
                for array, _ in self.live:
                    array[...] = 0
                self.live.clear()
                assert holds(output(-3), -3)
                leakyrelu.empty_cache()
        assert stats("cached") == 0


TestSequences = Sequences.TestCase
TestSequences.settings = SEQUENCES


class TestJax:
    """By DLPack. Last here, because JAX's threads are none to fork with."""

    def test_it_keeps_the_memory(self) -> None:
        jnp = pytest.importorskip("jax.numpy")
        y = output()
        before = stats("in_use")
        address = y.ctypes.data
        shared = jnp.from_dlpack(y)
        assert shared.unsafe_buffer_pointer() == address
        del y
        gc.collect()
        assert stats("in_use") == before, "the array's memory went while JAX had it"
        assert holds(np.asarray(shared), -1)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_its_outputs(self, dtype: str) -> None:
        jnp = pytest.importorskip("jax.numpy")
        x = jnp.full(MIB, -1, dtype)
        before = stats("in_use")
        y = leakyrelu.leaky_relu(x, 2.0)
        assert stats("in_use") == before + x.nbytes
        gc.collect()
        assert bool((y == -2).all())
