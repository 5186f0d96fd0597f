"""Bad calls, each with the whole of what must come of it: class and words of the error, and nothing changed."""

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from bad_calls import Table
from numpy.lib.stride_tricks import as_strided

import leakyrelu
from leakyrelu import LeakyReLU, leaky_relu, leaky_relu_backward, leaky_relu_with_mask, set_cache_limit, set_num_threads

CLICK = tuple(int(number) for number in importlib.metadata.version("click").split(".")[:2])
SWAPPED = "big-endian" if sys.byteorder == "little" else "little-endian"

NO_ARRAY = "{} must be a NumPy array or one that speaks DLPack, not {}; numpy.asarray makes one"
DTYPE = "{} has dtype {}; supported are float16, bfloat16, float32 and float64, in native byte order"
MASKED = "{0} is a masked array, whose mask would be lost; pass {0}.data or {0}.filled()"
READ_ONLY = "{} is read-only; it must be writable"
PACKED = (
    "{} has strides that are not multiples of its element size (a field of a packed structure?); copy it with "
    "numpy.ascontiguousarray"
)
TOO_FAR = (
    "an array's shape or strides reach beyond the address space; the number of elements and the distance in bytes "
    "between any two of them must fit int64"
)
OVERLAP = (
    "input and output share memory but are not the same elements; the output must be exactly the input (in place) or "
    "share no element with it"
)
REPEATS = (
    "the output holds an element more than once (a stride of 0, or strides that meet); each of its elements must have "
    "memory of its own"
)
NO_NUMBER = "negative_slope must be a number, not {}"
BOOL = "negative_slope must be a number, not {0}; did you mean inplace={0}?"
BEYOND_FLOAT32 = (
    "negative_slope is too large for float32, in which float16, bfloat16 and float32 arrays are computed; it must be "
    "at most 3.4028234663852886e38 in magnitude, or infinite, or NaN"
)
BEYOND_FLOAT64 = "negative_slope is too large for float64; it must be at most 1.7976931348623157e308 in magnitude"
MASK_DTYPE = "mask has dtype {}; it must be uint8, as leaky_relu_with_mask returns it"
MASK_SHAPE = "mask has shape {}; it must have one dimension, as leaky_relu_with_mask returns it"
MASK_OVERLAP = "the mask shares memory with an array; it must have memory of its own"
NO_INTEGER = "{} must be an integer, not {}"
THREADS = "num_threads is {}; it must be at least 1 and at most 2147483647"
LIMIT = "limit is {}; it must be at least 0 and at most 9223372036854775807"


class Refusing:
    """Nobody's array, and none that NumPy could make one of."""

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("not today")


class Moody:
    def __float__(self) -> float:
        raise ZeroDivisionError("not today")


class Undecided:
    def __bool__(self) -> bool:
        raise ZeroDivisionError("not today")


