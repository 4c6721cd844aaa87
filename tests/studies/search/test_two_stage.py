"""The search in two stages: near the best of the whole grid in a fraction of it, repeatable, clear when misused."""

from pathlib import Path

import pytest

from algorithms.hybrid.design import HybridDesign
from algorithms.hybrid.parameters import HybridParameters
from hwmodels.reading.errors import InputError
from studies.families.attempt import attempt
from studies.points.outcome import Outcome
from studies.running.runner import open_inline
from studies.search.search import run_search
from studies.search.two_stage import _Design, frontier
from studies.store.store import Store
from studies.study.resolve import read_study

STUDY = Path(__file__).parents[3] / "studies" / "configs" / "fpga-moe-vit.yaml"
DSP = "fpga.dsp <= 1850"
BLOCKS = """
  - {metric: block.feed_forward_cycles, axes: [linear_in, linear_out, linear_units]}
  - {metric: block.attention_cycles, axes: [streaming_modules, attention_tile, attention_queries]}
"""


def closed_form(point):
    """The pace of both blocks by their closed forms, in place of a simulation."""
    design = HybridDesign(point.workload, HybridParameters(**dict(point.parameters)))
    attention, feed_forward = design.attention_block_cycles, design.feed_forward_cycles
    metrics = {
        "block.attention_cycles": attention,
        "block.feed_forward_cycles": feed_forward,
        "image.seconds": max(attention, feed_forward) * design.layers / point.clock_hz,
        "fpga.dsp": design.dsp,
        "fpga.bram36": design.block_rams,
    }
    return Outcome(point.key, "done", metrics)


def study_of(folder, text):
    path = folder / "s.yaml"
    path.write_text(text)
    return read_study(path)


def search(study, path, **options):
    options = {"evaluations": 300, "seed": 0, "evaluate": closed_form} | options
    return run_search(study, path, sampler="two_stage", workers=1, quiet=True, open_executor=open_inline, **options)


def best_of(study, path, name):
    with Store(path) as store:
        outcomes = [row.outcome for row in store.rows(name)]
    kept = [each.metrics for each in outcomes if all(limit.keeps(each.metrics) for limit in study.constraints)]
    return min(metrics["image.seconds"] for metrics in kept)


@pytest.mark.parametrize("limit", [1000, 1850, 3400])
def test_it_comes_near_the_best_of_the_grid_in_a_fraction_of_it(tmp_path, limit):
    study = study_of(tmp_path, STUDY.read_text().replace(DSP, f"fpga.dsp <= {limit}"))
    summary = search(study, tmp_path / "s.sqlite")
    grid = [closed_form(point).metrics for point in study.points]
    kept = [metrics for metrics in grid if all(each.keeps(metrics) for each in study.constraints)]
    assert summary.points <= 300 < len(grid) / 14
    assert best_of(study, tmp_path / "s.sqlite", summary.study) <= 1.1 * min(each["image.seconds"] for each in kept)


def test_it_is_decided_by_its_seed_and_continues(tmp_path):
    study = read_study(STUDY)
    first = search(study, tmp_path / "s.sqlite", evaluations=60)
    more = search(study, tmp_path / "s.sqlite", evaluations=60)
    other = search(study, tmp_path / "t.sqlite", evaluations=60)
    assert (first.evaluated, more.evaluated, more.reused) == (first.points, 0, first.points)
    assert first.front == more.front == other.front


def test_a_second_block_that_keeps_pace_at_once_ends_the_search(tmp_path):
    text = STUDY.read_text().replace("linear_units: [1, 2, 3, 4, 6, 8]", "linear_units: [1]")
    text = text.replace(DSP, "fpga.dsp <= 9000").replace("[8, 16, 32]", "[4]")
    summary = search(study_of(tmp_path, text), tmp_path / "s.sqlite")
    assert summary.points < 40
    assert summary.infeasible == 0


def test_the_whole_is_simulated(tmp_path):
    text = STUDY.read_text().replace("m3vit-tiny", "{preset: m3vit-tiny, q_len: 17, kv_len: 17}")
    study = study_of(tmp_path, text)
    summary = search(study, tmp_path / "s.sqlite", evaluations=8, evaluate=attempt)
    assert summary.failed == 0
    assert summary.points == 8


def test_without_blocks_it_says_what_to_add(tmp_path):
    study = study_of(tmp_path, STUDY.read_text().partition("blocks:")[0])
    with pytest.raises(InputError, match=r"^blocks: the study does not say what its two blocks are; add 'blocks:'"):
        search(study, tmp_path / "s.sqlite")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("linear_units]}", "linear_unit]}", r"blocks\[0\]\.axes\[2\]: is no axis; did you mean 'linear_units'"),
        ("streaming_modules, attention_tile", "linear_in, attention_tile", r"axis 'linear_in' belongs to the other"),
        ("block.attention_cycles", "block.attention_cycle", r"blocks\[1\]\.metric: .*block\.attention_cycles"),
        ("attention_tile, attention_queries]", "attention_tile]", r"belongs to neither of the blocks"),
    ],
)
def test_faults_in_blocks_are_named(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        study_of(tmp_path, STUDY.read_text().replace(old, new))


def test_one_block_is_not_enough(tmp_path):
    text = STUDY.read_text().partition("blocks:")[0] + "blocks:\n" + BLOCKS.splitlines(keepends=True)[1]
    with pytest.raises(InputError, match=r"blocks: .*2"):
        study_of(tmp_path, text)


def test_the_frontier_keeps_what_is_smaller_than_all_faster_ones():
    designs = [_Design(pace, cost, {}) for pace, cost in ((3, 5), (1, 9), (2, 9), (2, 7), (4, 6), (5, 1))]
    assert [(design.pace, design.cost) for design in frontier(designs)] == [(1, 9), (2, 7), (3, 5), (5, 1)]
