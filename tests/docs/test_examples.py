"""The examples in Python: they run, and leave their pictures."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "pictures", "words"),
    [
        ("digits", ["digits.png", "leakyrelu.png"], "115008 of 115008 elements agree with NumPy bit for bit"),
        ("train_digits", ["training.png"], "same bits"),
        ("stylegan_block", ["stylegan.png"], "the same bits at every step"),
    ],
)
def test_example(name: str, pictures: list[str], words: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    if name != "digits":
        pytest.importorskip("torch.nn")  # "torch" alone is found in the folder above
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert words in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == pictures
