"""Critical paths in a report: they add up to all cycles, say what binds, and never fail silently."""

import dataclasses

import pytest

from studies.cli.options import DesignOptions, design_point
from studies.families.attempt import attempt
from studies.families.chip.binding import saturated_cache, what_binds
from studies.families.chip.evaluate import evaluate_on_chip
from studies.families.chip.explain import cache_limit
from studies.families.path import OTHERS, PathPart, TracedPath
from studies.points.outcome import Row
from studies.report.paths import MOST_SECONDS, Tracer
from studies.report.points import Points
from studies.report.sections.critical_path import KINDS, critical_path
from studies.report.sections.headline import answer, cards


def row_of(algorithm, position=0, **options):
    point = design_point(algorithm, DesignOptions(**{"timing_only": True, **options}))
    return Row("s", position, point, attempt(point), 1, "2026-01-02T03:04:05.000+00:00", {})


def cycles_of(row):
    return row.outcome.metrics["cycles"]


PIPELINES = [
    ("sdpa.naive", {"seq_len": 16, "head_dim": 8, "set_": ["exp_cycles=4"]}),
    ("sdpa.naive", {"seq_len": 16, "head_dim": 8, "timing_only": False}),
    ("sdpa.scaled", {"seq_len": 16, "head_dim": 8, "set_": ["fifo_depth=1"]}),
    ("sdpa.memory_free", {"seq_len": 16, "head_dim": 32, "set_": ["kv_tier=hbm2"]}),
]


@pytest.mark.parametrize(("algorithm", "options"), PIPELINES)
def test_parts_add_up_to_the_cycles_of_a_pipeline(algorithm, options):
    row = row_of(algorithm, **options)
    path = Tracer().trace(row)
    assert path.cycles == cycles_of(row) > 0
    assert {part.kind for part in path.parts} <= set(KINDS)
    assert all(part.cycles > 0 for part in path.parts)


CHIPS = [
    ("flash.q_outer", {"chip": "h100", "seq_len": 512, "head_dim": 64}),
    ("flash.q_outer", {"chip": "h100", "seq_len": 512, "head_dim": 128, "kernel": "fa3_hopper", "dtype": "bfloat16"}),
    ("decode.split_kv", {"chip": "h100", "workload": "llama3-8b", "context": 2048, "set_": ["splits=4"]}),
    ("flash.q_outer", {"chip": "tpu_v5e", "seq_len": 512, "head_dim": 64}),
]


@pytest.mark.parametrize(("algorithm", "options"), CHIPS)
def test_parts_add_up_to_the_cycles_of_a_chip(algorithm, options):
    row = row_of(algorithm, **options)
    run = evaluate_on_chip(row.point).run
    path = Tracer().trace(row)
    launched = sum(part.cycles for part in path.parts if part.kind not in ("gap", "transfer"))
    assert launched == sum(launch.cycles for launch in run.launches), "in sixteenths of a cycle, without rounding"
    waited = sum(part.cycles for part in path.parts if part.kind in ("gap", "transfer"))
    assert waited == pytest.approx(sum(launch.gap_s for launch in run.launches) * run.clock_hz)
    assert path.cycles == pytest.approx(run.cycles, rel=1e-12)
    assert round(path.cycles) == cycles_of(row)
    assert {part.kind for part in path.parts} <= set(KINDS)


def largest(row):
    part = Tracer().trace(row).parts[0]
    return part.kind, part.name


def test_the_largest_part_is_what_binds():
    slow_exp = row_of("sdpa.naive", seq_len=32, head_dim=8, set_=["exp_cycles=4"])
    assert largest(slow_exp) == ("compute", "exp")
    assert largest(row_of("sdpa.memory_free", seq_len=16, head_dim=32, set_=["kv_tier=ddr4_3200"])) == (
        "memory",
        "ddr4_3200",
    )
    decode = row_of("decode.split_kv", chip="h100", workload="llama3-8b", context=8192, batch=16)
    assert largest(decode) == ("bandwidth", "memory")
    prefill = row_of("flash.q_outer", chip="h100", workload="llama3-8b", seq_len=2048)
    assert largest(prefill) == ("compute", "matrix")


