"""The command line as a user meets it: processes, judged by files, status and stderr. See also test_bad_calls.py."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import os
import pty
import re
import resource
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import leakyrelu
from leakyrelu import _apply, _bench, _core, _info, _torch_modules

Array = np.ndarray[Any, Any]

COMMAND = [sys.executable, "-m", "leakyrelu"]
DTYPES = ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]
SHAPES = [
    (),
    (0,),
    (3, 0, 2),
    (1,),
    (7,),
    (8,),
    (65,),
    (16, 9),
    (9, 16),
    (5, 3, 7),
    (1, 1, 130),
    (2, 3, 4, 5),
]
# Few threads, whose stacks would count where memory is limited; stdout buffered, as for most users.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    defaults: dict[str, Any] = {"env": ENVIRONMENT, "timeout": 60, "capture_output": True}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, check=False, text=True, **(defaults | options))


def assert_succeeds(result: subprocess.CompletedProcess[str]) -> None:
    assert (result.returncode, result.stderr) == (0, "")


def assert_fails(result: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """The one form that every failure has: a status, one line on stderr that says why, no more."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert re.fullmatch(r"leakyrelu: error: [^\n]+\n", result.stderr), result.stderr
    assert all(character.isprintable() for character in result.stderr[:-1])
    for word in words:
        assert word in result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing in the folder is changed, added or left over."""
    names, files = sorted(os.listdir(folder)), contents(folder)
    yield
    assert sorted(os.listdir(folder)) == names
    assert contents(folder) == files


def samples(dtype: Any, shape: tuple[int, ...], order: str = "C") -> Array:
    """Random bits of all kinds, and each special value where there is room."""
    native = np.dtype(dtype).newbyteorder("=")
    finfo, count = np.finfo(native), int(np.prod(shape))
    tiny, largest = finfo.smallest_subnormal, finfo.max
    special = [
        np.nan,
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        tiny,
        -tiny,
        largest,
        -largest,
        finfo.tiny,
        1,
        -1,
        -3.3,
    ]
    values = np.random.default_rng(count).bytes(count * native.itemsize)
    x = np.frombuffer(values, native).copy()
    x[: len(special)] = np.array(special, native)[:count]
    return np.asarray(x.reshape(shape).astype(dtype), order=order)  # type: ignore[call-overload,no-any-return]


def oracle(x: Array, slope: float) -> Array:
    x = x.astype(x.dtype.newbyteorder("="))
    wide: Any = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        return np.where(x > 0, x, (x.astype(wide) * wide(slope)).astype(x.dtype))


def assert_same_bits(found: Array, expected: Array) -> None:
    found = found.astype(found.dtype.newbyteorder("="))
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    unsigned = f"u{expected.dtype.itemsize}"
    same = found.ravel().view(unsigned) == expected.ravel().view(unsigned)
    assert (same | (np.isnan(found) & np.isnan(expected)).ravel()).all()


def mask_of(x: Array) -> Array:
    return np.packbits(x.ravel() > 0, bitorder="little")


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A .npy file around any header at all."""
    size = len(header.encode()) + 1
    length = size.to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + header.encode() + b"\n" + data


def header_of(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def sparse(path: Path, count: int, dtype: str = "<f4", order: str = "False", shape: str = "") -> Path:
    """A large file of zeros that takes no room on the disk."""
    header = npy(header_of(shape or f"({count},)", f"'{dtype}'", order))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + count * np.dtype(dtype).itemsize)
    return path


# What apply writes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_writes_what_numpy_computes(tmp_path: Path, dtype: str, order: str) -> None:
    x = samples(dtype, (33, 5, 13), order)
    np.save(tmp_path / "x.npy", x)
    assert_succeeds(run("apply", "x.npy", "y.npy", "--negative-slope", "0.2", "--mask", "m.npy", cwd=tmp_path))
    assert_same_bits(np.load(tmp_path / "y.npy"), oracle(x, 0.2))
    mask = np.load(tmp_path / "m.npy")
    assert mask.dtype == np.uint8
    assert mask.tolist() == mask_of(x).tolist()
    assert sorted(os.listdir(tmp_path)) == ["m.npy", "x.npy", "y.npy"]


@pytest.mark.parametrize("slope", ["0", "-0.0", "1", "-0.2", "1.7", "nan", "inf", "-inf", "1e-45"])
def test_apply_takes_every_slope(tmp_path: Path, slope: str) -> None:
    x = samples("f4", (100,))
    np.save(tmp_path / "x.npy", x)
    assert_succeeds(run("apply", "x.npy", "y.npy", "--negative-slope", slope, cwd=tmp_path))
    assert_same_bits(np.load(tmp_path / "y.npy"), oracle(x, float(slope)))


