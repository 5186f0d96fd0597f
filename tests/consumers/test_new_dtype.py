"""CONTRIBUTING.md's recipe "Add a dtype", followed in a copy of the tree for a dtype of 1 byte."""

import re
import shutil
from pathlib import Path

import pytest
from test_consumers import ROOT, run

# float8: 1 sign bit, 5 exponent bits, 2 fraction bits; the upper half of a float16.
LANES = """
struct Float8Lanes {
  using D = hn::CappedTag<int8_t, kBlock>;
  using V = hn::Vec<D>;
  using M = hn::Mask<D>;
  using Slope = float;

  static HWY_INLINE Slope MakeSlope(double slope) { return static_cast<float>(slope); }
  static HWY_INLINE M Positive(V x) {
    const D d;
    return hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, hn::Set(d, 0x7D)));
  }
  static HWY_INLINE V Scale(V v, Slope slope) {
    const D d;
    HWY_ALIGN int8_t numbers[hn::MaxLanes(d)];
    hn::Store(v, d, numbers);
    for (size_t i = 0; i < hn::Lanes(d); ++i) numbers[i] = Narrow(Widen(numbers[i]) * slope);
    return hn::Load(d, numbers);
  }
  static HWY_INLINE V Select(M mask, V a, V b) { return hn::IfThenElse(mask, a, b); }

  using Wide = FloatLanes<float>;
  using StepD = hn::Rebind<int8_t, Wide::D>;
  using MaskD = Wide::D;
  template <class F>
  static HWY_INLINE hn::Vec<StepD> InWide(hn::Vec<StepD> x, hn::Vec<StepD> bias, Wide::M* positive, Wide::M* within,
                                          F f) {
    const StepD step;
    const Wide::D wide;
    HWY_ALIGN int8_t numbers[2][hn::MaxLanes(D())];
    HWY_ALIGN float wide_numbers[2][hn::MaxLanes(wide)];
    hn::Store(x, step, numbers[0]);
    hn::Store(bias, step, numbers[1]);
    for (int k = 0; k < 2; ++k) {
      for (size_t i = 0; i < hn::Lanes(wide); ++i) wide_numbers[k][i] = Widen(numbers[k][i]);
    }
    const auto v = f(hn::Load(wide, wide_numbers[0]), hn::Load(wide, wide_numbers[1]), positive, within);
    hn::Store(v, wide, wide_numbers[0]);
    for (size_t i = 0; i < hn::Lanes(wide); ++i) numbers[0][i] = Narrow(wide_numbers[0][i]);
    return hn::Load(step, numbers[0]);
  }

 private:
  static float Widen(int8_t bits) {
    const int exponent = bits >> 2 & 31;
    const float fraction = static_cast<float>(bits & 3) / 4;
    float magnitude = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    if (exponent == 31) {
      magnitude = (bits & 3) == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    }
    return bits < 0 ? -magnitude : magnitude;
  }
  static int8_t Narrow(float v) {
    const int sign = std::signbit(v) ? -128 : 0;
    if (std::isnan(v)) return 0x7E;
    if (std::isinf(v)) return static_cast<int8_t>(sign + 0x7C);
    int exponent = 0;
    const float fraction = std::frexp(std::fabs(v), &exponent);  // in [0.5, 1)
    const int unit = (exponent < -13 ? -13 : exponent) - 3;      // of the last bit
    const int units = static_cast<int>(std::nearbyint(std::ldexp(fraction, exponent - unit)));
    const int bits = units < 4 ? units : units + (unit + 16) * 4;
    return static_cast<int8_t>(sign + (bits > 0x7C ? 0x7C : bits));
  }
};
"""

