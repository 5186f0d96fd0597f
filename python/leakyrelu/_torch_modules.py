"""Which native module serves which torch.

Torch's C++ interface may change with each minor version, so there is a module for each, named by it, and none is ever
loaded into another: that would end with an obscure error of the loader, or worse.
"""

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parent


def available() -> dict[str, Path]:
    """The modules that this package has for this Python, by minor version of torch, such as "2.13"."""
    found = {}
    for suffix in reversed(importlib.machinery.EXTENSION_SUFFIXES):  # the most particular ones win
        for path in _FOLDER.glob(f"_torch_*{suffix}"):
            if match := re.fullmatch(r"_torch_(\d+)_(\d+)", path.name.removesuffix(suffix)):
                found[".".join(match.groups())] = path
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def minor(version: str) -> str:
    """Of a version such as "2.13.0+cpu"."""
    return ".".join(version.split("+")[0].split(".")[:2])


def load(version: str) -> ModuleType | None:
    """The module for that torch, which must have been imported. None where there is none."""
    path = available().get(minor(version))
    if path is None:
        return None
    loader = importlib.machinery.ExtensionFileLoader("leakyrelu._torch", str(path))
    spec = importlib.util.spec_from_file_location("leakyrelu._torch", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