def test_apply_uses_a_slope_of_0_01_by_default(tmp_path: Path) -> None:
    x = samples("f8", (100,))
    np.save(tmp_path / "x.npy", x)
    assert_succeeds(run("apply", "x.npy", "y.npy", cwd=tmp_path))
    assert_same_bits(np.load(tmp_path / "y.npy"), oracle(x, 0.01))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_apply_keeps_the_form_of_any_array_over_many_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, order: str, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(_apply, "CHUNK_BYTES", 64)
    x = samples(dtype, shape, order)
    source, target, mask = (tmp_path / name for name in ("x.npy", "y.npy", "m.npy"))
    np.save(source, x)
    steps: list[tuple[int, int]] = []
    _apply.apply(source, target, -0.2, mask, lambda done, total: steps.append((done, total)))
    y = np.load(target)
    assert_same_bits(y, oracle(x, -0.2))
    assert y.dtype == x.dtype
    assert source.read_bytes()[:128] == target.read_bytes()[:128], "the header, order included"
    assert np.load(mask).tolist() == mask_of(x).tolist()
    assert len(steps) == max(1, -(-x.nbytes // 64))
    assert steps[-1] == (x.size, x.size)


@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_crosses_the_borders_of_real_chunks(tmp_path: Path, order: str) -> None:
    x = samples("f4", (1301, 1703), order)
    assert x.nbytes > 2 * _apply.CHUNK_BYTES
    np.save(tmp_path / "x.npy", x)
    assert_succeeds(run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=tmp_path))
    assert_same_bits(np.load(tmp_path / "y.npy"), oracle(x, 0.01))
    assert np.array_equal(np.load(tmp_path / "m.npy"), mask_of(x))


def test_apply_says_what_it_wrote(array: Path) -> None:
    result = run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=array)
    assert_succeeds(result)
    shape = np.load(array / "x.npy").shape
    assert result.stdout == f"wrote y.npy: float32 of shape {shape}\nwrote m.npy: one bit per element\n"


@pytest.mark.parametrize("command", [["apply", "x.npy", "y.npy"], ["plot", "p.svg"]], ids=lambda command: command[0])
def test_what_is_written_is_no_failure_where_nobody_listens(array: Path, command: list[str]) -> None:
    """Not even at the end, when Python looks after stdout once more."""
    with open("/dev/full", "w") as full:
        result = run(*command, cwd=array, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert_succeeds(result)
    assert (array / command[-1]).stat().st_size > 100


@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_over_its_own_input(tmp_path: Path, order: str) -> None:
    x = samples("f4", (1200, 1003), order)
    np.save(tmp_path / "x.npy", x)
    assert_succeeds(run("apply", "x.npy", "x.npy", "--mask", "m.npy", cwd=tmp_path))
    assert_same_bits(np.load(tmp_path / "x.npy"), oracle(x, 0.01))
    assert np.array_equal(np.load(tmp_path / "m.npy"), mask_of(x))


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"], ids=repr)
def test_apply_reads_every_version_of_the_format(tmp_path: Path, version: bytes) -> None:
    x = samples("f4", (20,))
    (tmp_path / "x.npy").write_bytes(npy(header_of("(20,)"), x.tobytes(), version))
    _apply.apply(tmp_path / "x.npy", tmp_path / "y.npy", 0.1, None, lambda *_: None)
    assert_same_bits(np.load(tmp_path / "y.npy"), oracle(x, 0.1))


def test_apply_needs_little_memory_for_a_large_file(tmp_path: Path) -> None:
    sparse(tmp_path / "x.npy", 128 << 20)
    # What wait4() reports of a child is no less than the size of the process that forked it; VmHWM is its own.
    code = (
        "import re\nfrom leakyrelu import cli\n"
        "try:\n    cli.main()\n"
        "finally:\n    print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    command = [sys.executable, "-c", code, "apply", "x.npy", "y.npy"]
    child = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=True)
    assert np.load(tmp_path / "y.npy", mmap_mode="r").shape == (128 << 20,)
    (tmp_path / "y.npy").unlink()
    assert int(child.stdout.splitlines()[-1]) < 200 << 10, "in KiB; the file has 512 MiB"


def test_apply_needs_little_memory_for_a_mask_in_another_order(tmp_path: Path) -> None:
    # Eight rows alone would be the whole file. Mapped pages of a file do not count for this limit.
    sparse(tmp_path / "x.npy", 8 << 22, "<f8", "True", f"(8, {1 << 22})")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))

    result = run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=tmp_path, preexec_fn=limit)
    (tmp_path / "y.npy").unlink(missing_ok=True)
    assert_succeeds(result)


