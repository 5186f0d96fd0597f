"""The inputs that fuzzing has kept, once more, without a fuzzer."""

from pathlib import Path

import exports
import npy
import pytest

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", [npy.target, exports.target], ids=["npy", "exports"])
def test_corpus(target, request: pytest.FixtureRequest) -> None:
    files = sorted((CORPUS / request.node.callspec.id).iterdir())
    assert files
    for file in files:
        try:
            target(file.read_bytes())
        except BaseException:
            print(file)
            raise
