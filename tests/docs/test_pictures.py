"""The pictures of docs/pictures.py: what they say is what the pages say, and what was measured."""

import importlib.util
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def words(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_bars_and_table_have_the_same_figures() -> None:
    page = (DOCS / "pytorch.md").read_text()
    rows = re.findall(r"\| ([\d.]+) MiB \| ([\d.]+) MiB \|", page.split("saved.svg")[0])  # before the picture
    assert len(rows) == 5
    figures = [text.split(" ")[0] for text in words((DOCS / "saved.svg").read_text()) if re.match(r"\d+\.\d", text)]
    assert figures == [figure for row in rows for figure in row]


def test_bars_say_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch.nn")  # "torch" alone is found in the folder above
    matplotlib = pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec is not None and spec.loader is not None
    pictures: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", sys.path[:])
    spec.loader.exec_module(pictures)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = pictures.draw({"a": (100.0, 53.0), "b": (10.0, 10.2)})
        (axes,) = figure.axes
        assert sorted(bar.get_width() for bar in axes.patches) == [10.0, 10.2, 53.0, 100.0]
        file = io.StringIO()
        figure.savefig(file, format="svg")
    assert {"100.0", "53.0 (-47%)", "10.0", "10.2 (+2%)"} < set(words(file.getvalue()))


def test_pictures_are_small() -> None:
    for name in ("function", "saved", "kept"):
        assert (DOCS / f"{name}.svg").stat().st_size < 60_000
