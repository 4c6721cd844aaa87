"""Runs the notebooks and keeps what they show: ``.ipynb`` files with pictures that any viewer has, and thumbnails.

    python docs/show_notebooks.py [NAME ...]

Plotly's figures are drawn by a browser (Debian's chromium, through Playwright) and kept as PNG; the figures themselves,
and the megabytes of plotly.js that draw them, are left out. What is written is in ``docs/notebooks``.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from playwright.sync_api import Page, sync_playwright
from plotly.offline import get_plotlyjs

SOURCES = Path(__file__).parents[1] / "studies" / "notebooks"
SHOWN = Path(__file__).parent / "notebooks"
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT = 900, 420
THUMBNAIL_WIDTH = 320
TIMEOUT_S = 1800
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def executed(name: str) -> nbformat.NotebookNode:
    """A notebook with its outputs, run in a folder of its own."""
    notebook = jupytext.read(SOURCES / f"{name}.py")
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": folder}}).execute()
    return notebook


def figures(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """Outputs that are figures of Plotly."""
    for cell in notebook.cells:
        yield from (output for output in cell.get("outputs", []) if PLOTLY in output.get("data", {}))


def is_script(output: nbformat.NotebookNode) -> bool:
    """Whether an output shows nothing by itself: plotly.js, which figures are drawn with."""
    return str(output.get("data", {}).get("text/html", "")).lstrip().startswith("<script")


def drawn(page: Page, figure: dict[str, object], width: int = WIDTH) -> bytes:
    """A figure as PNG."""
    layout = dict(figure.get("layout") or {}) | {"width": WIDTH, "autosize": False}
    layout.setdefault("height", HEIGHT)
    page.evaluate(
        "([data, layout]) => Plotly.newPlot('plot', data, layout, {staticPlot: true})", [figure["data"], layout]
    )
    if width == WIDTH:
        return page.locator("#plot").screenshot()
    page.evaluate(f"document.body.style.zoom = {width / WIDTH}")
    try:
        return page.locator("#plot").screenshot()
    finally:
        page.evaluate("document.body.style.zoom = 1")


def show(name: str, page: Page) -> None:
    """Write a notebook with pictures, and the picture of its last figure as a thumbnail."""
    notebook = executed(name)
    thumbnail = b""
    for output in figures(notebook):
        figure = json.loads(json.dumps(output.data[PLOTLY]))
        output.data = {"image/png": base64.b64encode(drawn(page, figure)).decode()}
        thumbnail = drawn(page, figure, THUMBNAIL_WIDTH)
    for i, cell in enumerate(notebook.cells):
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not is_script(output)]
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data.pop("text/plain", None)  # the same for terminals, at length
        cell["id"] = f"{name.replace('_', '-')}-{i}"  # else chosen at random
        cell.get("metadata", {}).pop("execution", None)
    nbformat.write(notebook, SHOWN / f"{name}.ipynb")
    (SHOWN / f"{name}.png").write_bytes(thumbnail)


def main(names: list[str]) -> None:
    """Show some notebooks, or all."""
    SHOWN.mkdir(exist_ok=True)
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH + 40, "height": 1400})
        page.set_content("<body style='margin:0;background:#fff'><div id='plot'></div></body>")
        page.add_script_tag(content=get_plotlyjs())
        for name in names or sorted(path.stem for path in SOURCES.glob("*.py")):
            show(name, page)
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
