"""Calls again and again in a process of its own: does its memory stay, and is every result the first one?"""

import ctypes
import gc
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# Of memory that is in use, or that its owners keep within bounds: nothing that a call leaves behind each time.
MOST_GROWTH = 2 << 20


def resident() -> int:
    """Bytes of this process's own memory in RAM, after what malloc need not keep."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def growth(call: Callable[[], object], calls: int) -> int:
    """Bytes that so many calls add to this process, which has made a tenth as many before."""
    for _ in range(calls // 10):
        call()
    start = resident()
    for _ in range(calls):
        call()
    return resident() - start


def in_own_process(function: Callable[..., object], *arguments: object) -> object:
    """What function(*arguments) returns there."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()
