"""Outside projects that use leakyrelu as users do, to prove that what is installed is enough."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
QUICK = "-DCMAKE_BUILD_TYPE=Debug"  # for what is about linking; builds in a fifth of the time
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Returns what the command prints; if it fails, so does the test, with all of it."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode != 0:
        line = shlex.join(map(str, command))
        pytest.fail(f"$ {line}\n{result.stdout}exit status {result.returncode}", pytrace=False)
    return result.stdout


def build_consumer(project: str, build: Path, *options: str) -> None:
    run("cmake", "-S", HERE / project, "-B", build, "-G", "Ninja", *options)
    run("cmake", "--build", build)


@pytest.fixture(scope="module", params=["static", "shared"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def prefix(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the release build, static or shared, is installed."""
    # The static one is the build folder of the preset itself, which ./dev demo uses too.
    build = ROOT / "build" / ("release" if library == "static" else "release-shared")
    options = ["-DBUILD_SHARED_LIBS=OFF"] if library == "static" else ["-DBUILD_SHARED_LIBS=ON", QUICK]
    run("cmake", "--preset", "release", "-B", build, *options)
    run("cmake", "--build", build)
    prefix = tmp_path_factory.mktemp(library)
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


def test_find_package(prefix: Path, tmp_path: Path) -> None:
    build_consumer("find_package", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    assert run(tmp_path / "program_c") == "C works\n"
    assert run(tmp_path / "program_cpp") == "C++ works\n"


@pytest.mark.parametrize("library", ["static"], indirect=True)
@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("quickstart_c", r"y +-0.2 -0 0.5 3\ndy/dx 0.1 0.1 1 1\n"),
        ("quickstart", r"LeakyReLU\(0.1\) on 2 numbers\n(.+\n)+\n.* 3 bytes of mask instead of 96 of input\n(.+\n)+"),
        ("eigen", r"the same as Eigen: part 1, whole 1, gradient 1, span 1\n"),
    ],
)
def test_examples_do_what_they_say(prefix: Path, name: str, output: str) -> None:
    build = ROOT / "build/release"  # which the prefix is installed from
    run("cmake", "--preset", "release", "-DLEAKYRELU_EXAMPLES=ON")
    run("cmake", "--build", build)
    program = build / "examples" / name
    if name == "eigen" and "Eigen3_DIR:PATH=Eigen3_DIR-NOTFOUND" in (build / "CMakeCache.txt").read_text():
        pytest.skip("there is no Eigen here")
    assert re.fullmatch(output, run(program))


@pytest.mark.parametrize(
    ("compiler", "source", "output"),
    [
        (["cc", "-std=c11"], "program.c", "C works\n"),
        (["c++", "-std=c++20"], "program.cpp", "C++ works\n"),
    ],
    ids=["C", "C++"],
)
def test_pkg_config(prefix: Path, library: str, tmp_path: Path, compiler: list[str], source: str, output: str) -> None:
    (pkgconfig,) = prefix.glob("**/pkgconfig")
    static = ["--static"] if library == "static" else []
    flags = run(
        *("pkg-config", "--cflags", "--libs", *static, "leakyrelu"),
        env={"PKG_CONFIG_PATH": str(pkgconfig)},
    )
    program = tmp_path / "program"
    run(*compiler, *STRICT, HERE / source, *shlex.split(flags), "-o", program)
    assert run(program, env={"LD_LIBRARY_PATH": str(pkgconfig.parent)}) == output


def c_functions() -> set[str]:
    header = (ROOT / "include/leakyrelu/leakyrelu.h").read_text()
    return set(re.findall(r"^LEAKYRELU_API .*?(leakyrelu_\w+)\(", header, re.MULTILINE))


@pytest.mark.parametrize("library", ["shared"], indirect=True)
def test_shared_library_exports_the_c_functions_and_nothing_else(prefix: Path) -> None:
    (shared,) = prefix.glob("**/libleakyrelu.so")
    lines = run("nm", "-D", "--defined-only", shared).splitlines()
    exported = {line.split()[-1].partition("@")[0] for line in lines}
    assert exported == c_functions()


def c_interface() -> set[str]:
    """The C functions as declared and the constants with their values, a line each."""
    lines = set()
    for name in ("leakyrelu.h", "cuda.h"):
        header = re.sub(r"/\*.*?\*/", "", (ROOT / "include/leakyrelu" / name).read_text(), flags=re.DOTALL)
        lines |= set(re.findall(r"\bLEAKYRELU_[A-Z0-9_]+ = -?\d+\b", header))
        functions = re.findall(r"^LEAKYRELU_API ([^;]*);", header, re.MULTILINE)
        lines |= {" ".join(function.split()) for function in functions}
    return lines


@pytest.mark.parametrize("library", ["shared"], indirect=True)
def test_the_binary_interface_is_the_one_of_its_version(prefix: Path) -> None:
    """With the other test of what is exported: what the library has is what the list says."""
    (shared,) = prefix.glob("**/libleakyrelu.so")
    soname = re.search(r"SONAME.*\[(.*)\]", run("readelf", "-d", shared))
    assert soname
    lines = (HERE / "abi.txt").read_text().splitlines()
    promised_soname, *promised = [line for line in lines if not line.startswith("#")]
    assert soname[1] == promised_soname, "a new version begins with a new list in tests/consumers/abi.txt"
    now = c_interface()
    changes = [f"gone: {line}" for line in promised if line not in now]
    changes += [f"new: {line}" for line in sorted(now - set(promised))]
    assert not changes, "\n".join(
        [
            f"This is not what programs linked against {soname[1]} were promised:",
            *changes,
            "Undo it, or set it in tests/consumers/abi.txt, with a new minor version if this one is released.",
        ]
    )