def read_only(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


X = np.array([-1.0, 2.0, np.nan], np.float32)
OUT = np.full(3, 7, np.float32)
MASK = np.array([0b010], np.uint8)
MEMORY = np.arange(-8, 8, dtype=np.float32)
SQUARE = MEMORY.reshape(4, 4)
ROW = np.ones(64, np.float32)
BYTES = np.zeros(64, np.uint8)
PAIRS = np.zeros(4, [("a", "f4"), ("b", "u1")])
NONE = np.zeros((2, 0), np.float32)
FAR = as_strided(X, (3,), (1 << 62,))


def memory_of(value: Any) -> bytes:
    """All bytes of the memory that an array lies in."""
    while getattr(value, "base", None) is not None:
        value = value.base
    return value.tobytes() if isinstance(value, np.ndarray) else b""


TABLE = Table(memory_of, lambda: (leakyrelu.get_num_threads(), leakyrelu.memory_stats()["limit"]))
row = TABLE.row


# ---- What is no array, or none that can be computed on

for value in ([1.0], (1.0,), 1.0, 1, True, 1j, None, "1.0", b"1", {}, range(3), object(), float, Refusing()):
    row(TypeError, NO_ARRAY.format("x", type(value).__name__), leaky_relu, value)
for value in ([1.0], 1.0, None, Refusing()):
    row(TypeError, NO_ARRAY.format("x", type(value).__name__), leaky_relu_with_mask, value)
    row(TypeError, NO_ARRAY.format("grad", type(value).__name__), leaky_relu_backward, value, MASK)
    row(TypeError, NO_ARRAY.format("x", type(value).__name__), LeakyReLU(0.1), value)
for value in ([1.0], 1.0, X.tobytes(), Refusing(), np.float32(1)):
    row(TypeError, NO_ARRAY.format("out", type(value).__name__), leaky_relu, X, out=value)
    row(TypeError, NO_ARRAY.format("out", type(value).__name__), leaky_relu_with_mask, X, out=value)
    row(TypeError, NO_ARRAY.format("out", type(value).__name__), leaky_relu_backward, X, MASK, out=value)
row(TypeError, NO_ARRAY.format("x", "float32"), leaky_relu, np.float32(1), inplace=True)

OTHER_DTYPES = ["i1", "i4", "i8", "u1", "?", "c8", "c16", "f4, f4", "O", "U3", "S1", "M8[s]", "m8[s]", "V4", "g"]
for array in [*(np.zeros(3, dtype) for dtype in OTHER_DTYPES), np.zeros(3, ml_dtypes.float8_e5m2)]:
    row(TypeError, DTYPE.format("x", array.dtype), leaky_relu, array)
for array in (np.zeros(3, "i4"), np.zeros(3, "O"), np.zeros(3, "c8")):
    row(TypeError, DTYPE.format("x", array.dtype), leaky_relu, array, inplace=True)
    row(TypeError, DTYPE.format("x", array.dtype), leaky_relu_with_mask, array, out=OUT)
    row(TypeError, DTYPE.format("grad", array.dtype), leaky_relu_backward, array, MASK)
    row(TypeError, DTYPE.format("out", array.dtype), leaky_relu, X, out=array)
    row(TypeError, DTYPE.format("out", array.dtype), leaky_relu_backward, X, MASK, out=array)
for dtype in ("f2", "f4", "f8"):
    array = X.astype(np.dtype(dtype).newbyteorder())
    words = f"{array.dtype} in {SWAPPED} order"
    row(TypeError, DTYPE.format("x", words), leaky_relu, array)
    row(TypeError, DTYPE.format("grad", words), leaky_relu_backward, array, MASK)
    row(TypeError, DTYPE.format("out", words), leaky_relu, X, out=array)

masked = np.ma.array(X, mask=[1, 0, 0])
row(TypeError, MASKED.format("x"), leaky_relu, masked)
row(TypeError, MASKED.format("x"), leaky_relu, masked, inplace=True)
row(TypeError, MASKED.format("grad"), leaky_relu_backward, masked, MASK)
row(TypeError, MASKED.format("mask"), leaky_relu_backward, X, np.ma.array(MASK, mask=[1]))
row(TypeError, MASKED.format("out"), leaky_relu, X, out=masked)

row(ValueError, PACKED.format("x"), leaky_relu, PAIRS["a"])
row(ValueError, PACKED.format("out"), leaky_relu, np.ones(4, np.float32), out=PAIRS["a"])
row(ValueError, PACKED.format("grad"), leaky_relu_backward, PAIRS["a"], MASK)
row(ValueError, TOO_FAR, leaky_relu, FAR)
row(ValueError, TOO_FAR, leaky_relu, FAR, inplace=True)
row(ValueError, TOO_FAR, leaky_relu, X, out=FAR)
row(ValueError, TOO_FAR, leaky_relu_backward, FAR, MASK)

# ---- Slopes

for value in (
    None,
    "0.1",
    b"0.1",
    [0.1],
    (0.1,),
    1j,
    object(),
    np.array([0.1, 0.2]),
    np.complex64(1),
    float,
    Refusing(),
):
    words = NO_NUMBER.format(type(value).__name__)
    row(TypeError, words, leaky_relu, X, value)
    row(TypeError, words, LeakyReLU, value)
for value in ("0.1", None):
    row(TypeError, NO_NUMBER.format(type(value).__name__), leaky_relu, X, value, True)
    row(TypeError, NO_NUMBER.format(type(value).__name__), leaky_relu_with_mask, X, value, out=OUT)
    row(TypeError, NO_NUMBER.format(type(value).__name__), leaky_relu_backward, X, MASK, value, out=OUT)
for value in (True, False, np.True_):
    row(TypeError, BOOL.format(value), leaky_relu, X, value)
    row(TypeError, BOOL.format(value), LeakyReLU, value)
for slope in (3.5e38, -3.5e38, 1e300, float(np.nextafter(3.4028234663852886e38, np.inf)), 10**40):
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32):
        array = X.astype(dtype)
        row(ValueError, BEYOND_FLOAT32, leaky_relu, array, slope)
        row(ValueError, BEYOND_FLOAT32, leaky_relu, array, slope, inplace=True)
        row(ValueError, BEYOND_FLOAT32, leaky_relu_with_mask, array, slope, out=array)
        row(ValueError, BEYOND_FLOAT32, leaky_relu_backward, array, MASK, slope, out=array)
