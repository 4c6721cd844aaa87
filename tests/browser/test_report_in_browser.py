"""The page of a report in a browser that has no network: it draws, sorts, filters, selects, and stays silent."""

import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest

from algorithms.workload.one_head import ONE_HEAD
from algorithms.workload.shape import Workload
from studies import Study
from studies.families.attempt import attempt
from studies.families.chip.evaluation import ChipDetail
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.outcome import Row
from studies.points.point import DesignPoint
from studies.study.goals import Constraint, Goals

pytestmark = pytest.mark.browser

HANG_MS = 600_000
NOTE_WHAT_IS_THERE_WHEN_IT_OPENS = """
new MutationObserver(() => {
  if (!document.documentElement.dataset.open || window.atOpen) return;
  const views = [...document.querySelectorAll("[data-view]")];
  const waiting = views.filter((view) => !view.dataset.ready);
  const inSight = ({ top, bottom }) => bottom > 0 && top < window.innerHeight;
  window.atOpen = {
    ready: views.length - waiting.length,
    waiting: waiting.length,
    waitingInSight: waiting.filter((view) => inSight(view.getBoundingClientRect())).length,
  };
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-open"] });
"""
NEIGHBOURS = 40
LEAST_BYTES = 4_500_000
SHIPPED = Path(__file__).parents[2] / "studies" / "configs"
HOSTILE = "<b>bold</b><img src=x onerror=alert(1)><script>alert(2)</script>&lt;"


def sweep(make_row, count=40):
    """Points of three axes with a front, two deadlocks, a failure and a pending point."""
    rows = []
    for i in range(count - 4):
        depth, lanes, mode = 2 + i % 6, 2 ** (i % 4), "row" if i % 3 else "scalar"
        cycles = 4000 // lanes + 300 // depth + (50 if mode == "row" else 0)
        rows.append(make_row(i, cycles=cycles, depth=depth, parameters={"lanes": lanes, "mode": mode}))
    both = {"lanes": 1, "mode": "row"}
    rows += [make_row(count - 4 + i, depth=1 + i, deadlock=True, parameters=both) for i in range(2)]
    rows.append(make_row(count - 2, depth=90, status="failed", error="MemoryError: 90 is too deep", parameters=both))
    rows.append(make_row(count - 1, depth=91, status="pending", parameters=both))
    return rows


def column(page, name):
    """Texts of a column of the table, from top to bottom, as far as its rows exist."""
    filters = page.locator("table.points thead tr.filters th").evaluate_all(
        "heads => heads.map(head => head.querySelector('input')?.dataset.column ?? '#')"
    )
    place = filters.index(name) + 1
    texts = page.locator(f"table.points tbody tr[data-point] > :nth-child({place})").all_inner_texts()
    return [text.removesuffix("◆") for text in texts]


def numbers(texts):
    return [float(text.replace(",", "")) for text in texts if text != "–"]


def set_filter(page, name, text):
    page.fill(f'table.points input[data-column="{name}"]', text)


# --- loading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_section_draws_at_every_width(visit, make_row, dark):
    page = visit(sweep(make_row), dark=dark).page
    assert page.locator("[data-view]").count() == page.locator("[data-view][data-ready]").count() > 5
    drawn = page.locator(".plot .main-svg:first-child").count()
    assert drawn == page.locator(".plot").count() > 4
    too_wide = (
        "[...document.querySelectorAll('.plot')].filter(e => e.firstChild.scrollWidth > e.clientWidth + 1).length"
    )
    for width in (1400, 800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"{too_wide} === 0")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"