# Where apply writes it


def test_apply_follows_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "x.npy", samples("f4", (20,)))
    for name, old in (("y.npy", b"old"), ("m.npy", None)):  # m.npy leads to a file yet to be made.
        (tmp_path / name).symlink_to(f"elsewhere/{name}")
        if old is not None:
            (tmp_path / name).write_bytes(old)
    assert_succeeds(run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=tmp_path))
    assert (tmp_path / "y.npy").is_symlink()
    assert (tmp_path / "m.npy").is_symlink()
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["m.npy", "y.npy"]
    assert np.load(tmp_path / "elsewhere/y.npy").shape == (20,)


def test_apply_gives_the_permissions_that_a_user_expects(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", samples("f4", (20,)))
    (tmp_path / "old.npy").touch()
    (tmp_path / "old.npy").chmod(0o604)
    assert_succeeds(run("apply", "x.npy", "old.npy", "--mask", "new.npy", cwd=tmp_path, umask=0o007))
    assert stat.S_IMODE((tmp_path / "new.npy").stat().st_mode) == 0o660, "by the umask"
    assert stat.S_IMODE((tmp_path / "old.npy").stat().st_mode) == 0o604, "as before"


def test_nobody_else_reads_what_is_to_replace_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private.npy").touch(0o600)
    modes = []
    open_file = os.open

    def note_mode(*arguments: Any) -> int:
        descriptor = open_file(*arguments)
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", note_mode)
    before = os.umask(0)
    try:
        with _apply.replacing(tmp_path / "private.npy"):
            pass
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_nothing_is_replaced_before_all_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [tmp_path / "y.npy", tmp_path / "mask.npy"]
    for target in targets:
        target.write_text("old")
    results: Iterator[OSError | None] = iter([None, OSError(errno.ENOSPC, "No space left on device")])

    def fail_at_the_second(_descriptor: int) -> None:
        if error := next(results):
            raise error

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(OSError, match="No space"), _apply.replacing(*targets) as files:
        for file in files:
            file.write(b"new")
    assert [target.read_text() for target in targets] == ["old", "old"]
    assert sorted(tmp_path.iterdir()) == sorted(targets)


def test_apply_shows_progress_on_a_terminal(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3 << 20, np.float32))
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "apply", "x.npy", "y.npy"],
        cwd=tmp_path,
        stderr=theirs,
        env=ENVIRONMENT | {"TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other side has closed.
        while select.select([ours], [], [], 30)[0] and (read := os.read(ours, 4096)):
            shown += read
    os.close(ours)
    assert child.wait(30) == 0
    assert b"apply" in shown
    assert b"100%" in shown


# What apply refuses: each with the old target whole and no litter


REFUSED: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "empty": (lambda: b"", ["is not a .npy file"]),
    "text": (lambda: b"1.0, 2.0\n", ["is not a .npy file"]),
    "magic alone": (lambda: b"\x93NUMPY", ["is not a .npy file"]),
    "unknown version": (
        lambda: npy(header_of("(1,)"), bytes(4), b"\x09\0"),
        ["version (9, 0) is unknown"],
    ),
    "header cut off": (lambda: npy(header_of("(1,)"))[:40], ["is not a .npy file"]),
    "header of 4 GiB": (
        lambda: b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(99),
        ["is not a .npy file"],
    ),
    "header over numpy's limit": (
        lambda: npy(header_of("(1,)") + " " * 20000),
        ["is not a .npy file"],
    ),
    "header of random bytes": (lambda: npy("\0\x1b[31m\u2603" * 20), ["is not a .npy file"]),
    "header that is code": (lambda: npy("__import__('os').abort()"), ["is not a .npy file"]),
    "header that nests": (lambda: npy("(" * 9000), ["is not a .npy file"]),
    "header that recurses": (lambda: npy("-" * 9000 + "1"), ["is not a .npy file"]),
    "header of Python 2": (lambda: npy(header_of("(2L,)")), ["is truncated"]),
    "negative shape": (
        lambda: npy(header_of("(-1, -4)"), bytes(16)),
        ["shape (-1, -4) is negative"],
    ),
    "shape that is no tuple": (lambda: npy(header_of("7"), bytes(28)), ["is not a .npy file"]),
    "shape of floats": (lambda: npy(header_of("(2.0,)"), bytes(8)), ["is not a .npy file"]),
    "huge shape": (lambda: npy(header_of(f"({2**62},)"), bytes(64)), ["is truncated", str(2**62)]),
    "immense shape": (lambda: npy(header_of(f"({'9' * 4000}, {'9' * 4000})")), ["is truncated"]),
    "one byte short": (lambda: npy(header_of("(3,)"), bytes(11)), ["is truncated", "(3,)"]),
    "one byte too many": (lambda: npy(header_of("(3,)"), bytes(13)), ["has 1 bytes more", "(3,)"]),
    "int64": (
        lambda: npy(header_of("(1,)", "'<i8'"), bytes(8)),
        ["int64", "float16, bfloat16, float32 and float64"],
    ),
    "bool": (
        lambda: npy(header_of("(8,)", "'|b1'"), bytes(8)),
        ["bool", "float16, bfloat16, float32 and float64"],
    ),
    "complex": (
        lambda: npy(header_of("(1,)", "'<c8'"), bytes(8)),
        ["complex64", "float32 and float64"],
    ),
    "long double": (
        lambda: npy(header_of("(1,)", "'<f16'"), bytes(16)),
        ["float128", "float32 and float64"],
    ),
    "structured": (
        lambda: npy(header_of("(1,)", "[('a', '<f4')]"), bytes(4)),
        ["'a'", "float32 and float64"],
    ),
    "text array": (
        lambda: npy(header_of("(1,)", "'<U1'"), bytes(4)),
        ["<U1", "float32 and float64"],
    ),
    "unknown dtype": (lambda: npy(header_of("(1,)", "'<q9'"), bytes(9)), ["is not a .npy file"]),
    "pickle": (
        lambda: npy(header_of("(1,)", "'|O'"), b"\x80\x04N."),
        ["dtype object", "never loaded"],
    ),
    "bfloat16": (
        lambda: npy(header_of("(1,)", "'|V2'"), bytes(2)),
        ["bfloat16", "astype(numpy.float32)"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_apply_refuses_a_file(tmp_path: Path, name: str) -> None:
    make, words = REFUSED[name]
    (tmp_path / "x.npy").write_bytes(make())
    (tmp_path / "y.npy").write_bytes(b"old")
    with unchanged(tmp_path):
        result = run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=tmp_path)
    assert_fails(result, 1, "x.npy: ", *words)


def test_apply_survives_any_file(tmp_path: Path) -> None:
    """Valid files with bytes changed, cut and added: refused with an ordinary error, or applied."""
    random = np.random.default_rng(3)
    source, target = tmp_path / "x.npy", tmp_path / "y.npy"
    refused = 0
    for round_ in range(1500):
        order = "True" if round_ % 3 == 0 else "False"
        file = bytearray(npy(header_of("(3, 5)", order=order), bytes(60), bytes([1 + round_ % 3, 0])))
        for _ in range(random.integers(1, 4)):
            file[random.integers(0, len(file) - 50)] = random.integers(0, 256)
        if round_ % 10 == 0:
            del file[random.integers(0, len(file)) :]
        source.write_bytes(file)
        try:
            _apply.apply(source, target, 0.1, tmp_path / "m.npy", lambda *_: None)
        except (TypeError, ValueError, OSError):
            refused += 1
        assert set(os.listdir(tmp_path)) <= {"x.npy", "y.npy", "m.npy"}
    assert 1000 < refused < 1500


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """A folder with an array in x.npy and an old target in y.npy."""
    np.save(tmp_path / "x.npy", samples("f4", (100,)))
    (tmp_path / "y.npy").write_bytes(b"old")
    return tmp_path


@pytest.mark.parametrize("source", ["missing.npy", "missing/x.npy", "x.npy/x.npy", "folder", "fifo", "/dev/null", ""])
def test_apply_refuses_an_input_that_is_no_file(array: Path, source: str) -> None:
    (array / "folder").mkdir()
    os.mkfifo(array / "fifo")
    with unchanged(array):
        assert_fails(run("apply", source, "y.npy", cwd=array, timeout=20), 1, source)


@pytest.mark.parametrize("target", ["missing/y.npy", "x.npy/y.npy", "folder", "fifo", "loop", "n" * 300, ""])
@pytest.mark.parametrize("option", ["OUT", "MASK"])
def test_apply_refuses_a_target_that_cannot_be_replaced(array: Path, target: str, option: str) -> None:
    (array / "folder").mkdir()
    os.mkfifo(array / "fifo")
    (array / "loop").symlink_to("loop")
    targets = [target] if option == "OUT" else ["y.npy", "--mask", target]
    with unchanged(array):
        assert_fails(run("apply", "x.npy", *targets, cwd=array, timeout=20), 1, target)


def test_apply_refuses_a_folder_that_is_read_only(array: Path) -> None:
    if os.geteuid() == 0:
        target = "/proc/sys/y.npy"  # Not even root makes files here.
    else:
        (array / "locked").mkdir(mode=0o500)
        target = "locked/y.npy"
    with unchanged(array):
        assert_fails(run("apply", "x.npy", target, cwd=array), 1, f"{target}: ")


def test_apply_refuses_to_replace_a_file_that_is_read_only(array: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # For root every file is writable.
    with unchanged(array), pytest.raises(PermissionError, match="is read-only"):
        _apply.apply(array / "x.npy", array / "y.npy", 0.1, None, lambda *_: None)


def test_apply_says_one_line_about_a_name_of_two(array: Path) -> None:
    assert_fails(run("apply", "no\nsuch\x1b[31mfile", "y.npy", cwd=array), 1, r"no such\x1b[31mfile")


@pytest.mark.parametrize("mask", ["y.npy", "x.npy", "./y.npy", "link.npy"])
def test_apply_refuses_a_mask_over_another_of_its_files(array: Path, mask: str) -> None:
    (array / "link.npy").symlink_to("y.npy")
    with unchanged(array):
        assert_fails(run("apply", "x.npy", "y.npy", "--mask", mask, cwd=array), 2, "--mask")


def test_apply_leaves_all_as_it_was_when_the_input_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apply, "CHUNK_BYTES", 1 << 16)
    source, target = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(source, np.ones(1 << 20))
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="became shorter"):
        _apply.apply(source, target, 0.1, None, lambda *_: os.truncate(source, 1 << 20))
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "y.npy"]


