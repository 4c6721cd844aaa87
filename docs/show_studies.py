"""Pictures of shipped studies for the gallery: the trade-off of each, as its page draws it.

    python docs/show_studies.py STORE.sqlite ...

A store is named like its study (``attnflow sweep studies/configs/NAME.yaml`` makes ``out/NAME.sqlite``). The browser is
Debian's chromium, through Playwright; pictures go to ``docs/pictures/studies``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from studies.report import write_report
from studies.store.store import Store
from studies.study.goals import Goals

SHOWN = Path(__file__).parent / "pictures" / "studies"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
VIEWPORT = {"width": 760, "height": 900}


def main(paths: list[Path]) -> None:
    """Draw the studies of some stores."""
    SHOWN.mkdir(parents=True, exist_ok=True)
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for path in paths:
            with Store(path) as store:
                rows = list(store.rows(path.stem))
                goals = Goals.of({path.stem: store.description(path.stem)})
            page = Path(folder) / f"{path.stem}.html"
            write_report(rows, page, path.stem, goals)
            tab = browser.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready]")
            tab.locator("#tradeoff .plot, #selected").first.screenshot(path=SHOWN / f"{path.stem}.png")
            tab.close()
        browser.close()


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