@pytest.mark.parametrize("library", ["static"], indirect=True)
def test_only_the_c_functions_are_visible_without_a_version_script(prefix: Path) -> None:
    """In the object files, where no linker has hidden anything; templates, which are weak, aside."""
    (static,) = prefix.glob("**/libleakyrelu.a")
    symbols = run("readelf", "--symbols", "--wide", static)
    visible = set(re.findall(r" GLOBAL +DEFAULT +\d+ (\w+)$", symbols, re.MULTILINE))
    assert visible == c_functions()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no CUDA compiler here")
@pytest.mark.parametrize("library", ["static", pytest.param("shared", marks=pytest.mark.slow)], indirect=True)
def test_find_package_cuda(library: str, tmp_path: Path) -> None:
    """In a build of its own, for one kind of card, to be quick."""
    build = ROOT / "build" / f"release-cuda-{library}"
    shared = "ON" if library == "shared" else "OFF"
    run(
        *("cmake", "--preset", "release", "-B", build, f"-DBUILD_SHARED_LIBS={shared}"),
        *("-DLEAKYRELU_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=80-real", QUICK),
    )
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    build_consumer("find_package", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}", "-DCUDA=ON")
    assert run(tmp_path / "build/program_cuda") == "CUDA works\n"
    if library == "shared":
        (shared_library,) = (tmp_path / "prefix").glob("**/libleakyrelu_cuda.so")
        names = {line.split()[-1] for line in run("nm", "-D", "--defined-only", shared_library).splitlines()}
        calls = {f"leakyrelu_cuda_{name}" for name in ("forward", "backward", "fused_forward", "fused_backward")}
        assert names == calls | {"leakyrelu_cuda_error_message"}


@pytest.fixture(scope="module")
def embedded(library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a project that has leakyrelu inside it: in a folder, and static; or fetched, and shared."""
    build = tmp_path_factory.mktemp("embedded")
    if library == "static":
        project, options = "add_subdirectory", [f"-DLEAKYRELU_SOURCE_DIR={ROOT}"]
    else:
        tarball = tmp_path_factory.mktemp("tarball") / "leakyrelu.tar.gz"
        with tarfile.open(tarball, "w:gz") as archive:
            for name in ("CMakeLists.txt", "cmake", "include", "src"):
                archive.add(ROOT / name, f"leakyrelu/{name}")
        project = "fetch_content"
        options = [f"-DLEAKYRELU_TARBALL={tarball}", "-DBUILD_SHARED_LIBS=ON", "-DLEAKYRELU_INSTALL=ON"]
    build_consumer(project, build, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *options)
    return build


def test_embedded(embedded: Path) -> None:
    assert run(embedded / "program_c") == "C works\n"
    assert run(embedded / "program_cpp") == "C++ works\n"


def test_embedded_it_leaves_the_project_alone(embedded: Path, library: str, tmp_path: Path) -> None:
    commands = json.loads((embedded / "compile_commands.json").read_text())
    folders = {Path(command["file"]).parent for command in commands}
    sources = ROOT if library == "static" else embedded / "_deps/leakyrelu-src"
    assert folders == {sources / "src", HERE}, "something besides the library was built"
    flags = {flag for command in commands for flag in shlex.split(command["command"])}
    assert not [flag for flag in flags if flag.startswith(("-W", "-O"))]

    assert not list(embedded.glob("**/CPack*"))
    assert "Total Tests: 0" in run("ctest", "--show-only", "--test-dir", embedded)
    run("cmake", "--install", embedded, "--prefix", tmp_path)
    asked_for = library == "shared"
    assert bool(list(tmp_path.glob("**/leakyrelu-config.cmake"))) == asked_for
    assert bool(list(tmp_path.iterdir())) == asked_for


@pytest.mark.parametrize("library", ["static"], indirect=True)
def test_embedded_it_sets_no_options_but_its_own(embedded: Path) -> None:
    cache = (embedded / "CMakeCache.txt").read_text()
    options = set(re.findall(r"^(\w+):(?!INTERNAL|STATIC)\w+=", cache, re.MULTILINE))
    others = {name for name in options if not name.startswith(("CMAKE_", "LEAKYRELU_"))}
    assert others == {"HWY_DIR"}


def test_the_lines_for_fetch_content_are_those_of_the_page() -> None:
    project = (HERE / "fetch_content/CMakeLists.txt").read_text()
    page = (ROOT / "docs/cpp.md").read_text()
    (lines,) = re.findall(r"^```cmake\n(include\(FetchContent\)\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert lines in project


def test_the_port_for_vcpkg_has_the_version_of_the_header() -> None:
    header = (ROOT / "include/leakyrelu/leakyrelu.h").read_text()
    version = ".".join(re.findall(r"^#define LEAKYRELU_VERSION_\w+ (\d+)$", header, re.MULTILINE))
    assert json.loads((ROOT / "packaging/vcpkg/leakyrelu/vcpkg.json").read_text())["version"] == version


def test_without_highway_it_says_where_that_is(tmp_path: Path) -> None:
    without = "-DCMAKE_DISABLE_FIND_PACKAGE_HWY=ON"
    result = subprocess.run(
        ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(tmp_path), without], capture_output=True, text=True
    )
    assert result.returncode != 0
    said = " ".join(result.stderr.split())
    for words in ("needs Highway 1.0.3", "libhwy-dev in Debian", "highway-devel in Fedora", "Homebrew and vcpkg"):
        assert words in said