# What comes from outside while apply works


@pytest.mark.parametrize("full", ["OUT", "MASK"])
def test_apply_leaves_all_as_it_was_when_a_file_may_not_grow(array: Path, full: str) -> None:
    sparse(array / "x.npy", 4 << 20, "<f2")
    (array / "m.npy").write_bytes(b"old")

    def limit() -> None:  # The output has 8 MiB, the mask half a MiB.
        size = 6 << 20 if full == "OUT" else 256 << 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    with unchanged(array):
        result = run("apply", "x.npy", "y.npy", "--mask", "m.npy", cwd=array, preexec_fn=limit)
    assert_fails(result, 1, os.strerror(errno.EFBIG))


def test_apply_leaves_all_as_it_was_on_a_full_disk(array: Path) -> None:
    sparse(array / "x.npy", 2 << 20)
    (array / "disk").mkdir()
    mount = "mount -t tmpfs -o size=1m tmpfs disk"
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=array, check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system of its own for this test on this machine")
    script = f'{mount} && cp y.npy disk/ && ! "$@" apply x.npy disk/y.npy && ls -A disk && cat disk/*'
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *COMMAND],
        cwd=array,
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "y.npy\nold"
    assert result.stderr == "leakyrelu: error: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 3])
def test_apply_leaves_all_as_it_was_when_it_is_stopped(array: Path, number: signal.Signals, times: int) -> None:
    sparse(array / "x.npy", 1 << 29)
    before = set(os.listdir(array))
    child = subprocess.Popen(
        [*COMMAND, "apply", "x.npy", "y.npy", "--mask", "m.npy"],
        cwd=array,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the tests themselves may run under nohup
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: set(os.listdir(array)) - before)
    for _ in range(times):
        child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (1, "leakyrelu: error: interrupted\n")
    assert set(os.listdir(array)) == before
    assert (array / "y.npy").read_bytes() == b"old"


