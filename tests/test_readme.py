"""The README's code and commands do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def block(language: str) -> str:
    (text,) = blocks(language)
    return text


def test_every_block_is_tested_here() -> None:
    languages = ["python", "bash", "python", "cpp", "cmake", "c", "python", "python", "console"]
    assert [name for name, _ in BLOCKS] == languages


@pytest.mark.parametrize("index", range(4))
def test_python(index: int) -> None:
    if "torch" in blocks("python")[index]:
        pytest.importorskip("torch")
    exec(compile(blocks("python")[index], "README.md", "exec"), {})


@pytest.mark.parametrize("language", ["cpp", "c"])
def test_programs(language: str, tmp_path: Path) -> None:
    """Built as the README's lines for CMake say."""
    (tmp_path / f"program.{language}").write_text(block(language))
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\n"
        "project(program LANGUAGES C CXX)\n"
        "set(CMAKE_CXX_STANDARD 20)\n"
        f"add_executable(program program.{language})\n" + block("cmake")
    )
    build = ROOT / "build/release"
    for command in (
        ["cmake", "--preset", "release"],
        ["cmake", "--build", build],
        ["cmake", "--install", build, "--prefix", tmp_path / "prefix"],
        ["cmake", "-S", tmp_path, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"],
        ["cmake", "--build", tmp_path],
        [tmp_path / "program"],
    ):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def test_command_line(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out/digits.npy", np.arange(-50, 50, dtype=np.float32))
    for line in block("console").splitlines():
        prompt, *command = shlex.split(line)
        assert (prompt, command[0]) == ("$", "leakyrelu")
        subprocess.run([sys.executable, "-m", "leakyrelu", *command[1:]], cwd=tmp_path, check=True)
    created = {path.name for path in (tmp_path / "out").iterdir()}
    assert created == {"digits.npy", "leaky.npy", "mask.npy", "leakyrelu.png", "gradient.svg"}


def test_the_two_commands_are_verbs_of_dev() -> None:
    verbs = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    commands = [line.split()[:2] for line in block("bash").splitlines()]
    assert commands == [["./dev", "demo"], ["./dev", "test"]]
    for _, verb in commands:
        assert re.search(rf"^ *{verb} ", verbs, re.MULTILINE)


def test_every_link_leads_somewhere() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / document).read_text()):
            assert (ROOT / target).exists(), f"{document}: {target}"
