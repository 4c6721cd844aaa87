"""Files of published systems: what they must say, how they are complained about, and what their figures hang on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError
from simulator.engines import progress
from studies.points.point import DesignPoint
from studies.reproductions.judging import figures_of, judge_systems
from studies.reproductions.running import CALCULATIONS, Done, evaluate_runs, runs_of
from studies.reproductions.system import Calculated, System, load_system, read_system, system_names

FOLDER = Path(__file__).parents[3] / "studies" / "reproductions" / "systems"
NAMES = system_names()
EXPECTED = {
    "hardware, kernels, serving, training": 19,
    "bounded caches and video": 37,
    "retrieval": 6,
    "constant state and cached activations": 10,
}
"""Systems of the literature by group that have to be there."""
LONG_TOKENS = 20_000
NOTHING_PUBLISHED = {
    "attendre",
    "dense-captioning",
    "ltri-llm",
    "matr",
    "omnilive",
    "sfhand",
    "sirllm",
    "streamformer",
}
"""Systems of whose speed and memory no number is published: that they stay as they are is all that can be held."""

SMALL = """
title: "A system"
family: retrieval
paper: "arXiv:0000.00000"
mechanism: Something moves less.
setting:
  tokens: {value: 64, unit: token, source: "section 1"}
runs:
  full: {algorithm: sdpa.memory_free, workload: {seq_len: 64, heads: 1, head_dim: 8, mask: full}, timing_only: true}
  half: {like: full, workload: {seq_len: 32}}
  size: {calculation: low_bit_copy, parameters: {bits: 2}}
claims:
  - {metric: cycles, published: 4, unit: x, ours: full.cycles / half.cycles, kind: simulated, compare: ratio, tolerance_pct: 5, source: "table 1", mark: notes}
  - {metric: bits, published: 6.4, unit: x, ours: size.ratio, kind: arithmetic, compare: exact, source: "table 2", mark: paper}
  - {metric: speed, published: 3, unit: x, source: "abstract", mark: abstract, why: "nothing runs it"}
perturb:
  - {run: half, workload: {seq_len: 48}, moves: [cycles]}
