"""The table of all policies at an equal budget, its order, its empty cells, its report and its command."""

import json

import pytest

from algorithms.kv.registry import policy_class, policy_names
from algorithms.kv.text import parse_policy
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from studies.cli import main
from studies.points.point import ChipSetting
from studies.quality.line_up import line_up
from studies.quality.table import Request, policy_table, report_rows

ORDER = ("oracle", "snapkv", "h2o", "tova", "streaming_llm", "random")
"""Of falling quality on the heavy-hitter stream, as published."""


@pytest.fixture(scope="module")
def cells():
    """A small table: references, the published order, and some cells that cannot be filled."""
    work = load_workload("llama3-8b").with_(dtype="bfloat16", layers=4)
    chips = tuple(ChipSetting(load_accelerator(name)) for name in ("h100", "sn40l"))
    policies = (*ORDER, "full", "knorm", "sirllm", "quest", "streaming_llm(sink=300)")
    return policy_table(Request(work, chips, (2048,), samples=6, policies=policies))


def by_name(cells, chip="h100_sxm5_80g"):
    return {cell.policy: cell for cell in cells if cell.chip == chip}


def test_the_order_on_the_heavy_hitter_stream_is_the_published_one(cells):
    found = by_name(cells)
    worth = [found[name].metrics["quality.heavy_hitter"] for name in ORDER]
    assert worth == sorted(worth, reverse=True)
    assert (worth[0], worth[-1]) == (1.0, 0.0)


def test_every_cell_has_bytes_cycles_rate_and_energy_or_says_why_not(cells):
    assert len(cells) == 2 * 11
    for cell in cells:
        if cell.metrics:
            for name in ("kv.near_bytes", "cycles", "tokens_per_second", "energy_j", "kv.score_macs"):
                assert cell.metrics[name] is not None
            assert cell.metrics["cycles"] > 0
        else:
            assert any(note.startswith("cost: ") for note in cell.notes)
    found = by_name(cells)
    assert any("not evaluable on synthetic streams" in note for note in found["knorm"].notes)
    assert any("self-information" in note for note in found["sirllm"].notes)
    assert not found["streaming_llm(sink=300)"].metrics
    assert found["full"].metrics["kv.near_bytes"] == 8 * found["h2o"].metrics["kv.near_bytes"]


def test_what_a_policy_keeps_does_not_depend_on_the_chip(cells):
    here, there = by_name(cells), by_name(cells, "sambanova_sn40l")
    for name in ORDER:
        assert here[name].metrics["kv.near_bytes"] == there[name].metrics["kv.near_bytes"]
        assert here[name].metrics["quality.drift"] == there[name].metrics["quality.drift"]
    assert here["full"].metrics["seconds"] < there["full"].metrics["seconds"]


def test_the_line_up_has_every_policy_that_can_stand_alone_and_fits_the_budget():
    for budget in (16, 128, 8192):
        entries = {entry.name: entry for entry in line_up(budget, 8, 32)}
        assert set(entries) == set(policy_names()) > {"full", "h2o", "quest", "snapkv"}
        for entry in entries.values():
            assert policy_class(entry.name).name in (entry.name,)
            chosen = parse_policy(entry.policy)
            if entry.budgeted and budget >= 128:
                assert chosen.least_tokens() <= budget


def test_the_report_draws_fronts_of_quality_and_cost(cells, tmp_path):
    from studies.quality.table import GOALS
    from studies.report import write_report
    from studies.report.points import Points

    rows = report_rows(cells)
    points = Points.of(rows, GOALS)
    assert [column.name for column in points.objectives] == ["quality.heavy_hitter", "energy_j", "seconds"]
    assert any(points.front)
    page = tmp_path / "policies.html"
    write_report(rows, page, "policies", GOALS)
    text = page.read_text()
    assert all(column.shown.lower() in text.lower() for column in points.objectives)
    assert "not a claim about model accuracy" in text
    assert "rests on a property of trained keys or values" in text
    assert "http://" not in text.split("<body")[0]


def test_the_command(capsys, tmp_path):
    page = tmp_path / "page.html"
    command = ["policies", "--context", "1024", "--chip", "h100", "--samples", "2", "--quiet"]
    chosen = ["--policy", "streaming_llm", "--policy", "h2o"]
    assert main([*command, *chosen, "--json", "-o", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [cell["policy"] for cell in document["cells"]] == ["streaming_llm", "h2o"]
    assert page.stat().st_size > 1e6
    assert "drift" not in document
    assert main([*command, *chosen, "--drift", "4"]) == 0
    text = capsys.readouterr().out
    assert "Relative error of the output over a decode, budget 128: the mean of each interval" in text
    (errors,) = [
        line.split()[1:] for line in text.partition("Relative error")[2].splitlines() if line.startswith("h2o")
    ]
    assert len(errors) == 4 and 0 < float(errors[0]) < 2
    assert "llama3-8b, 1,024 tokens, budget 128, h100_sxm5_80g" in text
    assert "not a claim about model accuracy" in text


def test_chips_can_be_changed(capsys):
    command = ["policies", "--context", "1024", "--chip", "h100", "--policy", "h2o", "--samples", "1", "-q", "--json"]
    times = []
    for change in ([], ["--set", "chip.hbm=hbm2e x 2"], ["--set", "hbm=hbm2e x 2"]):
        assert main([*command, *change]) == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        times.append(cell["metrics"]["seconds"])
    assert times[0] < times[1] == times[2]
    assert main([*command, "--set", "chip.hbm.cont=2"]) == 2
    assert "hbm.cont: h100_sxm5_80g has no such field; did you mean 'hbm.count'?" in capsys.readouterr().err


def test_mistakes_come_all_at_once(capsys):
    command = ["policies", "--chip", "h10", "--policy", "h20", "--workload", "llama3-9b", "--tensors", "nothing"]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 4
    with pytest.raises(InputError, match="share"):
        Request(load_workload("llama3-8b"), (), share=2.0)