# By step: file, what to find in it (nothing: its end), and what to put behind that.
RECIPE = {
    1: [
        ("include/leakyrelu/leakyrelu.h", "LEAKYRELU_FLOAT64 = 4,", "\n    LEAKYRELU_FLOAT8 = 5,"),
        (
            "include/leakyrelu/leakyrelu.hpp",
            "inline constexpr int dtype_of<double> = LEAKYRELU_FLOAT64;",
            "\nstruct float8 {\n  std::uint8_t bits;\n};\n"
            "template <>\ninline constexpr int dtype_of<float8> = LEAKYRELU_FLOAT8;",
        ),
    ],
    2: [("src/lanes-inl.h", "", LANES)],
    3: [
        (
            "src/dtypes.h",
            'X(LEAKYRELU_FLOAT64, "float64", FloatLanes<double>, 8, double, Double)',
            ' \\\n  X(LEAKYRELU_FLOAT8, "float8", Float8Lanes, 1, float, Float8_e5m2)',
        )
    ],
    4: [
        (
            "src/cuda/formats.h",
            "struct Format<LEAKYRELU_FLOAT64> : NativeFormat<double> {};",
            "\ntemplate <>\nstruct Format<LEAKYRELU_FLOAT8> {\n  using Storage = uint8_t;\n  using Math = float;\n"
            "  static float Widen(uint8_t bits);\n  static uint8_t Narrow(float v);\n};",
        )
    ],
    5: [
        ("tests/core/oracle.h", "enum class DType { kFloat16, kBFloat16, kFloat32, kFloat64", ", kFloat8"),
        (
            "tests/core/oracle.h",
            "DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64",
            ", DType::kFloat8",
        ),
        ("tests/core/oracle.h", '{"float64", 8, 11, 52}', ', {"float8", 1, 5, 2}'),
        (
            "tests/core/test_util.h",
            "switch (dtype) {",
            "\n    case oracle::DType::kFloat8:\n      return LEAKYRELU_FLOAT8;",
        ),
        (
            "tests/core/cuda_emulated.cc",
            "return NarrowAsOracle<oracle::DType::kBFloat16, uint16_t>(v); }",
            "\nfloat Format<LEAKYRELU_FLOAT8>::Widen(uint8_t bits) {\n"
            "  return WidenAsOracle<oracle::DType::kFloat8>(bits);\n}\n"
            "uint8_t Format<LEAKYRELU_FLOAT8>::Narrow(float v) {\n"
            "  return NarrowAsOracle<oracle::DType::kFloat8, uint8_t>(v);\n}",
        ),
        ("tests/core/hpp_test.cc", "IsOneOf<leakyrelu::float16,", " leakyrelu::float8,"),
    ],
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a tree with one dtype more."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("CMakeLists.txt", "CMakePresets.json", "cmake", "include", "src", "tests"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name)
        else:
            shutil.copy(ROOT / name, tree)
    for path, anchor, addition in (change for changes in RECIPE.values() for change in changes):
        text = (tree / path).read_text()
        assert not anchor or text.count(anchor) == 1, f"{path} has no longer one {anchor!r}"
        (tree / path).write_text(text.replace(anchor, anchor + addition) if anchor else text + addition)
    options = ("-DLEAKYRELU_BENCHMARKS=OFF", "-DLEAKYRELU_EXAMPLES=OFF")
    run("cmake", "-S", tree, "--preset", "dev", *options)
    programs = (
        "targets_test",
        "kernels_test",
        "fused_kernels_test",
        "driver_test",
        "fused_test",
        "cuda_emulated",
        "hpp_test",
        "api_test",
        "oracle_test",
    )
    run("cmake", "--build", tree / "build/dev", "--target", *programs)
    return tree / "build/dev/tests"


def passed(program: Path, tests: str) -> int:
    output = run(program, "--gtest_brief=1", f"--gtest_filter={tests}")
    found = re.search(r"PASSED  \] (\d+) test", output)
    assert found, output
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("oracle_test", "*EveryValueComesBack*"),
        ("targets_test", "*"),
        ("kernels_test", "*float8"),  # contiguous, every instruction set
        ("fused_kernels_test", "*float8"),
        ("driver_test", "*float8"),  # strided
        ("fused_test", "*float8"),
        ("cuda_emulated", "*float8"),  # both
        ("api_test", "*"),
        ("hpp_test", "*"),
    ],
)
def test_a_dtype_of_one_byte(build: Path, program: str, tests: str) -> None:
    assert passed(build / program, tests) > 0


def test_the_recipe_has_these_steps() -> None:
    """And it names all files of this test."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    recipe = re.search(r"^## Add a dtype\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert recipe
    steps = dict(re.findall(r"^(\d)\. (.*?)(?=^\d\. |\Z)", recipe[1], re.MULTILINE | re.DOTALL))
    assert list(steps) == [str(step) for step in RECIPE]
    for step, changes in RECIPE.items():
        for path, *_ in changes:
            assert f"`{path}`" in steps[str(step)], f"step {step} does not name {path}"