def test_real_points_show_stalls_and_fifos(visit, real_rows):
    opened = visit(real_rows)
    assert "deadlock" in opened.text("#selected")
    assert "weights_fifo" in opened.text("#fifos")
    stacks = opened.page.locator("#stalls .stack")
    names = stacks.first.locator(".stack-name").all_text_contents()
    assert names == [unit.name for unit in real_rows[1].outcome.detail.result.units]
    filled = "each => [...each.children].reduce((sum, part) => sum + part.offsetWidth, 0) / each.clientWidth"
    widths = stacks.first.locator(".track").evaluate_all(f"tracks => tracks.map({filled})")
    assert widths == pytest.approx([1.0] * len(names), abs=0.02), "every bar is all cycles"
    stacks.first.locator(".part").first.hover()
    busy = real_rows[1].outcome.detail.result.units[0].busy_cycles
    assert f"busy {busy:,} cycles" in opened.text("#card")


def test_critical_paths_are_bars_and_words_and_others_a_command(visit, make_row, real_rows):
    later = [dataclasses.replace(row, position=3 + i) for i, row in enumerate(sweep(make_row))]
    opened = visit(real_rows)
    said = opened.text("#critical-path")
    assert "No critical path: the design deadlocks." in said
    bars = opened.page.locator("#critical-path .track")
    assert bars.count() == 2, "one for each point that runs"
    assert "% row_sum at work" in said
    many = visit(later)
    many.page.click('tr[data-point="5"] td:nth-child(4)')
    many.page.wait_for_selector("#critical-path .command")
    assert many.text("#critical-path .command code").startswith("attnflow explain sdpa.naive")


@pytest.fixture
def real_rows():
    """Three points that the simulator ran: one deadlocks, one is throttled, one runs at full rate."""
    algorithm = find_algorithm("sdpa.naive")
    workload = ONE_HEAD.with_(q_len=16, kv_len=16, head_dim=4, v_head_dim=4)
    rows = []
    for i, depth in enumerate((12, 16, 20)):
        point = DesignPoint("sdpa.naive", workload, complete_parameters(algorithm, {"long_depth": depth}))
        rows.append(Row("real", i, point, attempt(point), 1, "2026-01-02T03:04:05.000+00:00", {"commit": "ab"}))
    assert [row.outcome.metrics["deadlock"] for row in rows] == [True, False, False]
    return rows


@pytest.fixture(scope="module")
def large_study():
    """The shipped study of 10,080 chips; few points are simulated, their neighbours resemble them."""
    study = Study.from_yaml(SHIPPED / "decode-h100.yaml")
    rows = []
    for i, point in enumerate(study.points):
        if i % NEIGHBOURS == 0:
            simulated = attempt(point)
            assert simulated.status == "done"
        stretch = 1 + 1e-3 * (i % NEIGHBOURS)
        metrics, told = (stretched(part, stretch) for part in (simulated.metrics, simulated.detail.to_json()))
        detail = ChipDetail.from_json(point, told)
        outcome = dataclasses.replace(simulated, key=point.key, metrics=metrics, detail=detail)
        rows.append(Row(study.name, i, point, outcome, 1, "2026-01-02T03:04:05.000+00:00", {"commit": "ab"}))
    return rows, Goals.of({study.name: study.describe()})


def stretched(value, factor):
    """Plain JSON values with all numbers but counts multiplied, so that no two points pack into the same bytes."""
    if isinstance(value, dict):
        return {name: stretched(each, factor) for name, each in value.items()}
    if isinstance(value, list):
        return [stretched(each, factor) for each in value]
    return value * factor if isinstance(value, float) else value


