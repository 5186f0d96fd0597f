"""What all this ran on."""

import os
import platform
import re
from pathlib import Path

import numpy as np
import torch

import leakyrelu
from leakyrelu import _bench

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def describe(cores: int) -> dict[str, str]:
    """Facts by name, each on a line."""
    return {
        "processor": first(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        "instruction set": _bench.target(),
        "threads": f"{cores}, of {os.cpu_count()} processors",
        "caches": ", ".join(_cache(index) for index in sorted(_CACHES.glob("index*"))) or "?",
        "transparent huge pages": first(r"\[(.*)\]", "/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": platform.release(),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "leakyrelu": leakyrelu.__version__,
        "torch": torch.__version__,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }


def _cache(index: Path) -> str:
    level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
    return f"L{level} {kind.lower()} {size}"


def first(pattern: str, path: str) -> str:
    """What the pattern's group is in a file, or a question mark."""
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE) if Path(path).exists() else None
    return found[1] if found else "?"


def kilobytes(name: str, path: str) -> int:
    """From a file like /proc/meminfo."""
    return int(first(rf"^{name}:\s+(\d+) kB$", path))
