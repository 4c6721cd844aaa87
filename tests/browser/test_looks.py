"""Every section looks as approved: wide, on a phone, in the dark and on paper; and a PDF has every chart.

``make approve`` takes the present looks for right, and leaves pictures of all sections in ``out/looks`` to be looked at
first.
"""

import os
import re
import zlib
from pathlib import Path

import pytest

from studies.report import write_report
from tests.browser.looks import LOOKS, TAKE, approve, approved_looks, differences

pytestmark = pytest.mark.browser

APPROVING = "ATTNFLOW_APPROVE"
PICTURES = Path(__file__).parents[2] / "out" / "looks"


IN_FONT = """
new MutationObserver((_, observer) => {
  if (!document.head) return;
  observer.disconnect();
  const style = document.createElement("style");
  style.textContent = "* { font-family: %s !important }";
  document.head.append(style);
}).observe(document, { childList: true, subtree: true });
"""


def grid(make_row):
    """Points with a front, a deadlock, a failure and one that is pending."""
    rows = []
    for i in range(12):
        depth, lanes = 2 + i % 4, 2 ** (i % 3)
        rows.append(make_row(i, cycles=4000 // lanes + 300 // depth, depth=depth, parameters={"lanes": lanes}))
    one = {"lanes": 1}
    rows.append(make_row(12, depth=1, deadlock=True, parameters=one))
    rows.append(make_row(13, depth=90, status="failed", error="MemoryError: 90 is too deep", parameters=one))
    rows.append(make_row(14, depth=91, status="pending", parameters=one))
    return rows


@pytest.fixture(params=["chips", "fifos"])
def written(request, tmp_path):
    """A page about chips or about FIFOs: its name and its file."""
    path = tmp_path / "page.html"
    if request.param == "chips":
        rows, goals = request.getfixturevalue("chips")
        write_report(rows, path, "Two chips", goals)
    else:
        write_report(grid(request.getfixturevalue("make_row")), path, "Depths and lanes")
    return request.param, path


def opened(browser, path, look, font=None):
    """The page at a width, in a theme, on a medium; complete."""
    width, scheme, medium = LOOKS[look]
    context = browser.new_context(
        offline=True,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        bypass_csp=True,
        reduced_motion="reduce",
    )
    page = context.new_page()
    if font:
        page.add_init_script(IN_FONT % font)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-complete]", timeout=600_000)
    if medium == "print":
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page


def keep_pictures(page, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for section in page.locator("main > section").all():
        if section.is_visible():
            section.screenshot(path=folder / f"{section.get_attribute('id')}.png", animations="disabled")


@pytest.mark.parametrize("look", LOOKS)
def test_every_section_looks_as_approved(browser, written, look):
    name, path = written
    page = opened(browser, path, look)
    present = page.evaluate(TAKE)
    pictures = PICTURES / f"{name}-{look}"
    if os.environ.get(APPROVING):
        keep_pictures(page, pictures)
        approve(name, look, present)
    approved = approved_looks(name, look)
    found = [f"section {each} was approved and is gone" for each in approved if each not in present]
    found += [f"section {each} is new" for each in present if each not in approved]
    for section in approved:
        if section in present:
            found += differences(section, approved[section], present[section])
    if found:
        keep_pictures(page, pictures)
    page.context.close()
    assert not found, "\n".join([*found[:40], f"see {pictures}; if that is right: make approve"])


@pytest.mark.parametrize("look", ["wide", "phone"])
def test_another_font_is_no_other_look(browser, written, look):
    name, path = written
    page = opened(browser, path, look, font="monospace")
    assert page.evaluate("getComputedStyle(document.querySelector('.plot text')).fontFamily") == "monospace"
    present = page.evaluate(TAKE)
    page.context.close()
    approved = approved_looks(name, look)
    assert set(present) == set(approved)
    assert [line for each in approved for line in differences(each, approved[each], present[each])] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("document.querySelector('#tradeoff .point').remove()", "marks"),
        ("document.querySelector('#tradeoff .point').style.fill = 'rgb(1,2,3)'", "rgb(1,2,3)"),
        ("document.querySelector('#tradeoff .point').setAttribute('transform', 'translate(3,3)')", "marks"),
        ("document.querySelector('#tradeoff h2').textContent = 'Trade'", "words"),
        ("document.querySelector('#tradeoff').style.display = 'none'", None),
        ("document.querySelector('main').style.width = '600px'", "width"),
        ("document.querySelector('.plot').firstChild.remove()", "charts"),
        ("document.querySelector('#tradeoff').style.background = 'rgb(9,9,9)'", "ground"),
    ],
)
def test_what_looks_otherwise_is_told(browser, chips, tmp_path, change, told):
    rows, goals = chips
    path = tmp_path / "page.html"
    write_report(rows, path, "Two chips", goals)
    page = opened(browser, path, "wide")
    before = page.evaluate(TAKE)
    assert [line for each in before for line in differences(each, before[each], page.evaluate(TAKE)[each])] == []
    page.evaluate(f"() => {{ {change}; }}")
    after = page.evaluate(TAKE)
    page.context.close()
    if told is None:
        assert set(before) - set(after) == {"tradeoff"}
    else:
        lines = [line for each in after for line in differences(each, before[each], after[each])]
        assert any(told in line for line in lines), lines


def drawn_in_pdf(document):
    """How many paths a PDF fills or strokes, and what its figures are called."""
    painted = 0
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL):
        try:
            text = zlib.decompress(stream)
        except zlib.error:
            continue
        if b" re\n" in text or b" m\n" in text or b" l\n" in text:
            painted += len(re.findall(rb"^(?:f\*?|F|S|s|B\*?|b\*?)\s*$", text, re.MULTILINE))
    return painted, re.findall(rb"/Alt\s*(?:\((.*?)\)|<([0-9A-Fa-f]+)>)", document, re.DOTALL)


def test_a_pdf_of_the_page_has_all_charts(browser, chips, tmp_path):
    rows, goals = chips
    path = tmp_path / "page.html"
    write_report(rows, path, "Two chips", goals)
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-complete]", timeout=600_000)
    charts = page.locator(".plot .main-svg:first-child").count()
    marks = page.locator(".plot .scatterlayer path, .plot .barlayer path").count()
    assert charts == page.locator(".plot").count() > 4
    complete, _ = drawn_in_pdf(page.pdf())
    page.add_style_tag(content=".plot .main-svg { display: none !important }")
    empty, _ = drawn_in_pdf(page.pdf())
    context.close()
    assert complete - empty >= marks > 0