def test_ten_thousand_points_show_what_is_in_sight_first_and_scroll(visit, large_study):
    rows, goals = large_study
    opened = visit(rows, load=False, goals=goals)
    assert opened.path.stat().st_size > LEAST_BYTES, "lighter than the page of a sweep"
    page = opened.page
    page.set_viewport_size({"width": 1400, "height": 3000})
    page.add_init_script(NOTE_WHAT_IS_THERE_WHEN_IT_OPENS)
    page.goto(opened.path.as_uri())
    page.wait_for_selector("html[data-complete]", timeout=HANG_MS)
    first = page.evaluate("window.atOpen")
    page.set_viewport_size({"width": 1400, "height": 900})
    assert first["ready"] >= 1 and first["waiting"] > first["ready"], "what is in sight comes first"
    assert first["waitingInSight"] == 0
    assert page.locator("[data-view]").count() == page.locator("[data-view][data-ready]").count() > 10
    assert page.evaluate("document.querySelectorAll('*').length") < len(rows), "no element for every point"

    dots = page.evaluate("document.querySelector('#tradeoff .plot').data.flatMap(trace => trace.customdata ?? [])")
    front = page.evaluate("attnflow.model.front.flatMap((kept, point) => kept ? [point] : [])")
    assert len(dots) < len(rows), "dots that cover each other are one"
    assert set(front) <= set(dots)
    assert opened.text(".count") == f"{len(rows):,} points"
    assert page.locator("table.points tbody tr").count() < 100, "rows out of sight must not exist"

    scroll = page.locator(".scroll.tall")
    scroll.evaluate("element => { element.scrollTop = element.scrollHeight }")
    page.wait_for_selector(f'tr[data-point="{len(rows) - 1}"]')
    assert column(page, "#")[-1] == f"#{len(rows) - 1}"
    set_filter(page, "chip.clock_hz", "> 2 GHz")
    fast = [i for i, row in enumerate(rows) if row.point.chip.accelerator.clock_hz > 2e9]
    page.wait_for_function(f"document.querySelector('.count').textContent.startsWith('{len(fast):,} of')")
    assert page.evaluate("attnflow.model.matching") == fast
    assert set(column(page, "chip.clock_hz")) == {"2.2 GHz"}


# --- the table --------------------------------------------------------------------------------------


def test_headings_sort(visit, make_row):
    opened = visit(sweep(make_row))
    page = opened.page
    head = page.locator("table.points thead button", has_text=re.compile("^Cycles"))
    head.click()
    ascending = numbers(column(page, "cycles"))
    assert ascending == sorted(ascending)
    assert len(set(ascending)) > 5
    head.click()
    assert numbers(column(page, "cycles"))[0] == max(ascending)
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Cycles")
    page.locator(".scroll.tall").evaluate("element => { element.scrollTop = element.scrollHeight }")
    page.wait_for_function("document.querySelector('tr[data-point]:nth-last-child(2) .state')")
    assert column(page, "cycles")[-1] == "–", "points without a value come last either way"
    page.locator("table.points thead button", has_text="mode").click()
    assert column(page, "mode")[0] == "row"


FILTERS = [
    ("lanes", "8", lambda row: row["lanes"] == 8),
    ("lanes", ">=4", lambda row: row["lanes"] >= 4),
    ("lanes", "2..4", lambda row: 2 <= row["lanes"] <= 4),
    ("lanes", "1, 8", lambda row: row["lanes"] in (1, 8)),
    ("lanes", "!1", lambda row: row["lanes"] != 1),
    ("mode", "scal", lambda row: row["mode"] == "scalar"),
    ("mode", "=row", lambda row: row["mode"] == "row"),
    ("fifo.capacity_bytes", "<= 0.03 KiB", lambda row: 8 * row["fifo_depth"] <= 30.72),
    ("fifo.capacity_bytes", "24 B", lambda row: row["fifo_depth"] == 3),
    ("state", "deadlock", lambda row: row["state"] == "deadlock"),
    ("reason", "too deep", lambda row: row["state"] == "failed"),
]


