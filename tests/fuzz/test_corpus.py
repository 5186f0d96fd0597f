"""The inputs that fuzzing has kept, once more, without a fuzzer."""

from collections.abc import Callable
from pathlib import Path

import exports
import npy
import pytest

FILES = [path for name in ("npy", "exports") for path in sorted((Path(__file__).parent / "corpus" / name).iterdir())]
TARGETS: dict[str, Callable[[bytes], None]] = {"npy": npy.target, "exports": exports.target}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name[:8]}")
def test_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
