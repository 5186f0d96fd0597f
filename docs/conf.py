"""What Sphinx builds out/docs from, by `./dev docs`: these pages and the docstrings."""

import re
import sys
from pathlib import Path

import leakyrelu

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

import headers  # noqa: E402

project = "leakyrelu"
author = "The leakyrelu authors"
version = release = leakyrelu.__version__
html_title = f"leakyrelu {release}"

extensions = [
    "myst_parser",  # the pages are Markdown
    "sphinx.ext.autodoc",  # the docstrings of Python
    "sphinx.ext.napoleon",  # in Google's style
    "sphinx.ext.viewcode",
    "sphinx_design",  # tabs
]
html_theme = "furo"  # light and dark, small screens, keyboards
html_show_sphinx = False
html_extra_path = ["play"]  # a page of its own, which works from the file system too
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 2
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False


def _of_the_sources(app: object, docname: str, source: list[str]) -> None:
    """A link to a file of the sources has nowhere to lead in the site: what it says stays, and a header comes in whole
    where its link is alone in a line."""
    text = re.sub(
        r"^\[[^\]]+\]\(\.\./(include/.+)\)$", lambda link: headers.page(ROOT / link[1]), source[0], flags=re.MULTILINE
    )
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./(?!docs/)[^)]+\)", r"`\1`", text)


def setup(app: object) -> None:
    app.connect("source-read", _of_the_sources)  # type: ignore[attr-defined]
