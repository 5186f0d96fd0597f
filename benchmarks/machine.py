"""What all this ran on."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import leakyrelu
from leakyrelu import _bench

_CPU0 = Path("/sys/devices/system/cpu/cpu0/cache")
_THP = Path("/sys/kernel/mm/transparent_hugepage")
_PACKAGES = ("torch", "numpy", "onnxruntime", "jax", "jaxlib", "numba", "transformers", "monai")
_DEBIAN_PACKAGES = ("libdnnl2", "libxnnpack0", "libhwy-dev")


def describe(cores: int) -> dict[str, str]:
    """Facts by name, each on a line."""
    return {
        "processor": _first(r"^model name\s*: (.*)$", Path("/proc/cpuinfo")),
        "threads": f"{cores}, of {os.cpu_count()} processors",
        "caches": _caches(),
        "memory": _first(r"^MemTotal: *(\d+ kB)", Path("/proc/meminfo")),
        "transparent huge pages": f"{_chosen(_THP / 'enabled')}; defrag {_chosen(_THP / 'defrag')}",
        "kernel": platform.release(),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "leakyrelu": f"{leakyrelu.__version__}, {_bench.target()}",
        "Python": platform.python_version(),
        **{name: version for name in _PACKAGES if (version := _version(name))},
        **{name: version for name in _DEBIAN_PACKAGES if (version := _debian_version(name))},
    }


def _first(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(), re.MULTILINE)
    return found[1] if found else "?"


def _caches() -> str:
    def read(index: Path, name: str) -> str:
        return (index / name).read_text().strip()

    indices = sorted(_CPU0.glob("index*"))
    parts = [f"L{read(i, 'level')} {read(i, 'type').lower()} {read(i, 'size')}" for i in indices]
    return ", ".join(parts) or "?"


def _chosen(path: Path) -> str:
    return _first(r"\[(.*)\]", path) if path.exists() else "?"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _debian_version(package: str) -> str:
    try:
        command = ["dpkg-query", "-W", "-f", "${Version}", package]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""
