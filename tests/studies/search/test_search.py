"""Searches: what they find, that they can be repeated and continued, and that they share results with sweeps."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from studies.api import Study
from studies.cli import main
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.running.runner import open_inline
from studies.search.pareto import hypervolume_share
from studies.search.search import costs_of, front_of, run_search
from studies.search.strategies import STRATEGIES
from studies.search.sweep import run_sweep
from studies.store.store import Store
from studies.study.axes import Axis, Space
from studies.study.goals import Constraint, Objective

HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)
OBJECTIVES = (Objective("seconds", "min"), Objective("joules", "min"), Objective("area", "min"))
AXES = {
    "cores": (1, 2, 4, 8, 16, 32),
    "array": (8, 16, 32, 64, 128),
    "sram": (64, 128, 256, 512, 1024),
    "bandwidth": (0.5, 1.0, 2.0, 4.0),
    "clock": (0.6, 1.0, 1.4),
    "kind": ("hbm", "ddr", "lpddr"),
}


def machine(point):
    """A made-up accelerator with the usual conflicts: compute against memory, speed against energy and area."""
    p = dict(point.parameters)
    compute = 1e5 / (p["cores"] * p["array"] * p["clock"])
    reload = 1 + 200 / p["sram"]
    cost = {"hbm": (1.0, 4.0, 60), "ddr": (0.3, 12.0, 15), "lpddr": (0.2, 7.0, 10)}[p["kind"]]
    memory = 40 * reload / (p["bandwidth"] * cost[0])
    area = p["cores"] * (p["array"] * 0.2 + p["sram"] * 0.01) + p["bandwidth"] * cost[2]
    seconds = max(compute, memory) + 0.1 * min(compute, memory)
    joules = 20 * p["clock"] ** 2 + reload * cost[1] * 3 + seconds * (0.02 * area + 1)
    if p["kind"] == "lpddr" and p["bandwidth"] == 4.0:
        return Outcome(point.key, "failed", {}, None, "there is no such memory")
    return Outcome(point.key, "done", {"seconds": seconds, "joules": joules, "area": area})


def made_study(constraints=(), axes=AXES):
    def point(choice):
        return DesignPoint("any", HEAD, tuple(sorted(choice.items())))

    return Study("made", "", Space.of(axes), point, objectives=OBJECTIVES, constraints=tuple(constraints))


def search(study, path, **options):
    options = {"sampler": "nsga2", "evaluations": 60, "workers": 1, "quiet": True, "evaluate": machine} | options
    return run_search(study, path, open_executor=open_inline, **options)


def volume(study, outcomes, known):
    def costs(some):
        kept = [o for o in some if all(c.keeps(o.metrics) for c in study.constraints)]
        found = [costs_of(study.objectives, outcome) for outcome in kept]
        return np.array([cost for cost in found if cost is not None])

    return hypervolume_share(costs(outcomes), costs(known))


def stored(path, name):
    with Store(path) as store:
        return [row.outcome for row in store.rows(name)]


@pytest.fixture(scope="module")
def whole_grid():
    return [machine(point) for point in made_study().points]


@pytest.mark.parametrize("constraints", [(), (Constraint("area", "<=", 120.0),)], ids=["free", "small"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_five_percent_of_the_evaluations_find_95_percent_of_the_volume(tmp_path, whole_grid, constraints, seed):
    study = made_study(constraints)
    evaluations = len(whole_grid) // 20
    summary = search(study, tmp_path / "s.sqlite", evaluations=evaluations, seed=seed)
    assert summary.points <= evaluations == 270
    found = stored(tmp_path / "s.sqlite", summary.study)
    assert volume(study, found, whole_grid) >= 0.95
    best = {outcome.key for outcome in found if outcome.key in summary.front}
    assert len(best) == len(summary.front) > 5
    assert all(c.keeps(o.metrics) for o in found if o.key in best for c in constraints)


@pytest.mark.parametrize("sampler", [name for name in STRATEGIES if name != "two_stage"])
def test_a_search_is_decided_by_sampler_and_seed(tmp_path, sampler):
    study = made_study()
    keys = []
    for i, seed in enumerate((3, 3, 4)):
        summary = search(study, tmp_path / f"{i}.sqlite", sampler=sampler, seed=seed, evaluations=40)
        found = stored(tmp_path / f"{i}.sqlite", summary.study)
        assert summary.points == len(found) == len({outcome.key for outcome in found}) == 40
        keys.append([outcome.key for outcome in found])
    assert keys[0] == keys[1] != keys[2]


def test_quasi_random_designs_cover_every_axis_and_pair_of_axes_evenly(tmp_path):
    evaluations = 180
    summary = search(made_study(), tmp_path / "s.sqlite", sampler="qmc", evaluations=evaluations)
    with Store(tmp_path / "s.sqlite") as store:
        chosen = [dict(row.point.parameters) for row in store.rows(summary.study)]
    for name, values in AXES.items():
        counts = [sum(each[name] == value for each in chosen) for value in values]
        assert max(counts) - min(counts) <= 0.2 * evaluations / len(values) + 2
    pairs = Counter((each["cores"], each["array"]) for each in chosen)
    assert len(pairs) == len(AXES["cores"]) * len(AXES["array"])
    assert max(pairs.values()) <= 2 * evaluations / len(pairs)


def test_the_title_counts_what_there_was_to_find(tmp_path):
    few = made_study(axes={**AXES, "cores": (1,), "array": (8,), "sram": (64,), "clock": (1.0,)})
    summary = search(few, tmp_path / "s.sqlite", sampler="random", evaluations=5000)
    assert summary.points == 12
    assert summary.title.startswith("made: 12 evaluations by random")
    with Store(tmp_path / "s.sqlite") as store:
        assert store.description(summary.study)["title"] == summary.title


def test_a_repeated_search_finds_everything_in_the_store(tmp_path):
    first = search(made_study(), tmp_path / "s.sqlite")
    again = search(made_study(), tmp_path / "s.sqlite", evaluate=never)
    assert (first.evaluated, first.reused) == (60, 0)
    assert (again.evaluated, again.reused) == (0, 60)
    assert first.front == again.front


def never(point):
    raise AssertionError("evaluated again")


def test_search_and_sweep_share_their_results(tmp_path):
    study = made_study(axes={**AXES, "cores": (1, 2), "array": (8, 64), "sram": (64, 256), "kind": ("hbm", "ddr")})
    swept = run_sweep(study, tmp_path / "s.sqlite", workers=1, quiet=True, evaluate=machine, open_executor=open_inline)
    assert swept.evaluated == swept.points == study.space.size == 192
    summary = search(study, tmp_path / "s.sqlite", evaluate=never)
    assert (summary.evaluated, summary.reused, summary.points) == (0, 60, 60)
    with Store(tmp_path / "s.sqlite") as store:
        assert store.studies() == ["made", "made/nsga2-0"]
        assert store.description("made/nsga2-0")["search"] == {"sampler": "nsga2", "seed": 0, "evaluations": 60}
        assert len(store.statuses("made")) == 192


def test_a_search_of_the_whole_space_ends_with_its_front(tmp_path, whole_grid):
    axes = {**AXES, "cores": (1, 2), "array": (8,), "sram": (64, 256), "clock": (1.0,)}
    study = made_study(axes=axes)
    summary = search(study, tmp_path / "s.sqlite", evaluations=10_000, sampler="random")
    grid = [machine(point) for point in study.points]
    assert set(summary.front) <= set(front_of(OBJECTIVES, (), grid))
    assert summary.points <= study.space.size == len(grid)
    assert volume(study, stored(tmp_path / "s.sqlite", summary.study), grid) == pytest.approx(1)


def test_conditional_axes_and_choices_that_do_not_fit(tmp_path):
    def point(choice):
        if choice["kind"] == "bad":
            raise InputError("does not fit")
        assert ("depth" in choice) == (choice["kind"] == "fifo")
        return DesignPoint("any", HEAD, tuple(sorted(choice.items())))

    space = Space((Axis("kind", ("fifo", "sram", "bad")), Axis("depth", (1, 2, 4), (("kind", ("fifo",)),))))
    study = Study("c", "", space, point, objectives=(Objective("depth", "max"),))
    summary = search(study, tmp_path / "s.sqlite", evaluate=depth_of, evaluations=20)
    (best,) = summary.front
    assert summary.points == 4
    (outcome,) = [o for o in stored(tmp_path / "s.sqlite", summary.study) if o.key == best]
    assert outcome.metrics == {"depth": 4}


def depth_of(point):
    return Outcome(point.key, "done", {"depth": dict(point.parameters).get("depth", 0)})


def test_nothing_feasible_is_no_front(tmp_path):
    summary = search(made_study([Constraint("area", "<", 0.0)]), tmp_path / "s.sqlite")
    assert (summary.front, summary.infeasible + summary.failed) == ((), 60)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampler": "nsga3"}, "no sampler is called 'nsga3'; did you mean 'nsga2'"),
        ({"evaluations": 0}, "must be at least 1"),
    ],
)
def test_what_cannot_be_searched(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        search(made_study(), tmp_path / "s.sqlite", **options)


def test_a_study_without_objectives_cannot_be_searched(tmp_path):
    with pytest.raises(InputError, match="no objectives"):
        search(Study.of("s", made_study().points[:3]), tmp_path / "s.sqlite")


# --- with the simulator, from the command line ---------------------------------------------------------

LANES = """
name: lanes
algorithm: sdpa.naive
workload: {seq_len: 32, head_dim: 8}
timing_only: true
parameters: {exp_cycles: 8, div_cycles: 16}
objectives: [cycles, fifo.capacity_bytes]
constraints: [fifo.capacity_bytes <= 4 KiB]
axes:
  exp_lanes: [1, 2, 4, 8]
  div_lanes: [1, 4, 16]
  fifo_depth: [2, 4]
  long_depth: [16, 31, 32, 34, 36, 40, 64]