"""  # noqa: E501


def read(text: str) -> System:
    return read_system(read_text(text, "own.yaml"), "own")


def test_all_systems_of_the_literature_are_there_with_claims():
    found: dict[str, int] = {}
    for name in NAMES:
        system = load_system(name)
        found[system.family] = found.get(system.family, 0) + 1
        assert system.claims, name
    assert found == EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_what_a_reader_needs(name):
    system = load_system(name)
    assert system.title
    assert system.paper
    # two sentences, and no more than a paragraph
    assert system.mechanism.endswith(".")
    assert 1 <= system.mechanism.count(". ") <= 2
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    for claim in system.claims:
        assert claim.text.source
        assert claim.text.why or claim.text.kind != "quoted"
    for number in system.setting.values():
        assert number.source


@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_sets_is_used(name):
    """A run or a number that no claim refers to is left over from something."""
    system = load_system(name)
    used = {part.partition(".")[0] for claim in system.claims for formula in claim.formulas for part in formula.names}
    written = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert {run for run in system.runs if f"like: {run}," not in written} <= used


def test_a_system_is_judged_from_one_file(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(SMALL, encoding="utf-8")
    (found,) = judge_systems([load_system(path)], tmp_path / "s.sqlite", jobs=0)
    document = found.describe()
    assert (document["name"], document["verdict"], document["kind"], document["missed"]) == (
        "own",
        "reproduced",
        "simulated",
        0,
    )
    first, second, third = found.claims
    assert first.ours is not None
    assert first.ours[0] == pytest.approx(4, rel=0.05)
    assert "somebody's notes" in first.why
    assert (second.verdict, second.ours) == ("reproduced", (6.4, 6.4))
    assert (third.verdict, third.ours, third.why) == ("quoted", None, "nothing runs it")


def test_a_second_call_evaluates_nothing(tmp_path, monkeypatch):
    path = tmp_path / "own.yaml"
    path.write_text(SMALL, encoding="utf-8")
    first = judge_systems([load_system(path)], tmp_path / "s.sqlite", jobs=0)

    def refuse(*_: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("studies.families.graph.family.GraphFamily.evaluate", refuse)
    monkeypatch.setattr("studies.reproductions.running.calculated", refuse)
    again = judge_systems([load_system(path)], tmp_path / "s.sqlite", jobs=0)
    assert [each.describe() for each in again] == [each.describe() for each in first]


@pytest.mark.parametrize("jobs", [0, 2])
def test_calculations_are_told_one_by_one_and_only_where_they_are_made(tmp_path, jobs):
    runs = [
        run for run in runs_of([load_system("wta-crs"), load_system("mla-analysis")]) if isinstance(run, Calculated)
    ]
    told = []

    def listener(*report):
        told.append(report)

    progress.listen(listener)
    try:
        evaluate_runs(runs, tmp_path / "s.sqlite", jobs=jobs)
        different = len({run.key for run in runs})
        assert [each for each in told if each[0] == CALCULATIONS] == [
            (CALCULATIONS, done, different) for done in range(different + 1)
        ]
        told.clear()
        evaluate_runs(runs, tmp_path / "s.sqlite", jobs=jobs)
        assert told in ([], [(CALCULATIONS, 0, 0)])
    finally:
        progress.leave(listener)


def test_a_design_that_does_not_fit_is_a_figure_and_a_reason(tmp_path):
    text = SMALL.replace(
        "  half:", '  big: {algorithm: model.step, chip: jetson, parameters: {model: llama3-70b}}\n  half:'
    ).replace("claims:", "claims:\n" + (
        "  - {metric: fits, published: 0, ours: big.fits, kind: simulated, compare: exact, source: x, mark: paper}\n"
        "  - {metric: time, published: 1, unit: s, ours: big.seconds, kind: simulated, compare: exact, source: x,"
        " mark: paper}"
    )).replace("chip: jetson", "chip: jetson_agx_orin_64g")  # fmt: skip
    (found,) = judge_systems([read(text)], tmp_path / "s.sqlite", jobs=0)
    assert found.claims[0].verdict == "reproduced"
    assert found.claims[1].verdict == "missed"
    assert found.claims[1].ours is None
    assert "does not fit" in found.claims[1].why


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("family: retrieval", "family: retrival", 3, "family: must be"),
        ("paper:", "papers:", 4, "unknown key"),
        ("sdpa.memory_free,", "sdpa.memory_fre,", 9, "did you mean 'sdpa.memory_free'"),
        ("heads: 1, head_dim: 8", "heads: 1, head_dims: 8", 9, "head_dims"),
        ("like: full", "like: ful", 10, "no earlier run is called 'ful'; did you mean 'full'"),
        ("low_bit_copy,", "low_bit_coppy,", 11, "did you mean 'low_bit_copy'"),
        ("{bits: 2}", "{bit: 2}", 11, "no such parameter; did you mean 'bits'"),
        ("{bits: 2}", "{bits: two}", 11, "must be a whole number"),
        ("full.cycles /", "ful.cycles /", 13, "no run is called 'ful'; did you mean 'full'"),
        ("full.cycles / half.cycles", "full.cycles / tokns", 13, "the setting has no 'tokns'; did you mean 'tokens'"),
        ("full.cycles / half.cycles", "full.cycles / ", 13, "is no formula"),
        ("ours: full.cycles / half.cycles", "ours: tokens / 16", 13, "that is arithmetic"),
        ("compare: ratio, ", "", 13, "needs 'compare'"),
        ("compare: ratio", "compare: exact", 13, "'tolerance_pct' goes with"),
        ("tolerance_pct: 5", "tolerance_pct: 80", 13, "at most 50"),
        ("kind: simulated", "kind: quoted", 13, "either 'quoted'"),
        ("metric: bits", "metric: cycles", 14, "the metric 'cycles' is there twice"),
        (', why: "nothing runs it"', "", 15, "needs a 'why'"),
        ("run: half", "run: hal", 17, "no run is called 'hal'; did you mean 'half'"),
        ("moves: [cycles]", "moves: [cycle]", 17, "no figure is called 'cycle'; did you mean 'cycles'"),
        ("mark: notes", "mark: memory", 13, "mark: must be"),
    ],
)
def test_a_bad_file_is_one_line_with_its_place(old, new, line, message):
    assert old in SMALL
    with pytest.raises(InputError) as caught:
        read(SMALL.replace(old, new, 1))
    lines = str(caught.value).splitlines()
    assert any(text.startswith(f"own.yaml:{line}: ") and message in text for text in lines), lines


def test_a_simulated_figure_has_to_say_what_it_hangs_on():
    with pytest.raises(InputError, match="need 'perturb'"):
        read(SMALL[: SMALL.index("perturb:")])


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'duo-attention'"):
        load_system("duo-atention")


def _changed(system: System, number: int, done: Done, changed: Done) -> list[tuple[str, list[float], list[float]]]:
    """Figures that a perturbation is to move: before and after."""
    perturbation = system.perturbations[number]
    before = {name: done.of(run) for name, run in system.runs.items()}
    after = before | {perturbation.name: changed.of(perturbation.run)}
    found = []
    for claim in system.claims:
        if claim.text.metric in perturbation.moves:
            values = [
                [formula.value(figures_of(formula, system, ran)) for formula in claim.formulas]
                for ran in (before, after)
            ]
            found.append((claim.text.metric, values[0], values[1]))
    return found


LONG_CALCULATIONS = ("shared_memory", "sustained_rate", "served_latency")


def _is_long(system: System) -> bool:
    """Whether a run takes seconds: long contexts under a policy, streams of many frames, requests over time."""
    for run in [*system.runs.values(), *(each.run for each in system.perturbations)]:
        parameters = dict(run.parameters)
        if not isinstance(run, DesignPoint):
            tokens = int(parameters.get("context_tokens") or 0)
            tokens += int(parameters.get("frames") or 0) * int(parameters.get("frame_tokens") or 0)
            if tokens > LONG_TOKENS or run.calculation.name in LONG_CALCULATIONS:
                return True
        elif run.algorithm == "state.prefill" or "duo_attention" in str(parameters.get("policy")):
            return True
    return False


PERTURBED = [
    pytest.param(name, number, marks=[pytest.mark.slow] if _is_long(system) else [])
    for name in NAMES
    for system in (load_system(name),)
    for number in range(len(system.perturbations))
]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """One store for all, so that a system's own runs are evaluated once."""
    return tmp_path_factory.mktemp("systems") / "s.sqlite"