def test_filters_select(visit, make_row):
    rows = sweep(make_row)
    described = [
        dict(row.point.parameters)
        | {"state": "deadlock" if row.outcome.metrics.get("deadlock") else row.outcome.status}
        for row in rows
    ]
    opened = visit(rows)
    page = opened.page
    for name, text, expected in FILTERS:
        wanted = [i for i, row in enumerate(described) if expected(row)]
        set_filter(page, name, text)
        assert opened.text(".count") == f"{len(wanted)} of {len(rows)} points", text
        assert opened.text("#filter-note") == f"{len(wanted)} of {len(rows)} points pass the filter Show all"
        assert page.evaluate("attnflow.model.matching") == wanted, text
        dots = "document.querySelector('#tradeoff .plot').data.flatMap(trace => trace.customdata ?? [])"
        page.wait_for_function(f"{dots}.every(point => attnflow.model.matching.includes(point))")
        page.click("#filter-note button")
        assert opened.text(".count") == f"{len(rows)} points"
        assert page.input_value(f'input[data-column="{name}"]') == ""


def test_a_filter_that_makes_no_sense_is_marked_and_ignored(visit, make_row):
    opened = visit(sweep(make_row))
    set_filter(opened.page, "lanes", "lots")
    assert opened.page.locator("input.wrong").get_attribute("data-column") == "lanes"
    assert opened.text(".count") == "40 points"
    set_filter(opened.page, "lanes", "12345")
    assert opened.text(".count") == "0 of 40 points"
    assert "No point passes the filter." in opened.text("#sensitivity")


def test_the_table_is_saved_as_csv(visit, make_row):
    rows = sweep(make_row)
    opened = visit(rows)
    set_filter(opened.page, "lanes", "8")
    with opened.page.expect_download() as download:
        opened.page.click("text=Save as CSV")
    saved = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    kept = [row for row in rows if dict(row.point.parameters)["lanes"] == 8]
    assert [int(line["point"]) for line in saved] == [row.position for row in kept]
    assert [int(line["cycles"]) for line in saved] == [row.outcome.metrics["cycles"] for row in kept]
    assert all(line["command"].startswith("attnflow run sdpa.naive") for line in saved)


# --- selecting, hovering, colours ---------------------------------------------------------------------


def test_rows_select_points(visit, make_row):
    opened = visit(sweep(make_row))
    page = opened.page
    before = page.evaluate("attnflow.model.selected.length")
    page.click('tr[data-point="5"] td:nth-child(4)')
    page.wait_for_function(f"document.querySelectorAll('#stalls figure').length === {before + 1}")
    assert "#5" in opened.text("#selected thead")
    assert page.locator("#fifos figure").count() == before + 1
    letter = page.locator('tr[data-point="5"] .letter').inner_text()
    letters = "document.querySelector('#tradeoff .plot').layout.annotations.map(each => each.text)"
    assert letter in page.evaluate(letters)
    while page.locator("#selected thead button").count():
        page.locator("#selected thead button").first.click()
    assert "No point is selected" in opened.text("#selected")


def test_a_dot_shows_what_tells_the_point_apart_in_few_lines(visit, make_row):
    rows = sweep(make_row)
    opened = visit(rows)
    page = opened.page
    page.locator("#tradeoff .plot").scroll_into_view_if_needed()
    across, up, point = page.evaluate(
        """() => {
            const plot = document.querySelector("#tradeoff .plot");
            const { x, y } = plot.getBoundingClientRect();
            const { xaxis, yaxis } = plot._fullLayout;
            const trace = plot.data.find((each) => each.customdata && each.marker.size === 10);
            const [across, up] = [xaxis.d2p(trace.x[0]), yaxis.d2p(trace.y[0])];
            return [x + xaxis._offset + across, y + yaxis._offset + up, trace.customdata[0]];
        }"""
    )
    page.mouse.move(across - 30, up)
    page.mouse.move(across, up, steps=4)
    page.wait_for_selector("#card:not([hidden])")
    card = opened.text("#card")
    shown = int(re.search(r"point #(\d+)", card).group(1))
    metrics = rows[shown].outcome.metrics
    assert metrics["cycles"] == rows[point].outcome.metrics["cycles"]
    assert "Pareto front" in card
    for name, value in rows[shown].point.parameters:
        assert f"{name} {value}" in card
    assert f"Cycles {metrics['cycles']:,}" in card
    assert page.locator("#card dl div").count() <= 8
    assert page.locator("#card").bounding_box()["height"] < 300
    chosen = page.evaluate("attnflow.model.selected.length")
    page.mouse.click(across, up)
    page.wait_for_function(f"attnflow.model.selected.length !== {chosen}")
    page.mouse.move(5, 5)
    page.wait_for_selector("#card", state="hidden")


