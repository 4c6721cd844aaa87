"""The page of a report as a file: what it says, that it needs nothing else, that text stays text."""

import base64
import dataclasses
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from algorithms.workload.one_head import ONE_HEAD_ON_CHIP
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from studies.cli import main
from studies.cli.options import DesignOptions, design_point
from studies.families.attempt import attempt
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.outcome import Row
from studies.points.point import ChipSetting, DesignPoint
from studies.report import registry, write_report
from studies.report.blocks import Bar, breakdown, html, plain, plot
from studies.report.page import Script, render
from studies.report.points import Points
from studies.store.store import Store
from studies.study.goals import Constraint, Goals, Objective

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;${7*7}{{7*7}}</script>"


class Page(HTMLParser):
    """Elements of a page, its text outside scripts and styles, and what its data chunks hold."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.chunks = {}
        self.scripts = []
        self.words = []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.words.append(data)
        elif self._inside[0] == "script":
            name = self._inside[1].get("id")
            if name:
                self.chunks[name] = json.loads(gzip.decompress(base64.b64decode(data)))
            else:
                self.scripts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def page_of(rows, title="A study"):
    return Page(render(Points.of(rows), title))


def mixed_rows(make_row):
    return [
        make_row(0, cycles=900, depth=8),
        make_row(1, cycles=500, depth=6),
        make_row(2, cycles=700, depth=3, names={"lints": ["FIFO qk->exp is shallow"]}),
        make_row(3, depth=2, deadlock=True),
        make_row(4, depth=1, deadlock=True),
        make_row(5, status="failed", error="MemoryError: too big", depth=99),
        make_row(6, status="pending", depth=100),
    ]


# --- what it says -----------------------------------------------------------------------------------


def test_the_answer_comes_in_words(make_row):
    text = page_of(mixed_rows(make_row)).text
    assert (
        "The fastest design takes 500 cycles (500 ns at 1 GHz) with fifo_depth 6; "
        "it is bound by qk, busy 100 % of the cycles; the other units wait for it." in text
    )
    assert "7 design points of sdpa.naive on head (prefill, 1 head, 8 tokens, head dim 4, full mask, float16)." in text
    assert "Varied: fifo_depth (1 to 100)." in text
    assert "7 points, 3 with a result" in text
    assert "2 deadlocked" in text
    assert "1 failed" in text
    assert "1.0e-16 largest relative error of 3 points against the float64 oracle" in text
    assert "48 B in 1 FIFO; the largest, qk->exp, takes 48 B and fills 5 of 6 slots" in text


def test_few_values_of_an_axis_come_by_size(make_row):
    text = page_of([make_row(i, depth=depth) for i, depth in enumerate((8, 2, 16, 4))]).text
    assert "Varied: fifo_depth (2, 4, 8 and 16)." in text


def test_different_numbers_of_layers_are_warned_of_first(make_row):
    rows = [make_row(0, cycles=100), make_row(1, cycles=3200, algorithm="sdpa.scaled"), make_row(2, cycles=3300)]
    for row, layers in zip(rows, (1, 32, 32), strict=True):
        row.outcome.metrics["layers"] = layers
    page = page_of(rows)
    assert "of different numbers of layers: 1 layer of sdpa.naive and 32 layers of sdpa." in page.text
    assert page.text.index("of different numbers of layers") < page.text.index("fastest design")
    assert "On the largest workload (32 layers), the fastest design takes 3,200 cycles" in page.text
    assert "+3.1 % cycles of the slowest design against the fastest" in page.text
    assert "different numbers of layers" not in page_of(rows[1:]).text


def test_a_trade_off_across_clocks_is_of_seconds(make_row):
    def chart(clocks_hz):
        rows = [make_row(i, cycles=1000 * (i + 1), parameters={"order": f"way {i}"}) for i in range(2)]
        for row, clock_hz in zip(rows, clocks_hz, strict=True):
            row.outcome.metrics["seconds"] = row.outcome.metrics["cycles"] / clock_hz
        goals = Goals((Objective("fifo.capacity_bytes", "min"),))
        return Page(render(Points.of(rows, goals), "A study")).chunks["data-tradeoff-0"]

    assert chart((1e9, 1e9)) == {"x": "cycles", "y": "fifo.capacity_bytes"}
    assert chart((1e9, 2.5e9)) == {"x": "seconds", "y": "fifo.capacity_bytes"}


def test_a_store_of_a_sweep_and_a_search_counts_a_point_once(make_row, tmp_path):
    rows = [make_row(i, depth=2 + i, cycles=100 + i) for i in range(4)]
    again = [dataclasses.replace(row, study="made-up/nsga2-0") for row in rows[:3]]
    path = tmp_path / "page.html"
    write_report([*rows, *again], path, "A")
    text = Page(path.read_text(encoding="utf-8")).text
    assert "4 points, all with a result" in text
    assert "Ties" not in text


def test_troubles_are_told_by_reason(make_row):
    text = page_of(mixed_rows(make_row)).text
    assert "deadlock 2 points #3–#4 qk → exp → qk Freed by qk->exp: depth 2 to 3" in text
    assert "qk waits for space: qk->exp holds 2 of 2" in text
    assert "failed 1 point #5 MemoryError: too big" in text
    assert "FIFO qk->exp is shallow 1 point: #2" in text


def test_provenance_is_at_the_end(make_row):
    text = page_of(mixed_rows(make_row)).text
    for fact in ("0123456789ab", "numpy 2.1.0", "3.11.7", "host, 2 processors", "Engine compiled", "Seed 0"):
        assert fact in text


def test_several_workloads_are_compared_on_the_largest(make_row):
    long = Workload(name="head", phase="prefill", heads=1, kv_heads=1, q_len=16, kv_len=16, head_dim=4, mask="full")
    rows = [make_row(0, cycles=10), make_row(1, cycles=30, workload=long), make_row(2, cycles=20, depth=2)]
    text = page_of(rows).text
    assert "On the largest workload (seq_len 16), the fastest design takes 30 cycles" in text
    assert "seq_len 16, the largest of 2" in text
    assert "2 of 2 workloads by cycles" in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"status": "pending"}], "Nothing has been simulated yet: all 1 point are pending."),
        ([{"status": "failed", "error": "why"}], "No point has a result: 1 failed."),
        ([{"deadlock": True}, {"status": "failed", "error": "why"}], "No point has a result: 1 deadlocked, 1 failed."),
    ],
)
def test_a_page_without_results_says_so(make_row, rows, words):
    page = page_of([make_row(i, **row) for i, row in enumerate(rows)])
    assert words in page.text
    assert "tradeoff" not in {attributes.get("id") for _, attributes in page.elements}


# --- its data ---------------------------------------------------------------------------------------


def test_data_come_through_unchanged(make_row):
    rows = mixed_rows(make_row)
    data = page_of(rows).chunks["data-points"]
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["cycles"]["values"] == [900, 500, 700, None, None, None, None]
    assert columns["fifo_depth"]["values"] == [8, 6, 3, 2, 1, 99, 100]
    assert columns["algorithm"]["levels"] == ["sdpa.naive"]
    assert columns["algorithm"]["codes"] == [0] * 7
    assert data["states"] == ["done", "done", "done", "deadlock", "deadlock", "failed", "pending"]
    assert data["reasons"] == {"5": "MemoryError: too big"}
    commands = []
    for shared, rest in zip(data["commands"][::2], data["commands"][1::2], strict=True):
        commands.append((commands[-1] if commands else "")[:shared] + rest)
    assert commands == list(Points.of(rows).commands)


def test_stalls_come_through_unchanged(make_row):
    chunks = page_of(mixed_rows(make_row)).chunks
    labels, kinds = chunks["data-stalls-0"]["labels"], chunks["data-stalls-0"]["kinds"]
    flat = chunks["data-stalls-0-points"][1]
    bars = [
        (labels[bar], labels[part], kinds[kind]["name"], value)
        for bar, part, kind, value in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
    ]
    assert bars == [
        ("qk", "busy", "busy", 500),
        ("exp", "busy", "busy", 373),
        ("exp", "qk->exp", "input", 125),
        ("exp", "idle", "idle", 2),
    ]
    assert chunks["data-stalls-0-points"][5] == [], "a failed point has no stalls"


def test_the_same_rows_give_the_same_page(make_row):
    rows = mixed_rows(make_row)
    assert render(Points.of(rows), "T") == render(Points.of(rows), "T")


# --- it needs nothing else, and text stays text -------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(make_row):
    page = page_of(mixed_rows(make_row))
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_plotly_is_there_once_and_packed(make_row):
    page = page_of(mixed_rows(make_row))
    assert "plotly.js v" in page.chunks["plotly"][:200]
    (script,) = page.scripts
    assert "plotly.js v" not in script


def test_only_the_scripts_of_the_page_may_run(make_row):
    page = page_of(mixed_rows(make_row))
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.count("sha256-") == 2
    for script in (*page.scripts, page.chunks["plotly"]):
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "script-src 'sha256-" in policy


def test_a_script_cannot_end_its_element():
    with pytest.raises(ValueError, match="end of a script"):
        Script.of("x = '</SCRIPT>'")


def test_hostile_text_stays_text(make_row):
    workload = Workload(name=HOSTILE, phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)
    named = {"unit": HOSTILE, "fifo": HOSTILE, "lints": [HOSTILE]}
    rows = [
        make_row(0, algorithm=HOSTILE, workload=workload, names=named, study=HOSTILE),
        make_row(1, depth=2, workload=workload, names=named, deadlock=True, parameters={HOSTILE: HOSTILE}),
        make_row(2, depth=3, status="failed", error=HOSTILE),
    ]
    provenance = {
        "commit": HOSTILE,
        "host": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "configuration": {HOSTILE: HOSTILE},
    }
    rows[0] = dataclasses.replace(rows[0], provenance=provenance)
    harmless = page_of(mixed_rows(make_row))
    hostile = page_of(rows, HOSTILE)
    assert HOSTILE in hostile.text
    tags = {tag for tag, _ in hostile.elements}
    assert tags <= {tag for tag, _ in harmless.elements}
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert len(hostile.scripts) == 1
    assert hostile.text.count("49") == harmless.text.count("49"), "no template ran inside a label"


def test_a_file_is_replaced_only_by_a_whole_one(make_row, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report([make_row()], path, "first")
    before = path.read_text(encoding="utf-8")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        write_report([make_row()], path, "second")
    assert path.read_text(encoding="utf-8") == before
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


# --- new sections -----------------------------------------------------------------------------------


@pytest.fixture
def own_sections(monkeypatch):
    registry.SECTIONS.discover()  # the shipped ones are registered once, here
    monkeypatch.setattr(registry.SECTIONS, "_entries", dict(registry.SECTIONS._entries))


def test_a_section_is_one_function_with_a_decorator(make_row, own_sections, tmp_path):
    (tmp_path / "own.html").write_text("<b>{{ text }}</b>")

    @registry.section("own", "Own", order=55, lead="Measured & bound")
    def own(points):
        figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], customdata=[0, 1], name=plain("<b>")))
        yield plot(figure, caption="ceilings")
        yield breakdown(
            {"read": "read", "idle": "idle"}, "B", "traffic", [[Bar("hbm", "k", "read", 5.0)]] * len(points)
        )
        yield html("notes.html", remarks=[("<i>", "1 point", "#0")], hidden="")

    page = page_of([make_row(), make_row(1, depth=2)])
    names = [attributes.get("id") for tag, attributes in page.elements if tag == "section"]
    assert names.index("stalls") < names.index("own") < names.index("fifos")
    assert "Measured & bound" in page.text
    assert "<i>" in page.text
    figure = page.chunks["data-own-0"]
    assert figure["data"][0]["name"] == "&lt;b&gt;"
    assert "template" not in figure["layout"]
    assert page.chunks["data-own-1-points"] == [[0, 1, 0, 5.0]] * 2


def test_a_section_that_has_nothing_to_say_is_left_out(make_row, own_sections):
    registry.section("silent", "Silent", order=1)(lambda points: [])
    assert "Silent" not in page_of([make_row()]).text


def test_two_sections_of_a_name_are_an_error(own_sections):
    with pytest.raises(InputError, match=r"section 'answer' is registered by both studies\.report\.sections\.headline"):
        registry.section("answer", "Again", order=1)(lambda points: [])


def row_on_chip(make_row) -> Row:
    """A point that really ran on a chip."""
    algorithm = find_algorithm("flash.q_outer")
    workload = ONE_HEAD_ON_CHIP.with_(q_len=64, kv_len=64)
    chip = ChipSetting(load_accelerator("h100_sxm5_80g"))
    point = DesignPoint(algorithm.name, workload, complete_parameters(algorithm, {}), chip=chip)
    return dataclasses.replace(make_row(), point=point, outcome=attempt(point))


def row_on_memory(make_row):
    options = DesignOptions(seq_len=16, head_dim=32, timing_only=True, set_=["kv_tier=hbm2"])
    point = design_point("sdpa.memory_free", options)
    return dataclasses.replace(make_row(), point=point, outcome=attempt(point))


def row_of_a_tier(make_row):
    point = design_point("tier.probe", DesignOptions(set_=["tier=ddr4_3200", "transactions=500"]))
    return dataclasses.replace(make_row(), point=point, outcome=attempt(point))


def row_of_a_step(make_row):
    point = design_point("model.step", DesignOptions(chip="h100", model="gpt2", batch="decode 1 of 16"))
    return dataclasses.replace(make_row(), point=point, outcome=attempt(point))


SERVED = """
name: small
arrivals: {requests: 5, rate: 30.0}
lengths: {prompt: {mean: 300, median: 200, most: 2000}, output: {least: 5, most: 20}}
model: gpt2
deployment: {chip: h100}
scheduler: {kind: vllm, most_sequences: 8, most_tokens: 512}
"""


def row_of_a_scenario(make_row, folder):
    path = folder / "small.yaml"
    path.write_text(SERVED, encoding="utf-8")
    point = design_point("live.serve", DesignOptions(scenario=str(path)))
    return dataclasses.replace(make_row(), point=point, outcome=attempt(point))


def test_every_shipped_section_says_something(make_row, tmp_path):
    lanes = [make_row(10 + i, cycles=700 + i, parameters={"lanes": i}, rel_l2=1e-3 * i) for i in range(2)]
    on_chip = row_on_chip(make_row)
    judged = dataclasses.replace(on_chip.outcome, metrics=on_chip.outcome.metrics | {"quality.heavy_hitter": 0.9})
    judged_row = dataclasses.replace(on_chip, outcome=judged)
    rows = [*mixed_rows(make_row), *lanes, judged_row, row_on_memory(make_row), row_of_a_tier(make_row)]
    rows += [row_of_a_step(make_row)]
    goals = Goals(constraints={"made-up": (Constraint("cycles", "<=", 800, "cycle"),)})
    check = {"kind": "gpu", "cases": 2, "passed": 2, "failed": 0, "unsupported": 0, "groups": []}
    page = Page(render(Points.of(rows, goals, [check]), "A study"))
    # what is drawn of selected points alone is looked at where they are
    served = page_of([row_of_a_scenario(make_row, tmp_path)])
    shown = {found.get("id") for each in (page, served) for tag, found in each.elements if tag == "section"}
    assert set(registry.SECTIONS.names()) - {"chip-launches"} == shown, "that one is about several launches"
    assert re.search(r"attnflow run sdpa\.naive", page.text)


def test_the_roofline_has_all_ceilings_and_no_point_is_above_them(make_row):
    row = row_on_chip(make_row)
    figure = page_of([row]).chunks["data-roofline-0"]
    lines = {trace["name"]: trace for trace in figure["data"] if trace.get("mode") == "lines"}
    chip = row.point.chip.accelerator
    named = [name.partition(": ")[2].partition(",")[0] for name in lines]
    assert named == ["matrix", *(tier.name for tier in chip.tiers), "exp unit", "vector unit"]
    metrics = row.outcome.metrics
    for name, trace in lines.items():
        if "unit" in name or "matrix" in name:
            assert max(trace["y"]) == min(trace["y"]) >= metrics["flops_per_second"]
    memory = next(trace for name, trace in lines.items() if f": {chip.memory.name}," in name)
    at = min(max(memory["y"]), chip.memory.bytes_per_second * metrics["intensity"])
    assert metrics["flops_per_second"] <= at * (1 + 1e-9)
    assert memory["y"][0] == pytest.approx(chip.memory.bytes_per_second * memory["x"][0])


def test_dots_of_a_roofline_that_would_cover_each_other_are_one(make_row):
    row = row_on_chip(make_row)
    rate = row.outcome.metrics["flops_per_second"]
    rows = []
    for i, factor in enumerate((1.0, 0.9999, 0.5)):
        metrics = row.outcome.metrics | {"flops_per_second": factor * rate}
        rows.append(dataclasses.replace(row, position=i, outcome=dataclasses.replace(row.outcome, metrics=metrics)))
    (dots,) = (each for each in page_of(rows).chunks["data-roofline-0"]["data"] if each["name"] == "points")
    assert dots["customdata"] == [0, 2]


def test_chips_of_one_name_are_told_apart_below_a_roofline(make_row):
    row = row_on_chip(make_row)
    faster = row.point.chip.accelerator.with_(**{"hbm.bytes_per_second": 9e12})
    changed = dataclasses.replace(row.point, chip=dataclasses.replace(row.point.chip, accelerator=faster))
    rows = [row, dataclasses.replace(row, position=1, point=changed, outcome=attempt(changed))]
    traces = page_of(rows).chunks["data-roofline-0"]["data"]
    lines = {each["name"]: each for each in traces if each["mode"] == "lines"}
    memory = row.point.chip.accelerator.memory
    of_both = [name for name in lines if not name.startswith("chip of")]
    apart = [name for name in lines if f": {memory.name}," in name]
    assert sorted(name.partition(":")[0] for name in apart) == ["chip of #0", "chip of #1"]
    assert any(name.startswith("matrix,") for name in of_both), "what the chips have in common is drawn once"
    assert len({lines[name]["meta"]["hue"] for name in apart}) == 1
    assert len({lines[name]["line"]["dash"] for name in apart}) == 2


def test_traffic_energy_and_area_of_a_chip_add_up(make_row):
    row = row_on_chip(make_row)
    chunks = page_of([row]).chunks

    def total(name, bar):
        labels, (flat,) = chunks[f"data-{name}-0"]["labels"], chunks[f"data-{name}-0-points"]
        return sum(value for at, value in zip(flat[::4], flat[3::4], strict=True) if labels[at] == bar)

    for tier, moved in row.outcome.detail.tier_bytes.items():
        assert total("traffic", tier) == moved
    assert total("energy", "energy") == pytest.approx(row.outcome.metrics["energy_j"])
    assert total("area", "die") == pytest.approx(row.outcome.metrics["area_mm2"])


def test_designs_beyond_a_constraint_are_told_apart_and_never_the_best(make_row):
    rows = [make_row(0, cycles=900), make_row(1, cycles=100, depth=90), make_row(2, cycles=950, depth=2)]
    goals = Goals((Objective("cycles", "min"),), {"made-up": (Constraint("fifo.capacity_bytes", "<=", 256, "B"),)})
    page = Page(render(Points.of(rows, goals), "A study"))
    assert "The fastest design takes 900 cycles" in page.text
    assert "1 beyond a constraint" in page.text
    assert "fifo.capacity_bytes <= 256 B 1 point of 3 beyond it" in page.text
    data = page.chunks["data-points"]
    assert data["states"] == ["done", "infeasible", "done"]
    assert data["reasons"] == {"1": "not fifo.capacity_bytes <= 256 B: 720"}
    assert data["objectives"] == ["cycles"]
    assert data["front"] == [True, False, False]
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["cycles"]["values"] == [900, 100, 950], "their numbers are shown all the same"


def test_the_objectives_of_the_study_decide_what_is_best(make_row):
    rows = [make_row(0, cycles=900, depth=2), make_row(1, cycles=100, depth=90)]
    goals = Goals((Objective("fifo.capacity_bytes", "max"), Objective("cycles", "min")))
    page = Page(render(Points.of(rows, goals), "A study"))
    assert "The design of highest FIFO capacity has 720 B with fifo_depth 90" in page.text
    assert page.chunks["data-points"]["objectives"] == ["fifo.capacity_bytes", "cycles"]


def test_validations_are_shown_beside_the_points(make_row, tmp_path, capsys):
    path, check = tmp_path / "s.sqlite", tmp_path / "gpu.json"
    group = {"group": HOSTILE, "n": 3, "passed": 2, "mean_abs_error_pct": 4.25, "max_abs_error_pct": None}
    check.write_text(
        json.dumps({"kind": "gpu", "cases": 3, "passed": 2, "failed": 1, "unsupported": 0, "groups": [group]})
    )
    with Store(path, write=True) as store:
        store.enter_grid("s", [make_row().point])
    target = tmp_path / "page.html"
    command = ["report", str(path), "-o", str(target), "--validation"]
    assert main([*command, str(check)]) == 0
    page = Page(target.read_text(encoding="utf-8"))
    assert "gpu , 3 cases: 2 passed, 1 failed, 0 unsupported" in page.text.replace("gpu,", "gpu ,")
    assert f"{HOSTILE}324.25–" in page.text, "cells follow each other"
    check.write_text("[]")
    assert main([*command, str(check)]) == 2
    assert "is no output of `attnflow validate" in capsys.readouterr().err


def test_the_command_takes_the_title_of_the_study(make_row, tmp_path, capsys):
    path = tmp_path / "s.sqlite"
    row = make_row()
    with Store(path, write=True) as store:
        store.enter_grid("made-up", [row.point], {"title": "A made-up study"})
        store.record(store.begin_run(row.provenance), [row.outcome])
        store.enter_grid("other", [row.point])
    target = tmp_path / "page.html"
    assert main(["report", str(path), "-o", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "report": str(target),
        "points": 2,
        "bytes": target.stat().st_size,
    }
    assert "<title>A made-up study, other</title>" in target.read_text(encoding="utf-8")
    assert main(["report", str(path), "-o", str(tmp_path / "none" / "page.html")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
