"""The page as it reaches people: on paper, without a mouse, without sight, in the dark, under its own policy."""

import itertools

import pytest

from studies.cli import main

pytestmark = pytest.mark.browser

CONTRAST = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0.5) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!words.length || !box.width || !box.height || element.closest("script, .unseen, noscript")) continue;
    const style = getComputedStyle(element);
    if (style.visibility === "hidden" || Number(style.opacity) === 0) continue;
    const inChart = element.closest("svg");
    const ink = numbers(inChart ? style.fill : style.color);
    const ground = behind(inChart ? element.closest(".plot") : element);
    // a badge in a chart has a box of its own below its letter
    const badge = inChart && element.closest(".annotation")?.querySelector("rect.bg");
    const boxed = badge && Number(getComputedStyle(badge).fillOpacity) > 0.5;
    const paper = boxed ? numbers(getComputedStyle(badge).fill) : ground;
    const [high, less] = [luminance(ink), luminance(paper)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (less + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
      low.push(`${element.getAttribute("class")} "${words[0].textContent.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return low;
}"""
UNREACHED = """() => {
  const wanted = "a[href], button, select, input, summary, .modebar-btn";
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  return [...document.querySelectorAll(wanted)].filter((element) => seen(element) && !element.dataset.met)
    .map((element) => `${element.tagName} ${element.textContent || element.getAttribute("aria-label")}`);
}"""


def test_the_page_keeps_to_its_own_policy(visit, chips):
    rows, goals = chips
    opened = visit(rows, goals=goals, policed=True)
    page = opened.page
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert "unsafe-eval" not in policy
    assert page.locator("[data-view]").count() == page.locator("[data-view][data-ready]").count() > 8
    assert page.locator(".plot .main-svg:first-child").count() == page.locator(".plot").count() > 4
    page.locator("#tradeoff select").nth(0).select_option("seconds")
    page.locator("#sensitivity select").first.select_option("overlap")


def test_paper_has_every_chart_although_nothing_had_been_drawn(unfinished, chips):
    rows, _ = chips
    page = unfinished
    assert page.locator("html[data-ready]").count() == 0
    drawn = page.evaluate(
        """() => {
          window.dispatchEvent(new Event("beforeprint"));
          return new Promise((resolve) => queueMicrotask(() => queueMicrotask(() => resolve(null))));
        }"""
    )
    assert drawn is None
    assert page.locator("html[data-ready]").count() == 1
    assert page.locator("[data-view]").count() == page.locator("[data-view][data-ready]").count() > 8
    assert page.locator(".plot .main-svg:first-child").count() == page.locator(".plot").count() > 4
    assert page.locator("#energy .track").count() == len(rows)


def test_whoever_cannot_see_a_chart_is_told_what_it_is(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    said = page.locator(".main-svg:first-child").evaluate_all(
        "charts => charts.map(chart => [chart.getAttribute('role'), chart.getAttribute('aria-label')])"
    )
    assert said
    assert all(role == "img" and label for role, label in said)
    assert any("Time over Energy" in label for _, label in said)
    assert page.locator("canvas:not([aria-label])").count() == 0


def test_the_keyboard_reaches_every_control(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    controls = page.locator("a[href], button, select, input, summary, .modebar-btn").count()
    for _ in range(2 * controls + 40):
        page.keyboard.press("Tab")
        done = page.evaluate(
            "() => { const at = document.activeElement; const again = at.dataset?.met; "
            "if (at.dataset) at.dataset.met = 'yes'; return Boolean(again) && at !== document.body; }"
        )
        if done:
            break
    assert page.evaluate(UNREACHED) == []
    page.locator("tr[data-point='1'] .pick").focus()
    before = page.evaluate("attnflow.model.selected.length")
    page.keyboard.press("Enter")
    assert page.evaluate("attnflow.model.selected.length") == before - 1
    page.locator(".about summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".about[open] .lead").first.is_visible()


PAPER_PX = 703
"""Pixels of 96 to the inch between the margins of A4."""


def test_charts_of_a_wide_window_are_as_wide_as_paper_when_it_is_printed(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals, width=1400).page
    widths = "[...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot._fullLayout.width)"
    before = page.evaluate(widths)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    printed = page.evaluate(widths)
    parallel = page.locator("canvas.parallel").evaluate("canvas => canvas.clientWidth")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.wait_for_timeout(500)
    assert max(before) > PAPER_PX >= max(*printed, parallel)
    assert page.evaluate(widths) == before


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(visit, chips, dark):
    rows, goals = chips
    page = visit(rows, goals=goals, dark=dark).page
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate(CONTRAST) == []


def test_metrics_have_names_and_units_and_settings_are_as_they_are_typed(visit, chips):
    rows, goals = chips
    opened = visit(rows, goals=goals)
    page = opened.page
    heads = page.locator("table.points thead tr:first-child th").all_inner_texts()
    assert {"Time", "Energy", "Die area [mm²]", "Matrix busy", "chip", "overlap"} <= set(heads)
    assert not any("_" in head or head.endswith("[s]") for head in heads)
    assert "Lowest time" in opened.text("#answer")
    assert "energy_j" not in opened.text("main")
    ticks = page.locator("#tradeoff .ytick text").all_text_contents()
    assert ticks
    assert all(tick.endswith("s") for tick in ticks)


def test_dots_wear_the_axis_that_matters_most_and_the_front_has_names(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    assert page.locator("#tradeoff select").nth(2).input_value() == "chip"
    texts = page.evaluate("document.querySelector('#tradeoff .plot').layout.annotations.map(each => each.text)")
    names = {row.point.chip.accelerator.name for row in rows}
    assert names & set(texts), "the front says which chip"
    roofline = page.locator("#roofline .textpoint text").all_text_contents()
    assert any(text.startswith("A ") and text[2:] in names for text in roofline)


def test_energy_has_the_same_colours_whatever_memories_are_called(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    entries = page.locator("#energy .legend-entry").evaluate_all(
        "entries => entries.map(each => [each.textContent, each.querySelector('i').style.getPropertyValue('--hue')])"
    )
    hues = dict(entries)
    assert len(set(hues.values())) == len(hues)
    assert hues["matrix arrays"] == "var(--blue)"
    assert hues["main memory"] == "var(--vermillion)"
    assert hues["leakage, standby and refresh"] == "var(--faint)"


def test_the_front_alone_can_be_kept_and_the_first_column_stays(visit, chips):
    rows, goals = chips
    opened = visit(rows, goals=goals)
    page = opened.page
    front = page.evaluate("attnflow.model.front.flatMap((kept, point) => kept ? [point] : [])")
    page.get_by_label("front only").check()
    assert page.evaluate("attnflow.model.matching") == front
    assert opened.text(".count") == f"{len(front)} of {len(rows)} points"
    page.click("#filter-note button")
    assert page.evaluate("attnflow.model.matching") == list(range(len(rows)))
    left = "document.querySelector('tr[data-point] th').getBoundingClientRect().left"
    before = page.evaluate(left)
    page.locator(".scroll.tall").evaluate("element => { element.scrollLeft = 300 }")
    assert page.evaluate(left) == pytest.approx(before, abs=1)


def test_all_sections_are_named_in_the_bar(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    bar = page.locator(".bar-inner").bounding_box()
    boxes = [link.bounding_box() for link in page.locator(".bar nav a").all()]
    button = page.locator("#theme").bounding_box()
    assert all(bar["y"] <= box["y"] and box["x"] + box["width"] <= button["x"] for box in boxes)
    for one, other in itertools.pairwise(boxes):
        assert other["x"] >= one["x"] + one["width"] - 1 or other["y"] > one["y"]


def test_selected_designs_say_what_would_make_them_faster(visit, chips):
    rows, goals = chips
    opened = visit(rows, goals=goals)
    told = opened.text("#levers")
    assert "Best lever of the chip" in told
    assert opened.page.locator("#levers table tbody tr").count() > 2


def test_the_lists_of_the_provenance_are_one_below_the_other(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    lefts = page.locator("#origin dd").evaluate_all("values => values.map(value => value.getBoundingClientRect().left)")
    assert len(lefts) > 6 and len(set(lefts)) == 1
    terms = page.locator("#origin dt").all_inner_texts()
    assert len(terms) == len(lefts) and all(page.locator("#origin dd").all_inner_texts()), "no term without a value"


def test_a_comparison_fits_a_phone(browser, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ("h100", "tpu_v5p")
    for chip in names:
        run = ["run", "decode.split_kv", "--chip", chip, "--workload", "llama3-8b", "--context", "1024"]
        assert main([*run, "--timing-only", "--json"]) == 0
        (tmp_path / f"{chip}.json").write_text(capsys.readouterr().out)
    assert main(["compare", *(f"{chip}.json" for chip in names), "-o", "page.html", "-q"]) == 1
    context = browser.new_context(viewport={"width": 420, "height": 800}, offline=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("html[data-complete]", timeout=600_000)
    tables = page.locator("#difference table.plain").evaluate_all("all => all.map(each => each.scrollWidth)")
    assert max(tables) > 420, "what is wider is scrolled"
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    context.close()