def test_apply_ignores_a_signal_that_it_was_told_to_ignore(array: Path) -> None:
    sparse(array / "x.npy", 1 << 25)
    before = set(os.listdir(array))
    child = subprocess.Popen(
        [*COMMAND, "apply", "x.npy", "y.npy"],
        cwd=array,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(lambda: set(os.listdir(array)) - before)
    child.send_signal(signal.SIGHUP)
    assert child.wait(60) == 0
    assert np.load(array / "y.npy", mmap_mode="r").shape == (1 << 25,)
    (array / "y.npy").unlink()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


# plot


PLOTS = [
    [],
    ["--gradient"],
    ["--negative-slope", "0.01", "--negative-slope", "-0.5", "--negative-slope", "1e300"],
]


@pytest.mark.parametrize("options", [*PLOTS, [*PLOTS[1], *PLOTS[2]]], ids=" ".join)
@pytest.mark.parametrize("name", ["plot.png", "plot.SVG"])
def test_plot_draws(tmp_path: Path, name: str, options: list[str]) -> None:
    pytest.importorskip("matplotlib")
    assert_succeeds(run("plot", name, *options, cwd=tmp_path))
    picture = (tmp_path / name).read_bytes()
    assert os.listdir(tmp_path) == [name]
    if name == "plot.png":
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.endswith(b"IEND\xaeB`\x82")
    else:
        assert picture.startswith(b"<?xml")
        assert picture.rstrip().endswith(b"</svg>")


def test_plot_says_what_it_drew(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for options, what in ([], "LeakyReLU for x from -7 to 7"), (["--gradient"], "the gradient for x from -2 to 2"):
        result = run("plot", "a.svg", *options, cwd=tmp_path)
        assert result.stdout == f"wrote a.svg: {what}, ReLU dashed\n"


def drawn(monkeypatch: pytest.MonkeyPatch, slopes: list[float], gradient: bool) -> Any:
    """The picture's axes."""
    figures = pytest.importorskip("matplotlib.figure")
    from leakyrelu import _plot

    seen: list[Any] = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: seen.append(figure))
    _plot.draw(slopes, gradient, "png")
    return seen.pop().axes[0]


def curves(axes: Any, dashed: bool) -> Array:
    """The x and y of all lines, in the order of x; none is drawn across 0."""
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2 and (line.get_linestyle() == "--") == dashed]
    assert [line.get_xdata().min() > 0 for line in lines] == [False, True], "no line across 0"
    points: Array = np.concatenate([line.get_xydata() for line in lines]).T
    return points