def test_axes_and_scales_can_be_chosen(visit, make_row):
    rows = sweep(make_row)
    page = visit(rows).page
    page.locator("#tradeoff select").nth(0).select_option("lanes")
    page.locator("#tradeoff").get_by_label("log across").check()
    page.wait_for_function("document.querySelector('#tradeoff .plot')._fullLayout.xaxis.type === 'log'")
    assert page.evaluate("document.querySelector('#tradeoff .plot')._fullLayout.xaxis.title.text") == "lanes"
    page.locator("#sensitivity select").select_option("mode")
    page.wait_for_function("document.querySelector('#sensitivity .legend').textContent === 'scalarrow'")
    page.locator("#stalls select").select_option("value")
    most = max(rows[point].outcome.metrics["cycles"] for point in page.evaluate("attnflow.model.selected"))
    end = "document.querySelector('#stalls .ticks').lastChild.textContent"
    page.wait_for_function(f"{end} === '{float(f'{most:.3g}'):g}'")


def test_the_theme_changes_and_is_remembered(visit, make_row):
    page = visit(sweep(make_row)).page
    background = "getComputedStyle(document.body).backgroundColor"
    text = "document.querySelector('#tradeoff .plot')._fullLayout.font.color"
    light, light_text = page.evaluate(background), page.evaluate(text)
    assert page.inner_text("#theme") == "Theme: auto"
    page.click("#theme")
    assert (page.inner_text("#theme"), page.evaluate(background)) == ("Theme: light", light)
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    assert page.evaluate(background) != light
    page.wait_for_function(f"{text} !== '{light_text}'")
    page.reload()
    page.wait_for_selector("html[data-complete]")
    assert page.inner_text("#theme") == "Theme: dark"


def test_the_system_decides_unless_told_otherwise(visit, make_row):
    page = visit(sweep(make_row), dark=True).page
    assert page.evaluate("document.documentElement.dataset.dark") == "yes"
    page.emulate_media(color_scheme="light")
    page.wait_for_function("document.documentElement.dataset.dark === 'no'")


def test_paper_is_white_and_gets_the_table(visit, make_row):
    rows = sweep(make_row, count=100)
    opened = visit(rows, dark=True)
    assert opened.page.pdf().startswith(b"%PDF")
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate("document.documentElement.dataset.dark") == "no"
    assert opened.page.locator("tr[data-point]").count() == 60
    assert opened.text(".count") == "100 points, the first 60 printed"
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate("document.documentElement.dataset.dark") == "yes"


def test_paper_has_as_many_columns_as_fit_although_the_table_was_not_made_before(unfinished):
    page = unfinished
    page.evaluate("() => { window.dispatchEvent(new Event('beforeprint')); return Promise.resolve(); }")
    page.wait_for_selector("html[data-ready]")
    heads = page.locator("table.points thead tr:first-child th").all_inner_texts()
    assert len(heads) == 1 + 10 + 1, "the number, what is printed, and the command"
    assert {"chip", "overlap", "Time", "Energy"} <= set(heads)
    assert "10 of " in page.inner_text(".count") and "columns printed" in page.inner_text(".count")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    wide = page.locator("table.points").evaluate("table => table.getBoundingClientRect().right - window.innerWidth")
    assert wide <= 0, "what is too wide is cut off on paper, or makes all of the page smaller"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("table.points thead tr:first-child th").count() > 14


