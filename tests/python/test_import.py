"""Importing the package is cheap and pulls in nothing that was not asked for."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import leakyrelu


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_only_numpy_comes_along() -> None:
    names = ["torch", "matplotlib", "sklearn", "jax", "ml_dtypes", "click", "rich"]
    code = f"import sys, leakyrelu; print([name for name in {names} if name in sys.modules])"
    assert run(code) == "[]\n"


def test_import_takes_under_0_3_s_more_than_numpy() -> None:
    # The bound is the project's promise and an order above what is measured (0.01 s); the best of three, for the noise.
    code = "import time, numpy; t = time.perf_counter(); import leakyrelu; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.3


def test_version_is_the_distribution_s() -> None:
    assert leakyrelu.__version__ == importlib.metadata.version("leakyrelu")


def test_every_public_name_is_documented() -> None:
    for name in leakyrelu.__all__:
        if name != "__version__":
            assert getattr(leakyrelu, name).__doc__, name


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("readelf") is None, reason="needs Linux, and readelf")
def test_libraries_are_hardened() -> None:
    """Tables of addresses are read-only from the start, no stack is executable, functions with arrays guard theirs."""
    for library in Path(leakyrelu.__file__).parent.glob("*.so"):
        command = ["readelf", "--wide", "--dynamic", "--segments", "--dyn-syms", str(library)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "BIND_NOW" in said and "GNU_RELRO" in said, library
        assert [line.split()[-2] for line in said.splitlines() if "GNU_STACK" in line] == ["RW"], library
        if library.name.startswith("lib"):  # the others need not have such functions
            assert "__stack_chk_fail" in said, library