@pytest.mark.parametrize("slope", [0.25, 0.01, -0.5, 20.0])
@pytest.mark.parametrize("gradient", [False, True])
def test_plot_draws_the_values_of_the_library_and_relu(
    monkeypatch: pytest.MonkeyPatch, slope: float, gradient: bool
) -> None:
    axes = drawn(monkeypatch, [slope], gradient)
    for dashed, factor in ((False, slope), (True, 0.0)):
        x, y = curves(axes, dashed)
        assert (x.min(), x.max()) == axes.get_xlim() == ((-2, 2) if gradient else (-7, 7))
        assert (y == (np.where(x > 0, 1, factor) if gradient else np.where(x > 0, x, x * factor))).all()
        if gradient:
            low, high = axes.get_ylim()
            assert low < y.min() <= y.max() < high, "all of it"
            assert high - low < 1.2 * (max(1, slope) - min(0, slope)), "and little more"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"LeakyReLU({slope})", "ReLU"]
    assert f"= x > 0 ? {1 if gradient else 'x'} : {'' if gradient else 'x * '}{slope}" in axes.get_title()


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(
    ("slopes", "enlarged"), [([0.01], True), ([0.2, -0.01], True), ([0.2], False), ([0.01, -0.5], False)], ids=str
)
def test_plot_enlarges_a_slope_that_looks_like_0(
    monkeypatch: pytest.MonkeyPatch, slopes: list[float], enlarged: bool, gradient: bool
) -> None:
    insets = drawn(monkeypatch, slopes, gradient).child_axes
    assert len(insets) == enlarged
    for inset in insets:
        (relu,) = {line.get_ydata()[0] for line in inset.lines if line.get_label() == "ReLU"}
        ours = [line.get_ydata()[0] for line in inset.lines if "0.01" in line.get_label()]
        assert len(ours) == 1
        low, high = inset.get_ylim()
        assert abs(ours[0] - relu) > (high - low) / 4


def test_plot_has_a_name_for_its_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert_succeeds(run("plot", cwd=tmp_path))
    assert os.listdir(tmp_path) == ["leakyrelu.png"]