def test_values_that_rest_on_estimates_carry_a_mark_and_say_on_what(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals).page
    rows_of = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator("table.compare tbody tr").all()
    }
    marked = {name: "†" in energy for name, energy in zip(rows_of["chip"], rows_of["Energy"], strict=True)}
    assert marked == {"h100_sxm5_80g": False, "tpu_v5e": True}
    assert "†" not in "".join(rows_of["Time"])
    for section in ("selected", "points"):
        assert page.locator(f"#{section} p.words").inner_text() == "† rests on an estimated die and node"
    cell = page.locator("table.points td", has_text="†").first
    assert cell.get_attribute("title") == "rests on an estimated die and node"


def test_labels_of_a_narrow_page_do_not_meet(visit, chips):
    rows, goals = chips
    page = visit(rows, goals=goals, width=420).page
    title = page.locator("#roofline .xtitle")
    box, plot = title.bounding_box(), page.locator("#roofline .plot").bounding_box()
    assert box["x"] >= plot["x"] and box["x"] + box["width"] <= plot["x"] + plot["width"] + 1
    inner = page.evaluate(
        """() => {
          const drawn = [];
          const canvas = document.querySelector("canvas.parallel"), context = canvas.getContext("2d");
          const original = context.fillText.bind(context);
          context.fillText = (text, x, y) => {
            const width = context.measureText(text).width;
            const shift = { right: -width, center: -width / 2, left: 0 }[context.textAlign] ?? 0;
            drawn.push([text, x + shift, x + shift + width, y]);
            original(text, x, y);
          };
          attnflow.tell("select");
          return drawn;
        }"""
    )
    words = [each for each in inner if len(each[0]) > 1 and each[3] > 34]
    assert len(words) > 6
    for i, (text, left, right, y) in enumerate(words):
        for other, from_, to, at in words[:i]:
            assert abs(y - at) >= 11 or right <= from_ + 1 or left >= to - 1, (text, other)


# --- text from outside --------------------------------------------------------------------------------


def test_hostile_labels_are_shown_as_text(visit, make_row):
    workload = Workload(name=HOSTILE, phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)
    names = {"unit": HOSTILE, "fifo": HOSTILE, "lints": [HOSTILE]}
    rows = [
        make_row(
            i,
            cycles=900 + 10 * i,
            algorithm=HOSTILE if i % 2 else "sdpa.naive",
            parameters={"mode": HOSTILE if i % 3 else "row"},
            workload=workload,
            depth=2 + i,
            names=names,
        )
        for i in range(6)
    ]
    rows.append(make_row(6, workload=workload, names=names, deadlock=True, depth=1, parameters={HOSTILE: HOSTILE}))
    rows.append(make_row(7, status="failed", error=HOSTILE, depth=50))
    rows = [dataclasses.replace(row, study=HOSTILE) for row in rows]
    opened = visit(rows, HOSTILE)
    page = opened.page
    page.locator('tr[data-point="1"] td').nth(3).click()
    page.wait_for_timeout(300)
    page.evaluate("attnflow.showCard(6, { clientX: 100, clientY: 100 })")
    assert page.locator("h1").inner_text() == HOSTILE
    for place in ("#card", "#selected", "#fifos", "#trouble", "#notes", "#points", "#answer"):
        assert HOSTILE in page.locator(place).inner_text(), place
    page.locator("#tradeoff select").nth(2).select_option("algorithm")
    page.wait_for_function("document.querySelector('#tradeoff .legend').textContent.includes('bold')")
    for chart in ("#tradeoff .legend", "#sensitivity .plot", "#stalls .stack-name"):
        texts = "".join(page.locator(chart).all_text_contents())
        assert "<b>bold</b>" in texts, chart
    assert page.locator("b", has_text=re.compile("^bold$")).count() == 0
    assert page.locator("img").count() == 0


def test_a_damaged_page_says_so(visit, make_row):
    opened = visit([make_row()], load=False)
    text = opened.path.read_text(encoding="utf-8")
    opened.path.write_text(re.sub(r'(id="data-points">)[^<]{9}', r"\1AAAAAAAAA", text), encoding="utf-8")
    opened.page.goto(opened.path.as_uri())
    opened.page.wait_for_selector("#fault:not([hidden])")
    assert "This page is damaged" in opened.text("#fault")
    assert opened.complaints
    opened.complaints.clear()


