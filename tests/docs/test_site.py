"""The site that ./dev docs has built: every local link and anchor leads somewhere."""

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).parents[2] / "out/docs"


class Page(HTMLParser):
    """The links of a page and the anchors that it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            elif name == "id" and value:
                self.anchors.add(value)


def lost(site: Path) -> list[str]:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    found = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchors = pages[target].anchors if target in pages else set()
            # "#" alone is the top.
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                found.append(f"{file.relative_to(site)}: {link}")
    return found


@pytest.mark.skipif(not SITE.exists(), reason="./dev docs has not been run")
def test_every_link_of_the_site_leads_somewhere() -> None:
    assert (SITE / "index.html").exists()
    assert lost(SITE) == []


def test_a_lost_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">x</a> <a href="#">x</a> <a href="https://a.b/c">x</a>')
    (tmp_path / "b.html").write_text('<p id="here"></p> <a href="c.html">x</a> <img src="a.html#gone">')
    assert sorted(lost(tmp_path.resolve())) == ["b.html: a.html#gone", "b.html: c.html"]
