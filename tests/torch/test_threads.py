"""Large tensors are shared out to torch's own threads, as many as torch has been told to use."""

import subprocess
import sys

import pytest

CODE = """
import os, torch, leakyrelu.torch
torch.set_num_threads({number})
x = torch.empty(1 << 22, requires_grad=True)  # no operation that starts threads itself
before = len(os.listdir("/proc/self/task"))
y = leakyrelu.torch.leaky_relu(x)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.parametrize("number", [1, 3])
def test_as_many_as_torch_has_been_told(number: int) -> None:
    """Counted in a process of its own, where nothing before has started any."""
    command = [sys.executable, "-c", CODE.format(number=number)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) == number - 1
