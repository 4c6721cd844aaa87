"""A real browser without a network; tests are skipped where there is none."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from studies.points.outcome import Row
from studies.report import write_report
from studies.study.goals import Goals
from studies.study.resolve import read_study

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# hints about speed that Chromium gives where WebGL runs on the processor
HARMLESS = ("GL Driver Message", "Canvas2D: Multiple readback operations")


@pytest.fixture(scope="session")
def browser():
    """Chromium, started once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra 'dev'")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no browser: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Visit:
    """A page that is open, with everything it asked for and complained about."""

    def __init__(self, context, path):
        self.requests = []
        self.complaints = []
        self.path = path
        context.route("**/*", self._note)
        self.page = context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._refuse)

    def _note(self, route):
        self.requests.append(route.request.url)
        route.continue_()

    def _listen(self, message):
        if message.type in ("error", "warning") and not any(each in message.text for each in HARMLESS):
            self.complaints.append(f"{message.type}: {message.text}")

    def _refuse(self, dialog):
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def load(self):
        """Go to the page and wait until every view is there."""
        self.page.goto(self.path.as_uri())
        self.page.wait_for_selector("html[data-complete]", timeout=600_000)
        return self.page

    def text(self, selector):
        """Visible text of an element, spaces contracted."""
        return " ".join(self.page.inner_text(selector).split())

    def check_silence(self):
        """Nothing went wrong and nothing but the file itself was asked for."""
        assert self.complaints == []
        assert set(self.requests) <= {self.path.as_uri()}


@pytest.fixture
def chips(tmp_path):
    """Four designs on two chips, as a sweep leaves them, and what their study is after."""
    from studies.families.attempt import attempt

    path = tmp_path / "two.yaml"
    path.write_text(
        "name: two\nalgorithm: flash.q_outer\nworkload: {preset: llama3-8b, seq_len: 512}\ntiming_only: true\n"
        "objectives: [seconds, energy_j]\naxes:\n  chip: [h100, tpu_v5e]\n  overlap: [serial, ping_pong]\n"
    )
    study = read_study(path)
    when = "2026-01-02T03:04:05.000+00:00"
    outcomes = [attempt(point) for point in study.points]
    # how long that took, which decides what a page explains, is another each time
    outcomes = [replace(done, wall_s=0.01, metrics={**done.metrics, "wall_s": 0.01}) for done in outcomes]
    numbered = enumerate(zip(study.points, outcomes, strict=True))
    rows = [Row("two", i, point, done, 1, when, {"commit": "ab"}) for i, (point, done) in numbered]
    return rows, Goals.of({"two": study.describe()})


@pytest.fixture
def unfinished(browser, chips, tmp_path):
    """A page about chips that never goes on after its first pause: whoever prints it has to finish it."""
    rows, goals = chips
    path = tmp_path / "unfinished.html"
    write_report(rows, path, "A study", goals)
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.add_init_script("window.setTimeout = () => 0")
        page.goto(path.as_uri())
        yield page


@pytest.fixture
def visit(browser, tmp_path):
    """Function that writes a report and opens it; afterwards the page must have been silent."""
    visits = []

    def open_report(rows, title="A study", *, width=1400, dark=False, load=True, goals=None, policed=False):
        path = tmp_path / f"report-{len(visits)}.html"
        write_report(rows, path, title, goals)
        context = browser.new_context(
            offline=True,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
            bypass_csp=not policed,  # waiting for an expression evaluates text in the page
        )
        visits.append(Visit(context, path))
        if load:
            visits[-1].load()
        return visits[-1]

    yield open_report
    for each in visits:
        each.check_silence()
        each.page.context.close()