def test_latency_is_told_from_moving_bytes():
    near, far = (
        row_of("decode.split_kv", chip="h100", workload="llama3-8b", context=2048, set_=[f"chip.hbm.latency_s={ns} ns"])
        for ns in (400, 2400)
    )
    clock_hz = near.point.chip.accelerator.clock_hz

    def latency(row):
        return sum(part.cycles for part in Tracer().trace(row).parts if part.kind == "memory_latency")

    assert latency(far) - latency(near) >= 2e-6 * clock_hz - 1, "the first load of all waits that much longer"


def test_a_kernel_shows_its_launch_gap():
    row = row_of("flash.q_outer", chip="h100", kernel="fa3_hopper", seq_len=512, head_dim=128, dtype="bfloat16")
    run = evaluate_on_chip(row.point).run
    gap = sum(part.cycles for part in Tracer().trace(row).parts if part.kind == "gap")
    assert gap > 0
    assert gap == pytest.approx(sum(launch.gap_s for launch in run.launches) * run.clock_hz)


def test_shares_come_in_words():
    row = row_of("sdpa.naive", seq_len=32, head_dim=8, set_=["exp_cycles=4"])
    path = Tracer().trace(row)
    share = 100 * path.parts[0].cycles / cycles_of(row)
    assert path.sentence.startswith(f"{int(share * 10) / 10:.1f} % exp at work, ")
    assert path.sentence.endswith("smaller parts.")


def test_small_parts_are_one_for_each_kind(monkeypatch):
    row = row_of("sdpa.naive", seq_len=16, head_dim=8)
    whole = Tracer().trace(row)
    monkeypatch.setattr("studies.families.path.MOST_PARTS", 2)
    short = Tracer().trace(row)
    assert short.cycles == whole.cycles
    assert short.parts[0] == whole.parts[0]
    merged = [part for part in short.parts if part.name == OTHERS]
    assert merged
    assert len({part.kind for part in merged}) == len(merged)


# --- what binds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "saturated"),
    [
        ({"chip": "mi300x", "workload": "llama3-8b", "seq_len": 4096}, True),
        ({"chip": "mi300x", "workload": "llama3-8b", "seq_len": 4096, "set_": ["overlap=serial"]}, False),
        ({"chip": "h100", "workload": "llama3-8b", "seq_len": 1024}, False),
        ({"chip": "tpu_v5e", "seq_len": 512, "head_dim": 64}, False),
    ],
)
def test_a_stored_run_is_judged_as_an_evaluation(options, saturated):
    row = row_of("flash.q_outer", **options)
    share = cache_limit(evaluate_on_chip(row.point))
    assert (share is not None) is saturated
    assert saturated_cache(row.outcome.detail) == (None if share is None else pytest.approx(share))


def test_a_saturated_cache_binds_although_a_bound_of_the_arrays_is_larger():
    row = row_of("flash.q_outer", chip="mi300x", workload="llama3-8b", seq_len=4096)
    (card, *_) = cards(Points.of([row]))
    facts = dict(card.facts)
    assert facts["Bound by"].startswith("the cache, which moves bytes in 9")
    assert "the largest lower bound, matrix, is " in facts["Bound by"]
    assert "cache moving bytes" in facts["Critical path"].split(",")[0]
    assert "it is bound by the cache, which moves bytes in" in answer(Points.of([row]))


def test_what_a_path_goes_to_comes_before_a_bound_of_something_else():
    row = row_of("flash.q_outer", chip="h100", workload="llama3-8b", seq_len=4096)
    bound = what_binds(row.outcome.detail, None)
    assert bound.startswith("matrix, which takes at least")
    same = TracedPath((PathPart("compute", "matrix", 60), PathPart("bandwidth", "memory", 40)))
    assert what_binds(row.outcome.detail, same) == bound
    other = TracedPath((PathPart("memory_latency", "memory", 75), PathPart("compute", "matrix", 25)))
    first, _, second = what_binds(row.outcome.detail, other).partition("; ")
    assert first == "the latency of memory, 75.0 % of the critical path"
    assert second.startswith("the largest lower bound, matrix, takes at least")
    assert what_binds(row.outcome.detail, TracedPath(note="too long")) == bound


