"""leakyrelu::torch in C++: the example, as an outside project against an installed library, agrees with libtorch.

With the side for CUDA devices wherever there is a compiler for it, whether torch has CUDA or not.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


# With CUDA, torch's own CMake package refuses a machine that has less than the whole toolkit.
PROBE = "cmake_minimum_required(VERSION 3.25)\nproject(probe CXX)\nfind_package(Torch REQUIRED)\n"


@pytest.mark.slow  # compiles the library anew, and torch's headers
def test_example(tmp_path: Path) -> None:
    torch_prefix = torch.utils.cmake_prefix_path
    if torch.version.cuda is not None:
        (tmp_path / "CMakeLists.txt").write_text(PROBE)
        probe = ("cmake", "-S", tmp_path, "-B", tmp_path / "probe", f"-DCMAKE_PREFIX_PATH={torch_prefix}")
        if subprocess.run(probe, capture_output=True).returncode != 0:
            pytest.skip("torch's CMake package does not find the CUDA toolkit that it wants")
    # Kept, so that the next run is quick.
    build = ROOT / ("build/libtorch" if torch.version.cuda is None else "build/libtorch-cuda")
    cuda = "ON" if shutil.which("nvcc") else "OFF"
    run(
        *("cmake", "--preset", "release", "-B", build, "-DLEAKYRELU_TORCH=ON", "-DLEAKYRELU_WERROR=ON"),
        *(f"-DLEAKYRELU_CUDA={cuda}", "-DCMAKE_CUDA_ARCHITECTURES=80-real"),
        f"-DCMAKE_PREFIX_PATH={torch_prefix}",
    )
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    example = tmp_path / "example"
    prefixes = f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'};{torch_prefix}"
    run("cmake", "-S", ROOT / "examples/torch", "-B", example, prefixes)
    run("cmake", "--build", example)
    assert run(example / "quickstart_torch").endswith("the same as torch::nn::LeakyReLU: yes\n")
