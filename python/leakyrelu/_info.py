"""What ``leakyrelu info`` tells, one fact a line."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import leakyrelu
from leakyrelu import _bench, _core, _torch_modules


def lines() -> Iterator[str]:
    compiled, supported, _ = _core.targets()
    yield f"version: {leakyrelu.__version__}"
    yield f"dtypes: {' '.join(_core.DTYPES)}"
    yield f"targets compiled: {' '.join(compiled)}"
    yield f"targets supported: {' '.join(supported)}"
    yield f"target chosen: {_bench.target()}"
    yield f"threads: {leakyrelu.get_num_threads()}"
    memory = leakyrelu.memory_stats()
    yield f"memory: {memory['in_use']} bytes in use, {memory['cached']} kept, {memory['limit']} kept at most"
    yield f"CUDA: {_cuda()}"
    yield f"PyTorch: {_torch()}"


def _cuda() -> str:
    if not _core.HAS_CUDA:
        return "not built in"
    try:
        return f"built in, devices: {_core.cuda_devices()}"
    except RuntimeError as error:
        return f"built in, no device ({str(error).removeprefix('CUDA: ')})"


def _torch() -> str:
    """Without an import of torch, which takes seconds."""
    try:
        installed = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        installed = None
    modules = _torch_modules.available()
    there = f"modules for {', '.join(modules) or 'none'}"
    if installed is None:
        return f"not installed; {there}"
    served = "by its module" if _torch_modules.minor(installed) in modules else "in Python"
    return f"{installed}, served {served}; {there}"
