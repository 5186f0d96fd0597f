"""Calls each of whose requests for memory is refused once, in a process of its own.

What runs there: `python refused.py MODULE [CASE...]`, with refusing.c preloaded. MODULE's `cases()` gives them.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FRAMES = 40


@dataclasses.dataclass
class Case:
    """A call that is tried with each of its requests refused.

    Attributes:
        call: what is called. Only its requests count.
        is_right: whether its result and all that it writes to are what they must be.
        reset: makes what it writes to as it was before.
        is_untouched: whether that is so.
        may_say: whether an error may be in place of MemoryError.
        of: a part of a library's name. Only requests that it makes or has made count; those of others are theirs.
        but: a part of a function's name, as the linker knows it, whose requests do not count even so.
    """

    call: Callable[[], Any]
    is_right: Callable[[Any], bool]
    reset: Callable[[], None] = lambda: None
    is_untouched: Callable[[], bool] = lambda: True
    may_say: Callable[[BaseException], bool] = lambda error: False
    of: str = ""
    but: str = ""


def library(folder: Path) -> Path:
    """refusing.c, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        import pytest

        pytest.skip("no C compiler")
    target = folder / "librefusing.so"
    subprocess.run([compiler, "-O1", "-g", "-shared", "-fPIC", "-o", target, HERE / "refusing.c"], check=True)
    return target


def sweep(module: str, folder: Path, *arguments: str) -> dict[str, tuple[int, list[str]]]:
    """By case: how many requests were refused, and what was wrong then."""
    python_path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    environment = os.environ | {
        "LD_PRELOAD": str(library(folder)),
        "PYTHONMALLOC": "malloc",  # so that CPython's own requests are seen
        "PYTHONPATH": python_path,
        "PYTHONFAULTHANDLER": "1",
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, __file__, module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.returncode} after {done.stdout[-200:]}\n{done.stderr[-6000:]}"
    return {name: (count, wrong) for name, count, wrong in map(json.loads, done.stdout.splitlines())}


# ---- In that process


class _Refusing:
    def __init__(self) -> None:
        functions = ctypes.PyDLL(None)
        self.refuse: Any = functions.refuse
        self.refuse.argtypes, self.refuse.restype = (ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p), None
        self._allow = functions.allow
        self._addresses = (ctypes.c_void_p * FRAMES)()
        self._dladdr = functions.dladdr
        self._dladdr.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        functions.backtrace(self._addresses, 1)  # whose first call loads a library

    def allow(self) -> int:
        """How many frames of the request that was refused are known; 0 if none was."""
        try:
            count: int = self._allow(self._addresses)
        except (MemoryError, ctypes.ArgumentError):  # it was this call's own
            count = self._allow(self._addresses)
        return count

    def frames(self, count: int) -> list[str]:
        """Who made it, innermost first."""

        class Information(ctypes.Structure):
            _fields_ = (
                ("file", ctypes.c_char_p),
                ("base", ctypes.c_void_p),
                ("name", ctypes.c_char_p),
                ("at", ctypes.c_void_p),
            )

        found = []
        for address in self._addresses[1:count]:
            information = Information()
            self._dladdr(address, ctypes.byref(information))
            file = Path((information.file or b"?").decode()).name
            found.append(f"{file}:{(information.name or b'').decode() or hex(address - (information.base or 0))}")
        return found


def _is_cpythons(error: BaseException, refusing: _Refusing, count: int) -> bool:
    """Whether it is what CPython itself says, with nobody else involved, where it cannot make a traceback's frame."""
    callers = [frame.partition(":")[0] for frame in refusing.frames(count)]
    lost = "error return without exception set|returned NULL without setting an exception"
    return (
        type(error) is SystemError
        and re.search(lost, str(error)) is not None
        and all(caller.startswith(("librefusing", "libpython", "python", "libc.")) for caller in callers)
    )


def _try(case: Case, refusing: _Refusing, log: Callable[[str], None]) -> tuple[int, list[str]]:
    """How many requests the call makes, and what was wrong where one was refused."""
    wrong: list[str] = []
    n, of, but = 0, case.of.encode(), case.but.encode()
    while True:
        n += 1
        case.reset()
        log(f"request {n}")
        error: BaseException | None = None
        result = None
        refusing.refuse(n, of, but)
        try:
            result = case.call()
        except BaseException as raised:
            error = raised
        count = refusing.allow()
        message = None
        if error is None:
            if not case.is_right(result):
                message = "a wrong result"
        elif count == 0:
            message = f"with nothing refused: {error!r}"
        elif (
            not isinstance(error, MemoryError) and not case.may_say(error) and not _is_cpythons(error, refusing, count)
        ):
            message = repr(error)
        elif not (case.is_untouched() or case.is_right(None)):
            message = f"written in part before {error!r}"
        if message is not None:
            wrong.append(f"request {n}: {message}\n  " + "\n  ".join(refusing.frames(count)))
        del result, error
        case.reset()
        try:
            message = "" if case.is_right(case.call()) else "a wrong result"
        except Exception as raised:
            message = repr(raised)
        if message:
            wrong.append(f"after request {n}: {message}\n  " + "\n  ".join(refusing.frames(count)))
        if count == 0:
            return n - 1, wrong


def _main(module: str, *names: str) -> None:
    refusing = _Refusing()
    cases: dict[str, Case] = importlib.import_module(module).cases()

    def log(text: str) -> None:
        if os.environ.get("LEAKYRELU_TESTS_VERBOSE"):
            os.write(2, f"{name}: {text}\n".encode())

    gc.disable()
    for name in names or cases:
        case = cases[name]
        for _ in range(5):  # what is asked for once
            case.reset()
            assert case.is_right(case.call()), name
        count, wrong = _try(case, refusing, log)
        print(json.dumps([name, count, wrong]), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
