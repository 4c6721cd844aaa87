"""Checks a built site without a network: every link inside it leads to a page and to a place in it.

    python docs/check_links.py docs/_build/html

Links to other sites are only looked at: they must be https. Pages must ask no other site for scripts, styles, fonts or
pictures, so that the site works offline.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Links, anchors and loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        found = dict(attributes)
        self.anchors |= {value for value in (found.get("id"), found.get("name")) if value}
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        target = found.get(LOADED.get(tag, "")) or (found.get("href") if tag == "link" else None)
        if target and found.get("rel") not in ("canonical",):
            self.loaded.append(target)


def faults(site: Path) -> Iterator[str]:
    """What is wrong, one line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        for link in page.links:
            yield from (f"{where}: {link}: {why}" for why in _fault(path, link, pages))
        for target in page.loaded:
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                yield f"{where}: {target}: is loaded from elsewhere"
            elif not target.startswith("data:") and not (path.parent / unquote(urlsplit(target).path)).exists():
                yield f"{where}: {target}: no such file"


def _fault(path: Path, link: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("https", "mailto"):
            yield "not https"
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target not in pages:
        if not target.exists():
            yield "no such page"
    elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors and parts.fragment != "top":
        yield "no such place in the page"


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1]).resolve()))
    sys.stdout.write("".join(f"{fault}\n" for fault in found) or "every link leads somewhere\n")
    sys.exit(bool(found))