# --- all settings at once -----------------------------------------------------------------------------


def test_dragging_along_an_axis_filters_the_page(visit, make_row):
    opened = visit(sweep(make_row))
    page = opened.page
    canvas = page.locator("canvas.parallel")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    inked = """canvas => {
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(Array.from({length: pixels.length / 4}, (_, i) => pixels.slice(4 * i, 4 * i + 3).join())).size;
    }"""
    assert canvas.evaluate(inked) > 20, "lines in many colours"
    x, top, height = box["x"] + 70, box["y"] + 44, box["height"] - 56
    page.mouse.move(x, top + 2)
    page.mouse.down()
    page.mouse.move(x, top + 0.3 * height, steps=4)
    page.mouse.up()
    note = page.locator("#filter-note")
    assert re.match(r"\d+ of 40 points pass the filter", note.inner_text())
    depths = numbers(column(page, "fifo_depth"))
    assert depths
    assert len(depths) < 40
    page.mouse.click(x, top + 0.8 * height)
    page.wait_for_function("document.getElementById('filter-note').hidden")


STROKES = """() => {
    const canvas = document.querySelector("canvas.parallel"), context = canvas.getContext("2d"), drawn = [];
    const original = context.stroke.bind(context);
    context.stroke = () => {
        drawn.push([context.lineWidth, context.strokeStyle]);
        original();
    };
    attnflow.tell("select");
    const plain = document.createElement("canvas").getContext("2d");
    const named = (ink) => ((plain.fillStyle = ink), plain.fillStyle);
    return { drawn, ramp: attnflow.ramp(24).map(named), text: named(attnflow.colour("text")) };
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_selected_lines_keep_the_colour_of_their_value_so_that_none_looks_the_best(visit, make_row, dark):
    rows = [make_row(i, cycles=1000 + 10 * i, depth=2 + i, parameters={"lanes": 1 + i % 2}) for i in range(24)]
    page = visit(rows, dark=dark).page
    page.evaluate("attnflow.model.selected = [0, 23]")
    found = page.evaluate(STROKES)
    least, greatest = found["ramp"][0], found["ramp"][-1]
    selected = [ink for thickness, ink in found["drawn"] if thickness == 4]
    assert selected == [least, greatest] and least != greatest
    assert found["text"] not in selected


def test_labels_of_the_outer_axes_are_whole(visit, make_row):
    names = ("flash.rather_a_long_name", "flash.another_long_name_of_all", "sdpa.naive")
    rows = [
        make_row(i, cycles=1000 + i, depth=2 + i, algorithm=names[i % 3], parameters={"lanes": 1 + i % 2})
        for i in range(6)
    ]
    canvas = visit(rows, width=1000).page.locator("canvas.parallel")
    canvas.scroll_into_view_if_needed()
    inked = """canvas => [0, canvas.width - 1].map((x) =>
        canvas.getContext('2d').getImageData(x, 0, 1, canvas.height).data.some(Boolean))"""
    assert canvas.evaluate(inked) == [False, False], "nothing is drawn on the edges, where it would be cut"


def test_designs_beyond_a_constraint_are_grey(visit, make_row):
    goals = Goals(constraints={"made-up": (Constraint("cycles", "<=", 1500, "cycle"),)})
    page = visit(sweep(make_row), goals=goals).page
    legend = page.locator("#tradeoff .legendtext").all_text_contents()
    assert "breaks a constraint" in legend
    states = set(column(page, "state"))
    assert "infeasible" in states
    set_filter(page, "state", "infeasible")
    assert set(column(page, "state")) == {"infeasible"}
    assert all(value > 1500 for value in numbers(column(page, "cycles")))
