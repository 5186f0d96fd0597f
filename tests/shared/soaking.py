"""Calls again and again in a process of its own: does its memory stay, and is every result the first one?"""

import ctypes
import gc
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

SMALL, LARGE = (2, 10**6), (4_000_000, 1000)  # elements, calls

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


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """What function(*arguments) returns there."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _soak(call_of: Callable[[str, int], Callable[[], Any]], way: str, elements: int, calls: int) -> tuple[int, bool]:
    call = call_of(way, elements)
    first = np.array(call())
    found = growth(call, calls)
    return found, np.array_equal(call(), first)


def assert_nothing_left(call_of: Callable[[str, int], Callable[[], Any]], way: str, size: tuple[int, int]) -> None:
    """Asserts that so many calls of call_of(way, elements) leave nothing behind, and give what the first one gave."""
    found, is_same = in_own_process(_soak, call_of, way, *size)
    assert is_same
    assert found < MOST_GROWTH
