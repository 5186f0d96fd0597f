"""The plot to play with, in a headless browser: what it says of points of the curve."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/play/play.html"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")


def shown(address: str, tmp_path: Path) -> dict[str, str]:
    """The text of each element that has an id, once the page has drawn itself."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    result = subprocess.run([*command, f"{PAGE.as_uri()}#{address}"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = re.findall(r'<\w+ [^>]*id="([\w-]+)"[^>]*>([^<]*)<', result.stdout)
    return {name: html.unescape(text).replace("\u2212", "-").replace("\u00d7", "*") for name, text in found}


@pytest.mark.parametrize(
    ("address", "readout", "formula"),
    [
        ("", "x = -2, y = -0.4, dy/dx = 0.2, the bit that is kept: 0", "y = x > 0 ? x : x * 0.2"),
        ("x=3", "x = 3, y = 3, dy/dx = 1, the bit that is kept: 1", "y = x > 0 ? x : x * 0.2"),
        ("x=0&slope=-0.5", "x = 0, y = 0, dy/dx = -0.5, the bit that is kept: 0", "y = x > 0 ? x : x * -0.5"),
        (
            "x=-0.5&bias=1&scale=2",
            "x = -0.5, y = 1, dy/dx = 2, the bit that is kept: 1",
            "t = x + 1, y = (t > 0 ? t : t * 0.2) * 2",
        ),
        (
            "x=3&clamp=1.5",
            "x = 3, y = 1.5, dy/dx = 0, the bit that is kept: 1",
            "y = x > 0 ? x : x * 0.2, kept between ±1.5",
        ),
        ("slope=nonsense&y=7", "x = -2, y = -0.4, dy/dx = 0.2, the bit that is kept: 0", "y = x > 0 ? x : x * 0.2"),
    ],
)
def test_what_it_says(address: str, readout: str, formula: str, tmp_path: Path) -> None:
    texts = shown(address, tmp_path)
    assert texts["readout"] == readout
    assert texts["formula"] == formula


def test_it_needs_no_network() -> None:
    """But for the name of SVG's elements."""
    assert re.findall(r"https?://[^\"']+", PAGE.read_text()) == ["http://www.w3.org/2000/svg"]
