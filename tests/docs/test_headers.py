"""What docs/headers.py makes of the headers: every public name with its comment and its declaration."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INCLUDE = ROOT / "include/leakyrelu"

spec = importlib.util.spec_from_file_location("headers", ROOT / "docs/headers.py")
assert spec is not None and spec.loader is not None
headers: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(headers)


def names(header: str) -> list[str]:
    return [name for entry in headers.entries((INCLUDE / header).read_text()) for name in entry.names]


@pytest.mark.parametrize("header", ["leakyrelu.h", "cuda.h"])
def test_every_name_of_c_is_there_once(header: str) -> None:
    text = (INCLUDE / header).read_text()
    public = re.findall(r"^LEAKYRELU_API .*?(leakyrelu_\w+)\(|^\} (leakyrelu_\w+);", text, re.MULTILINE)
    found = names(header)
    assert len(public) >= 3
    assert {function or struct for function, struct in public} <= set(found)
    assert len(found) == len(set(found))


def test_every_name_of_cpp_is_there_and_nothing_of_its_inside() -> None:
    found = names("leakyrelu.hpp")
    functions = ["mask_bytes", "forward", "forward", "backward"]
    concepts = ["Element", "ContiguousRange", "MdspanLike", "View", "WritableView"]
    fused = ["Bias", "FusedOptions", "fused_forward", "fused_backward"]
    assert found == ["float16", "bfloat16", "dtype_of", *concepts, *functions, *fused, "Array", "Vector", "LeakyReLU"]
    assert names("torch.hpp") == ["leaky_relu", "LeakyReLUOptions", "LeakyReLUImpl", "LeakyReLU"]
    page = headers.page(INCLUDE / "leakyrelu.hpp")
    assert "```cpp\ninline std::size_t mask_bytes(std::size_t elements);\n```\n\nceil(elements / 8)." in page
    for inside in (r"return \w+;", "private:", "NOLINT", "namespace", "#include", "owned_"):
        assert not re.search(inside, page)


def test_what_is_set_in_columns_stays_so() -> None:
    page = headers.page(INCLUDE / "leakyrelu.h")
    forward = page[page.index("### `leakyrelu_forward`") : page.index("### `leakyrelu_backward`")]
    assert "\ny == NULL       fills the mask alone. mask == NULL keeps none. Not both.\n" in forward
    assert "y = x > 0 ? x : x \\* negative\\_slope, and bit i % 8" in forward, "a * of Markdown's own would be lost"
    assert "Each status other than `LEAKYRELU_OK` was found" in page


def test_parameters_stay_in_line() -> None:
    (forward,) = [
        entry
        for entry in headers.entries((INCLUDE / "cuda.h").read_text())
        if entry.names == ["leakyrelu_cuda_forward"]
    ]
    first, *more = forward.code.splitlines()
    assert len(more) == 2
    assert {len(line) - len(line.lstrip()) for line in more} == {first.index("(") + 1}
