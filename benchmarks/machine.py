"""What all this ran on."""

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from leakyrelu import _bench

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_PACKAGES = ("leakyrelu", "torch", "numpy", "onnxruntime", "transformers", "monai")


def describe(cores: int) -> dict[str, str]:
    """Facts by name, each on a line."""
    return {
        "processor": _first(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        "instruction set": _bench.target(),
        "threads": f"{cores}, of {os.cpu_count()} processors",
        "caches": ", ".join(_cache(index) for index in sorted(_CACHES.glob("index*"))) or "?",
        "memory": _first(r"^MemTotal: *(\d+ kB)", "/proc/meminfo"),
        "transparent huge pages": _first(r"\[(.*)\]", "/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": platform.release(),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def _first(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE) if Path(path).exists() else None
    return found[1] if found else "?"


def _cache(index: Path) -> str:
    level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
    return f"L{level} {kind.lower()} {size}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