@pytest.mark.parametrize(("name", "number"), PERTURBED)
def test_a_figure_moves_with_its_mechanism(name, number, store):
    system = load_system(name)
    done = evaluate_runs(runs_of([system]), store, jobs=0)
    changed = evaluate_runs([system.perturbations[number].run], store, jobs=0)
    moved = _changed(system, number, done, changed)
    assert len(moved) == len(system.perturbations[number].moves)
    for metric, before, after in moved:
        off = max(abs(b - a) / max(abs(a), 1e-12) for a, b in zip(before, after, strict=True))
        assert off > 0.01, f"{metric}: {before} and {after}"


@pytest.mark.parametrize("name", NAMES)
def test_every_simulated_figure_is_among_those_that_move(name):
    system = load_system(name)
    moved = {metric for perturbation in system.perturbations for metric in perturbation.moves}
    simulated = {claim.text.metric for claim in system.claims if claim.text.kind == "simulated"}
    assert simulated <= moved
    assert bool(system.perturbations) == bool(simulated)


def test_growth_alone_is_claimed_only_where_nothing_else_is_published():
    alone = {name for name in NAMES if all(claim.text.growth for claim in load_system(name).claims)}
    assert alone == NOTHING_PUBLISHED
    for name in NOTHING_PUBLISHED:
        assert "published" in load_system(name).mechanism, name


@pytest.mark.parametrize("name", NAMES)
def test_growth_is_said_of_quotients_alone(name):
    """How something grows is a number without a unit, made from a mechanism."""
    claims = load_system(name).claims
    assert claims
    for claim in claims:
        assert not claim.text.growth or (claim.text.kind, claim.text.unit) == ("simulated", "x")