def test_plot_leaves_the_old_picture_when_it_cannot_write(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plot.png").write_bytes(b"old")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    with unchanged(tmp_path):
        assert_fails(run("plot", "plot.png", cwd=tmp_path, preexec_fn=limit), 1, os.strerror(errno.EFBIG))
        assert_fails(run("plot", "missing/plot.png", cwd=tmp_path), 1, "missing/plot.png: ")


def test_plot_says_how_to_get_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "shim/matplotlib").mkdir(parents=True)
    (tmp_path / "shim/matplotlib/__init__.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join(filter(None, [str(tmp_path / "shim"), os.environ.get("PYTHONPATH")]))
    with unchanged(tmp_path):
        result = run("plot", "plot.png", cwd=tmp_path, env=ENVIRONMENT | {"PYTHONPATH": path})
    assert_fails(result, 1, "pip install 'leakyrelu[cli,plot]'")


# bench


# The command with limits so small that only the form of what it prints means something.
SMALL_BENCH = (
    "from leakyrelu import _bench, cli\n"
    "_bench.SIZES, _bench.ROUNDS, _bench.BLOCK_SECONDS = (1 << 10, 1 << 20), {rounds}, 1e-4\n"
    "cli.main()\n"
)


def run_small_bench(**options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SMALL_BENCH.format(rounds=2), "bench"]
    defaults: dict[str, Any] = {"env": ENVIRONMENT, "timeout": 60, "capture_output": True}
    return subprocess.run(command, check=False, text=True, **(defaults | options))


def test_bench_prints_a_line_for_each_dtype_and_size() -> None:
    result = run_small_bench()
    assert_succeeds(result)
    threads, heading, *lines = result.stdout.splitlines()
    assert threads == f"target: {_core.targets()[2]}, threads: 2"
    assert heading.split() == ["dtype", "array", "copy", "forward", "with", "mask", "backward"]
    names = [(dtype.name, size) for dtype in _bench.dtypes() for size in ("1 KiB", "1 MiB")]
    assert len(lines) == len(names)
    for line, (dtype, size) in zip(lines, names, strict=True):
        speed = r" +\d+\.\d GB/s"
        assert re.fullmatch(rf"{dtype} +{size}{speed}({speed} +\d+\.\d\d){{3}}", line), line
        assert len(line) == len(heading)


def test_bench_knows_every_dtype_that_is_there() -> None:
    names = [dtype.name for dtype in _bench.dtypes()]
    assert set(names) - {"bfloat16"} == set(_core.DTYPES) - {"bfloat16"}
    assert ("bfloat16" in names) == (importlib.util.find_spec("ml_dtypes") is not None)


def test_bench_times_functions_that_compute() -> None:
    for dtype in _bench.dtypes():
        names = _bench._operands(dtype, 1000)
        x, results = names["x"], []
        for statement in _bench.STATEMENTS.values():
            names["y"].fill(0)
            eval(statement, names)
            results.append(names["y"].copy())
        assert np.array_equal(results[0], x)
        for result in results[1:]:  # backward's gradient is x
            assert_same_bits(result, oracle(x, 0.01))


def test_bench_needs_nothing_but_numpy(tmp_path: Path) -> None:
    (tmp_path / "shim").mkdir()
    for name in ("ml_dtypes", "torch", "matplotlib"):
        (tmp_path / f"shim/{name}.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join(filter(None, [str(tmp_path / "shim"), os.environ.get("PYTHONPATH")]))
    result = run_small_bench(env=ENVIRONMENT | {"PYTHONPATH": path})
    assert_succeeds(result)
    assert [line.split()[0] for line in result.stdout.splitlines()[2::2]] == ["float32", "float64", "float16"]


def test_bench_stops_when_it_is_interrupted() -> None:
    # As in a terminal, even where the tests run in the background of a shell, which has its children ignore SIGINT.
    at_a_terminal = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-u", "-c", at_a_terminal + SMALL_BENCH.format(rounds=10**9), "bench"]
    child = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert child.stdout is not None
        for _ in range(2):
            child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
        assert (child.returncode, errors) == (1, "leakyrelu: error: interrupted\n")
    finally:
        child.kill()


# info, help and the rest


@pytest.mark.parametrize("package", ["click", "rich"])
def test_what_is_missing_is_named(package: str, tmp_path: Path) -> None:
    """click and rich are an extra: the arrays do without."""
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('not here', name='{package}')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    result = run("info", env=ENVIRONMENT | {"PYTHONPATH": path})
    assert_fails(result, 1, f"the command line needs {package}: pip install 'leakyrelu[cli]'")


def test_the_package_needs_numpy_alone() -> None:
    needs = importlib.metadata.requires("leakyrelu") or []
    assert [need for need in needs if "extra ==" not in need] == ["numpy>=1.26"]


def test_info_tells_what_a_script_wants_to_know() -> None:
    result = run("info")
    assert_succeeds(result)
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert re.fullmatch("not built in|built in, (no device .*|devices: [0-9]+)", lines.pop("CUDA"))
    assert lines.pop("PyTorch")
    compiled, supported, active = _core.targets()
    assert lines == {
        "version": leakyrelu.__version__,
        "dtypes": "float16 bfloat16 float32 float64",
        "targets compiled": " ".join(compiled),
        "targets supported": " ".join(supported),
        "target chosen": active,
        "threads": "2",
        "memory": f"0 bytes in use, 0 kept, {leakyrelu.memory_stats()['limit']} kept at most",
    }
    assert set(supported) <= set(compiled)


@pytest.mark.parametrize(
    ("installed", "modules", "line"),
    [
        (None, [], "not installed; modules for none"),
        (None, ["2.13", "2.14"], "not installed; modules for 2.13, 2.14"),
        ("2.13.0+cpu", [], "2.13.0+cpu, served in Python; modules for none"),
        ("2.13.1+cpu", ["2.13"], "2.13.1+cpu, served by its module; modules for 2.13"),
        ("2.14.0", ["2.13"], "2.14.0, served in Python; modules for 2.13"),
    ],
)
def test_info_tells_which_torch_is_served(
    installed: str | None, modules: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(_torch_modules, "available", lambda: dict.fromkeys(modules))
    assert f"PyTorch: {line}" in _info.lines()


@pytest.mark.skipif(not _core.HAS_CUDA, reason="built without CUDA")
def test_info_tells_what_cuda_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise RuntimeError("CUDA: no driver")

    monkeypatch.setattr(_core, "cuda_devices", refuse)
    assert "CUDA: built in, no device (no driver)" in _info.lines()
    monkeypatch.setattr(_core, "cuda_devices", lambda: 2)
    assert "CUDA: built in, devices: 2" in _info.lines()
    monkeypatch.setattr(_core, "HAS_CUDA", False)
    assert "CUDA: not built in" in _info.lines()


def test_info_tells_the_target_that_was_picked_by_hand() -> None:
    for target in _core.targets()[1]:
        result = run("info", env=ENVIRONMENT | {"LEAKYRELU_TARGET": target})
        assert_succeeds(result)
        assert f"\ntarget chosen: {target}\n" in result.stdout


@pytest.mark.parametrize("name", ["avx2", "AVX2 ", "SSE5", "\udcff\n"], ids=ascii)
def test_info_and_bench_tell_of_a_target_that_is_none(name: str) -> None:
    """Misspelt, unknown, or no text at all: it is ignored, and not in silence."""
    environment = ENVIRONMENT | {"LEAKYRELU_TARGET": name}
    _, supported, _ = _core.targets()
    note = f"{supported[0]} (LEAKYRELU_TARGET={name!r} is ignored; it must be one of {' '.join(supported)})"
    for result, line in (
        (run("info", env=environment), f"\ntarget chosen: {note}\n"),
        (run_small_bench(env=environment), f"target: {note}, threads: 2\n"),
    ):
        assert_succeeds(result)
        assert line in result.stdout


def test_info_takes_an_empty_target_for_none() -> None:
    result = run("info", env=ENVIRONMENT | {"LEAKYRELU_TARGET": ""})
    assert_succeeds(result)
    assert f"\ntarget chosen: {_core.targets()[1][0]}\n" in result.stdout


def test_version() -> None:
    result = run("--version")
    assert_succeeds(result)
    assert result.stdout == f"leakyrelu {leakyrelu.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
def test_help_names_the_commands(arguments: list[str]) -> None:
    result = run(*arguments)
    assert_succeeds(result)
    assert result.stdout.startswith("Usage: leakyrelu ")
    for command in ("apply", "bench", "info", "plot"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", ["apply", "bench", "info", "plot"])
def test_help_of_a_command_shows_an_example(command: str) -> None:
    result = run(command, "--help")
    assert_succeeds(result)
    assert re.search(rf"\n  Examples?.*:\n.*leakyrelu {command}", result.stdout), result.stdout


def test_a_reader_that_went_away_is_no_news() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [*COMMAND, "info"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "leakyrelu: error: No space left on device\n")


def test_the_installed_script_is_the_same_command(tmp_path: Path) -> None:
    script = shutil.which("leakyrelu", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed")
    result = subprocess.run([script, "apply", "x.npy"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert_fails(result, 2, "OUT.npy")