"""


def test_the_command_line_searches_and_continues(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(LANES)
    command = ["search", "s.yaml", "--evaluations", "34", "--seed", "1", "--jobs", "0", "--json", "-q"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["points"], first["evaluated"], first["space"]) == (34, 34, 168)
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["evaluated"], again["reused"], again["front"]) == (0, 34, first["front"])
    assert main(["search", "s.yaml", "-n", "34", "--seed", "1", "--jobs", "0"]) == 0
    assert "34 of 168 designs looked at" in (text := capsys.readouterr().out)
    assert ": 0 evaluated now, 34 there already," in text, "no rate of nothing"
    designs = len(first["front"])
    assert f"front: {designs} design{'s' if designs > 1 else ''}\n" in text

    assert "stopped before" not in text

    assert main(["sweep", "s.yaml", "--jobs", "0", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 34
    study = made_study()
    study = Study(
        "l", "", study.space, study.point, (), (Objective("cycles", "min"), Objective("fifo.capacity_bytes", "min"))
    )
    with Store("out/lanes.sqlite") as store:
        found, known = ([row.outcome for row in store.rows(name)] for name in ("lanes/nsga2-1", "lanes"))
    assert volume(study, found, known) >= 0.95


def test_a_search_without_a_design_that_keeps_the_constraints_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(LANES.replace("<= 4 KiB", "<= 1 B"))
    assert main(["search", "s.yaml", "--evaluations", "4", "--jobs", "0", "-q"]) == 1
    assert "no design has a result and keeps the constraints\nstored in" in capsys.readouterr().out


def test_a_search_without_any_result_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "algorithm: sdpa.query_blocks\nworkload: {seq_len: 10}\nobjectives: [cycles]\naxes: {queries: [3, 4]}\n"
    )
    assert main(["search", "s.yaml", "--evaluations", "2", "--jobs", "0", "-q"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "no design has a result and keeps the constraints"
    assert lines[3].startswith("the first without result: queries: must divide q_len = 10")


def test_the_front_shows_fields_of_a_chip_with_units_and_why_a_search_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "algorithm: decode.split_kv\nchip: h100\ntiming_only: true\nobjectives: [seconds, area_mm2]\n"
        "workload: {preset: llama3-8b, phase: decode, q_len: 1, kv_len: 128}\n"
        "axes: {chip.hbm.bytes_per_second: [1.6 TB/s, 6.4 TB/s], chip.core.sram_bytes: [128 KiB, 228 KiB]}\n"
    )
    command = ["search", "s.yaml", "-n", "4", "--jobs", "0", "-q"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "6.4 TB/s" in text and "128 KiB" in text
    monkeypatch.setattr("studies.search.search.MOST_PROPOSALS", 0)
    assert main([*command, "--store", "other.sqlite"]) == 1
    assert "stopped before 4: nsga2 almost only repeats itself by now" in capsys.readouterr().out