def test_parts_of_a_unit_in_several_launches_are_one_use():
    path = TracedPath(
        (
            PathPart("compute", "exp (first)", 40),
            PathPart("compute", "matrix (first)", 35),
            PathPart("compute", "matrix (second)", 20),
            PathPart("latency", OTHERS, 60),
        )
    )
    assert path.largest_use == PathPart("compute", "matrix", 55)
    assert TracedPath(note="none").largest_use is None


# --- why there is none --------------------------------------------------------------------------------


def test_what_cannot_be_traced_says_why(make_row):
    good = row_of("sdpa.naive", seq_len=16, head_dim=8)
    slow = dataclasses.replace(good, outcome=dataclasses.replace(good.outcome, wall_s=MOST_SECONDS + 1))
    other = dict(good.outcome.metrics) | {"cycles": cycles_of(good) + 1}
    changed = dataclasses.replace(good, outcome=dataclasses.replace(good.outcome, metrics=other))
    stuck = row_of("sdpa.naive", seq_len=16, head_dim=8, set_=["long_depth=8"])
    assert Tracer().trace(stuck).sentence == "No critical path: the design deadlocks."
    assert Tracer().trace(slow).note == "its simulation took 21 s, which is not repeated for a page"
    now = f"{cycles_of(good):,} cycles now, {cycles_of(good) + 1:,} cycles then"
    assert Tracer().trace(changed).note == f"the models have changed since the point was stored: {now}"
    assert "firings, and a page keeps" in Tracer(most_firings=10).trace(good).note
    assert "no algorithm is called 'gone'" in Tracer().trace(make_row(algorithm="gone")).note


def test_a_page_keeps_so_many_firings_in_all():
    row = row_of("sdpa.naive", seq_len=16, head_dim=8)
    firings = row.outcome.metrics["firings"]
    tracer = Tracer(most_firings=2 * firings)
    assert [bool(tracer.trace(row).parts) for _ in range(3)] == [True, True, False]


# --- the section --------------------------------------------------------------------------------------


def test_the_section_is_about_the_points_shown_first():
    rows = [row_of("sdpa.naive", i, seq_len=16, head_dim=8, set_=[f"exp_cycles={1 + i}"]) for i in range(6)]
    points = Points.of(rows)
    (view,) = critical_path(points)
    assert 0 < len(points.selected_first) < len(rows)
    for i, entry in enumerate(view.per_point):
        if i in points.selected_first:
            assert sum(entry["parts"][3::4]) == cycles_of(rows[i])
            assert entry["words"] == Tracer().trace(rows[i]).sentence
        else:
            assert entry == []
    assert view.data["missing"]


def test_the_answer_says_the_path_of_the_best_design():
    rows = [row_of("sdpa.naive", i, seq_len=16, head_dim=8, set_=[f"exp_cycles={1 + i}"]) for i in range(2)]
    points = Points.of(rows)
    (card, *_) = cards(points)
    assert dict(card.facts)["Critical path"] == Tracer().trace(rows[card.point]).sentence.rstrip(".")
    stuck = Points.of([row_of("sdpa.naive", seq_len=16, head_dim=8, set_=["long_depth=8"]), rows[0]])
    assert all("No critical path" not in text for card in cards(stuck) for _, text in card.facts)


def test_a_point_without_a_path_has_words_all_the_same():
    (view,) = critical_path(Points.of([row_of("sdpa.naive", seq_len=16, head_dim=8, set_=["long_depth=8"])]))
    assert view.per_point == [{"parts": [], "words": "No critical path: the design deadlocks."}]


def test_a_page_without_results_has_no_such_section(make_row):
    assert list(critical_path(Points.of([make_row(status="pending")]))) == []