row(ValueError, BEYOND_FLOAT32, LeakyReLU(1e300), X)
row(ValueError, BEYOND_FLOAT32, leaky_relu, NONE, 1e300)
for integer in (10**400, -(10**400), 10**5000):
    row(ValueError, BEYOND_FLOAT64, leaky_relu, X, integer)
    row(ValueError, BEYOND_FLOAT64, LeakyReLU, integer)
row(ZeroDivisionError, "not today", leaky_relu, X, Moody())

# ---- Outputs

row(ValueError, "inplace=True and out are both given; give one of them", leaky_relu, X, inplace=True, out=OUT)
row(ZeroDivisionError, "not today", leaky_relu, X, 0.1, Undecided())
for out in (np.zeros((3, 1), np.float32), np.zeros(4, np.float32), np.zeros((), np.float32)):
    words = f"out has shape {out.shape}, {{}} has (3,); they must be the same"
    row(ValueError, words.format("x"), leaky_relu, X, out=out)
    row(ValueError, words.format("x"), leaky_relu_with_mask, X, out=out)
    row(ValueError, words.format("grad"), leaky_relu_backward, X, MASK, out=out)
for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
    out = np.zeros(3, dtype)
    words = f"out has dtype {out.dtype}, {{}} has float32; they must be the same"
    row(TypeError, words.format("x"), leaky_relu, X, out=out)
    row(TypeError, words.format("grad"), leaky_relu_backward, X, MASK, out=out)
row(ValueError, READ_ONLY.format("out"), leaky_relu, X, out=read_only(OUT))
row(ValueError, READ_ONLY.format("out"), leaky_relu_with_mask, X, out=read_only(OUT))
row(ValueError, READ_ONLY.format("out"), leaky_relu_backward, X, MASK, out=read_only(OUT))
row(ValueError, READ_ONLY.format("out"), leaky_relu, X, out=np.broadcast_to(np.float32(0), 3))
row(ValueError, READ_ONLY.format("x"), leaky_relu, read_only(X), inplace=True)
row(ValueError, READ_ONLY.format("x"), LeakyReLU(inplace=True), read_only(X))

