"""What this process holds in memory."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path


def resident() -> int:
    """Bytes of its own memory in RAM, after what malloc need not keep."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _kilobytes("/proc/self/smaps_rollup", "Anonymous") * 1024


def peak_above_base(work: Callable[[], object]) -> int:
    """Bytes by which the process outgrows its present size while it works."""
    resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, from the present size
    base = _kilobytes("/proc/self/status", "VmHWM")
    work()
    return (_kilobytes("/proc/self/status", "VmHWM") - base) * 1024


def available() -> int:
    """Bytes that the machine can still give."""
    return _kilobytes("/proc/meminfo", "MemAvailable") * 1024


def _kilobytes(path: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(path).read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{path} has no line {name}")
    return int(found[1])
