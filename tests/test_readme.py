"""The code and the commands of README.md and docs do what these say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(*languages: str) -> list[Any]:
    """Of all pages, each with its name for pytest."""
    found = []
    for page in PAGES:
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            if not languages or language in languages:
                found.append(pytest.param(language, text, id=f"{page.stem}-{language}-{len(found)}"))
    return found


def block(language: str) -> str:
    """The README's."""
    return next(param.values[1] for param in blocks(language) if str(param.id).startswith("README-"))


def test_every_block_is_tested_here() -> None:
    languages = {param.values[0] for param in blocks()} - {""}  # without a language: not to be run
    assert languages == {"python", "bash", "cpp", "cmake", "c", "console"}


@pytest.mark.parametrize(("language", "text"), blocks("python"))
def test_python(language: str, text: str) -> None:
    if "torch" in text:
        pytest.importorskip("torch.nn")  # "torch" alone is found in this folder
    exec(compile(text, language, "exec"), {})


@pytest.mark.parametrize(("language", "text"), blocks("cpp", "c"))
def test_programs(language: str, text: str, tmp_path: Path) -> None:
    """Built as the README's lines for CMake say."""
    (tmp_path / f"program.{language}").write_text(text)
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
        ["cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"],
        ["cmake", "--build", tmp_path],
        [tmp_path / "program"],
    ):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize(("language", "text"), blocks("console"))
def test_command_line(language: str, text: str, tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out/digits.npy", np.arange(-50, 50, dtype=np.float32))
    expected = {"digits.npy"}
    for line in text.splitlines():
        prompt, *command = shlex.split(line)
        expected |= {Path(word).name for word in command if word.startswith("out/")}
        assert (prompt, command[0]) == ("$", "leakyrelu")
        subprocess.run([sys.executable, "-m", "leakyrelu", *command[1:]], cwd=tmp_path, check=True)
    created = {path.name for path in (tmp_path / "out").iterdir()}
    assert created == expected


def test_the_two_commands_are_verbs_of_dev() -> None:
    verbs = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    commands = [line.split()[:2] for line in block("bash").splitlines()]
    assert commands == [["./dev", "demo"], ["./dev", "test"]]
    for _, verb in commands:
        assert re.search(rf"^ *{verb} ", verbs, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may name behind #, as GitHub and the site make it from headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "RELEASING.md", ROOT / "SECURITY.md"):
        text = page.read_text()
        targets = re.findall(r"\]\((?!https?:)([^)]+)\)", text) + re.findall(r'src="(?!https?:)([^"]+)"', text)
        for target in targets:
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_links_name_headings_as_readers_pages_do(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A vocoder: HiFi-GAN\n```bash\n# no heading\n```\n## `leakyrelu.h`\n")
    assert anchors(page) == {"a-vocoder-hifi-gan", "leakyreluh"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900