for x, out in (
    (MEMORY[1:], MEMORY[:-1]),
    (MEMORY[:-1], MEMORY[1:]),
    (MEMORY[::-1], MEMORY),
    (MEMORY[::2], MEMORY[:8]),
    (SQUARE, SQUARE.T),
    (BYTES[:32].view(np.float32), BYTES[1:33].view(np.float32)),
    (BYTES[:32].view(np.float32), BYTES[31:63].view(np.float32)),
):
    row(ValueError, OVERLAP, leaky_relu, x, out=out)
    row(ValueError, OVERLAP, leaky_relu_with_mask, x, out=out)
    row(ValueError, OVERLAP, leaky_relu_backward, x, np.zeros(-(-x.size // 8), np.uint8), out=out)
for shape, strides in (((2,), (0,)), ((2, 3), (4, 4)), ((2, 3), (8, 4)), ((2, 3), (0, 4)), ((3, 2), (4, -4))):
    out = as_strided(MEMORY[8:], shape, strides)
    row(ValueError, REPEATS, leaky_relu, np.ones(shape, np.float32), out=out)
    row(ValueError, REPEATS, leaky_relu, out, inplace=True)
    row(ValueError, REPEATS, leaky_relu_backward, np.ones(shape, np.float32), MASK, out=out)

# ---- Masks

for value in (None, b"\0", [0], 0, True):
    row(TypeError, NO_ARRAY.format("mask", type(value).__name__), leaky_relu_backward, X, value, out=OUT)
for dtype in (np.int8, np.bool_, np.float32, np.uint16, object):
    mask = np.zeros(1, dtype)
    row(TypeError, MASK_DTYPE.format(mask.dtype), leaky_relu_backward, X, mask, out=OUT)
for shape in ((1, 1), ()):
    row(ValueError, MASK_SHAPE.format(shape), leaky_relu_backward, X, np.zeros(shape, np.uint8), out=OUT)
row(ValueError, MASK_SHAPE.format("()"), leaky_relu_backward, X, np.uint8(0), out=OUT)
for length in (0, 2):
    words = f"mask has {length} bytes; 3 elements need 1"
    row(ValueError, words, leaky_relu_backward, X, np.zeros(length, np.uint8), out=OUT)
    row(ValueError, words, leaky_relu_backward, X, np.zeros(length, np.uint8))
row(ValueError, "mask has 1 bytes; 0 elements need 0", leaky_relu_backward, NONE, MASK)
for mask in (BYTES[:16:2], BYTES[7::-1]):
    row(ValueError, "mask is not contiguous; a copy of it would be", leaky_relu_backward, ROW, mask, out=ROW)
row(ValueError, MASK_OVERLAP, leaky_relu_backward, ROW, ROW.view(np.uint8)[:8], out=ROW)
row(ValueError, MASK_OVERLAP, leaky_relu_backward, np.ones(64, np.float32), ROW.view(np.uint8)[-8:], out=ROW)

# ---- Threads and the cache

for value in (0, -1, 2**31, 2**40, -(2**70), np.int64(0)):
    row(ValueError, THREADS.format(value), set_num_threads, value)
for value in (1.0, 1.5, "1", None, True, [1], np.float64(1), np.bool_(True)):
    row(TypeError, NO_INTEGER.format("num_threads", type(value).__name__), set_num_threads, value)
for value in (-1, -(2**80), 2**63, 2**80):
    row(ValueError, LIMIT.format(value), set_cache_limit, value)
for value in (1.0, "1", b"1", True, [1]):
    row(TypeError, NO_INTEGER.format("limit", type(value).__name__), set_cache_limit, value)

# ---- Signatures

row(TypeError, "leaky_relu() missing 1 required positional argument: 'x'", leaky_relu)
row(TypeError, "leaky_relu() takes from 1 to 3 positional arguments but 4 were given", leaky_relu, X, 0.1, False, OUT)
row(TypeError, "leaky_relu() got an unexpected keyword argument 'dtype'", leaky_relu, X, dtype=np.float32)
row(TypeError, "leaky_relu() got multiple values for argument 'negative_slope'", leaky_relu, X, 0.1, negative_slope=0.1)
row(
    TypeError,
    "leaky_relu_with_mask() takes from 1 to 2 positional arguments but 3 were given",
    leaky_relu_with_mask,
    X,
    0.1,
    OUT,
)
row(TypeError, "leaky_relu_backward() missing 1 required positional argument: 'mask'", leaky_relu_backward, X)
row(TypeError, "LeakyReLU.__call__() missing 1 required positional argument: 'x'", LeakyReLU())
row(TypeError, "get_num_threads() takes 0 positional arguments but 1 was given", leakyrelu.get_num_threads, 1)
row(TypeError, "empty_cache() takes 0 positional arguments but 1 was given", leakyrelu.empty_cache, 1)
row(TypeError, "memory_stats() takes 0 positional arguments but 1 was given", leakyrelu.memory_stats, 1)


@pytest.mark.parametrize("number", range(len(TABLE)), ids=TABLE.name_of)
def test_bad_call(number: int) -> None:
    TABLE.check(number)


@pytest.mark.parametrize("elements", [2**45, 2**61 - 1])
def test_no_such_memory(elements: int) -> None:
    huge = np.broadcast_to(np.float32(1), elements)
    for call in (leaky_relu, leaky_relu_with_mask, LeakyReLU(0.1)):
        with pytest.raises(MemoryError, match=r"^Unable to allocate .* for an array with shape \(\d+,\) and data type"):
            call(huge)


def test_what_is_not_too_large() -> None:
    np.testing.assert_array_equal(leaky_relu(np.array([-1.0]), 1e300), [-1e300])
    assert leaky_relu_backward(NONE, np.zeros(0, np.uint8)).shape == (2, 0)


# ---- The command line

HELP = "(see leakyrelu --help)"
APPLY, PLOT, INFO, BENCH = (f"(see leakyrelu {name} --help)" for name in ("apply", "plot", "info", "bench"))
SUFFIX = "OUT must end in .png or .svg, not {} " + PLOT
COMMANDS: list[tuple[list[str], int, str]] = [
    (["aply"], 2, f"No such command 'aply'. Did you mean 'apply'? {HELP}"),
    (["--slope"], 2, f"No such option '--slope' {HELP}"),
    (["apply"], 2, f"Missing argument 'IN.npy' {APPLY}"),
    (["apply", "x.npy"], 2, f"Missing argument 'OUT.npy' {APPLY}"),
    (["apply", "x.npy", "y.npy", "z.npy"], 2, f"Got unexpected extra argument (z.npy) {APPLY}"),
    (
        ["apply", "x.npy", "y.npy", "--slope", "1"],
        2,
        f"No such option '--slope'. Did you mean '--negative-slope'? {APPLY}",
    ),
    (["apply", "x.npy", "y.npy", "--negative-slope"], 2, f"Option '--negative-slope' requires an argument {APPLY}"),
    (
        ["apply", "x.npy", "y.npy", "--negative-slope", "steep"],
        2,
        f"Invalid value for '--negative-slope': 'steep' is not a valid float {APPLY}",
    ),
    (
        ["apply", "x.npy", "y.npy", "--negative-slope", ""],
        2,
        f"Invalid value for '--negative-slope': '' is not a valid float {APPLY}",
    ),
    (["apply", "x.npy", "y.npy", "--negative-slope", "1e39"], 1, BEYOND_FLOAT32),
    (["apply", "x.npy", "y.npy", "--negative-slope=-1e300"], 1, BEYOND_FLOAT32),
    (["apply", "none.npy", "y.npy", "--negative-slope", "1e39"], 1, BEYOND_FLOAT32),
    (["apply", "x.npy", "y.npy", "--mask"], 2, f"Option '--mask' requires an argument {APPLY}"),
    (
        ["apply", "x.npy", "y.npy", "--mask", "x.npy"],
        2,
        f"--mask must name a file of its own, neither IN.npy nor OUT.npy {APPLY}",
    ),
    (
        ["apply", "x.npy", "y.npy", "--mask", "y.npy"],
        2,
        f"--mask must name a file of its own, neither IN.npy nor OUT.npy {APPLY}",
    ),
    (["apply", "missing.npy", "y.npy"], 1, "missing.npy: No such file or directory"),
    (["apply", "folder", "y.npy"], 1, "folder: is not a regular file"),
    (["apply", "", "y.npy"], 1, ".: is not a regular file"),
    (["apply", "/dev/null", "y.npy"], 1, "/dev/null: is not a regular file"),
    (["apply", "x.npy", "folder"], 1, "folder: is not a regular file"),
    (["apply", "x.npy", "missing/y.npy"], 1, "missing/y.npy: No such file or directory"),
    (["apply", "x.npy", "y.npy", "--mask", "folder"], 1, "folder: is not a regular file"),
    (
        ["apply", "int.npy", "y.npy"],
        1,
        "int.npy: has dtype int64; supported are float16, bfloat16, float32 and float64",
    ),
    (
        ["apply", "text", "y.npy"],
        1,
        "text: is not a .npy file: the magic string is not correct; expected b'\\x93NUMPY', got b'no arr'",
    ),
    (["apply", "short.npy", "y.npy"], 1, "short.npy: is truncated: has fewer bytes than its shape (3,) needs"),
    (["apply", "long.npy", "y.npy"], 1, "long.npy: has 1 bytes more than its shape (3,) needs"),
    (["plot", "--gradient=1"], 2, f"Option '--gradient' does not take a value {PLOT}"),
    (["plot", "plot"], 2, SUFFIX.format("plot")),
    (["plot", "plot.jpg"], 2, SUFFIX.format("plot.jpg")),
    (["plot", ".png"], 2, SUFFIX.format(".png")),
    (["plot", "a.svg", "b.svg"], 2, f"Got unexpected extra argument (b.svg) {PLOT}"),
    (["plot", "--negative-slope", "0.1", "--negative-slope", "nan"], 2, f"a slope must be finite to be drawn {PLOT}"),
    (["plot", "--negative-slope", "-inf"], 2, f"a slope must be finite to be drawn {PLOT}"),
    (["plot", "missing/plot.png"], 1, "missing/plot.png: No such file or directory"),
    (["info", "all"], 2, f"Got unexpected extra argument (all) {INFO}"),
    (["bench", "--json"], 2, f"No such option '--json' {BENCH}"),
    (["bench", "all"], 2, f"Got unexpected extra argument (all) {BENCH}"),
]

# All in children of one process, which has imported everything.
_COMMANDS = """
import json, os, sys
from leakyrelu import cli
for number, arguments in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{sys.argv[2]}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv[1:] = arguments
        cli.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of each, run in a folder that they leave as it was."""
    folder, output = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("output")
    (folder / "folder").mkdir()
    (folder / "y.npy").write_bytes(b"old")
    (folder / "text").write_bytes(b"no array, but long enough to be one")
    for name, array in (("x", X), ("none", NONE), ("int", np.arange(3)), ("short", X), ("long", X)):
        np.save(folder / f"{name}.npy", array)
    long = (folder / "long.npy").read_bytes()
    (folder / "long.npy").write_bytes(long + b"0")
    (folder / "short.npy").write_bytes(long[:-1])
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    arguments = json.dumps([arguments for arguments, *_ in COMMANDS])
    program = [sys.executable, "-c", _COMMANDS, arguments, str(output)]
    done = subprocess.run(program, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before
    statuses = map(int, done.stdout.split())
    printed = [[(output / f"{i}.{name}").read_text() for name in ("out", "err")] for i in range(len(COMMANDS))]
    return [(status, out, err.replace(f"{folder}/", "")) for status, (out, err) in zip(statuses, printed, strict=True)]


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[" ".join(arguments) for arguments, *_ in COMMANDS])
def test_bad_command(number: int, commands: list[tuple[int, str, str]]) -> None:
    _, status, message = COMMANDS[number]
    if message.startswith("No such ") and CLICK < (8, 5):
        pytest.skip("an older click says that in other words")
    assert commands[number] == (status, "", f"leakyrelu: error: {message}\n")
