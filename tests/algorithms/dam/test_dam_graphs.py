"""DAM's graphs: measured and published cycles, depths, values like the oracle, both engines, parameters."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from algorithms.dam.builder import DamBuilder
from algorithms.dam.parameters import DamParameters, Timing
from algorithms.registry import algorithm_names, get_algorithm
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.reading.errors import InputError
from reference.truth import oracle
from simulator import Block, GraphError, Segment, Unit, simulate

DAM = [name for name in algorithm_names() if name.startswith("dam.")]


def workload_of(n: int, d: int = 1, **shape) -> Workload:
    shape = {"heads": 1, "kv_heads": 1, "q_len": n, "kv_len": n, "head_dim": d, "mask": "full"} | shape
    return Workload(name="dam", phase="prefill", dtype="float64", **shape)


def run(name: str, n: int, d: int = 1, *, batch: int = 1, **parameters):
    found = get_algorithm(name)
    graph = found.build(workload_of(n, d, batch=batch), found.parameters(**parameters))
    return simulate(graph, timing_only=True, digest=False, explain=False)


def cycles(*design, **options) -> int | None:
    result = run(*design, **options)
    return None if result.deadlock else result.cycles


# measured with DAM-RS master 8771934 and dam-experiments 50cdc3e: N, D, naive (long FIFO N + 2), agnostic
MEASURED = [
    (128, 1, 16775, 16393),
    (128, 16, 264201, 262168),
    (256, 1, 66311, 65545),
    (256, 64, 4210697, 4194376),
    (512, 1, 263687, 262153),
    (512, 16, 4202505, 4194328),
    (512, 64, 16809993, 16777288),
]


class TestCycles:
    @pytest.mark.parametrize(("n", "d", "naive", "agnostic"), MEASURED)
    def test_dam_experiments_as_measured(self, n, d, naive, agnostic):
        assert (cycles("dam.naive", n, d), cycles("dam.agnostic", n, d)) == (naive, agnostic)

    def test_the_run_that_was_calibrated_to_spatial(self):
        """Commit 8cf18a4 of dam-experiments; cycles by the formula that holds for DAM's runs of N = 16 and 64."""
        timing = {"matmul_qk_ii": 2, "matmul_qk_latency": 9, "matmul_pv_ii": 2, "matmul_pv_latency": 9}
        timing |= {"div_latency": 8, "sum_latency": 2, "sum_reset": 4}
        assert cycles("dam.naive", 512, short_depth=13, **timing) == 2 * 512**2 + 2 * 512 + 33

    @pytest.mark.parametrize(("d", "shallow"), [(16, 614067), (64, 788659)])
    def test_the_scaled_test_of_gina_runs_at_less_than_half_its_rate(self, d, shallow):
        """Short FIFOs of 2 are too shallow for its latencies; 16 are enough."""
        latency = 1 + d.bit_length() - 1
        assert cycles("dam.gina_scaled", 512, d, qkt_latency=latency, long_depth=513) == shallow
        deep = cycles("dam.gina_scaled", 512, d, qkt_latency=latency, short_depth=16, long_depth=1024)
        assert deep == 265227

    @pytest.mark.parametrize("n", [16, 64, 512, 2048])
    def test_the_other_tests_of_gina(self, n):
        assert cycles("dam.gina_spatial", n) == n * n + 12 * n + 28
        assert cycles("dam.gina_spatial", n, long_depth=None) == n * n + 5 * n + 35
        assert cycles("dam.gina_agnostic", n) == n * n + 4 * n + 7

    @pytest.mark.parametrize("n", [2, 16, 512])
    def test_composed_variants_in_closed_form(self, n):
        deep = {"long_depth": n + 4}
        assert cycles("dam.composed_naive", n, **deep) == n * n + n + 8
        assert cycles("dam.composed_scaled", n, **deep) == n * n + 2 * n + 11
        assert cycles("dam.composed_reordered", n, **deep) == n * n + n + 9
        assert cycles("dam.composed_naive_reordered", n) == n * n + 6
        assert cycles("dam.composed_memory_free", n) == n * n + 6

    @pytest.mark.parametrize("batch", [2, 3, 8])
    def test_every_further_sequence_costs_the_same(self, batch):
        assert cycles("dam.naive", 16, batch=batch) == 311 + (batch - 1) * (16 * 16 + 2 * 16)


class TestDepths:
    @pytest.mark.parametrize("missing", range(5))
    @pytest.mark.parametrize("exp_latency", [1, 5])
    def test_a_long_fifo_below_full_rate_costs_every_row_but_one(self, missing, exp_latency):
        n, full_rate = 32, 32 + 3 + exp_latency
        timing = {"exp_latency": exp_latency}
        free = cycles("dam.naive", n, long_depth=None, **timing)
        assert free == n * n + n + 8 + exp_latency
        assert cycles("dam.naive", n, long_depth=full_rate - missing, **timing) == free + (n - 1) * missing

    @pytest.mark.parametrize("name", ["dam.naive", "dam.composed_scaled", "dam.composed_reordered"])
    def test_below_a_row_nothing_moves(self, name):
        assert cycles(name, 16, long_depth=16) is not None
        found = get_algorithm(name)
        graph = found.build(workload_of(16), found.parameters(long_depth=15))
        deadlock = simulate(graph, timing_only=True).deadlock
        assert deadlock is not None
        if name != "dam.composed_scaled":  # two FIFOs are too short there, and no single one frees it
            assert list(deadlock.remedy.values()) == [16]

    def test_filling_the_short_fifo_first_saves_one_slot_of_the_long_one(self):
        """The units of gina do not wait for all FIFOs together, so the sum gets the last score of a row."""
        assert cycles("dam.gina_unscaled", 16, long_depth=15) is not None
        assert cycles("dam.gina_unscaled", 16, long_depth=14) is None

    def test_zero_means_the_published_depth(self):
        graph = get_algorithm("dam.gina_spatial").build(workload_of(16), get_algorithm("dam.gina_spatial").parameters())
        depths = {channel.name: channel.depth for channel in graph.channels}
        assert depths.pop("qkt_exp->div") == 16 + 2
        assert [depths.pop(f"{a}->{b}") for a, b in (("qkt_exp", "sum"), ("sum", "div"), ("div", "matvec"))] == [
            13,
            4,
            10,
        ]
        assert set(depths.values()) == {2}


SHAPES = {
    "one score": {"q_len": 1, "kv_len": 1, "head_dim": 1},
    "one query": {"heads": 2, "q_len": 1, "kv_len": 7, "head_dim": 2},
    "ragged": {"heads": 4, "kv_heads": 2, "q_len": 5, "kv_len": 12, "head_dim": 3, "v_head_dim": 7, "batch": 2},
    "narrow values": {"heads": 2, "kv_heads": 2, "q_len": 6, "kv_len": 8, "head_dim": 7, "v_head_dim": 1},
}


@pytest.mark.parametrize("name", DAM)
class TestEveryGraph:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_values_are_exact_attention(self, name, shape):
        work, found = workload_of(1, **SHAPES[shape]), get_algorithm(name)
        tensors = draw_tensors(work)
        result = simulate(found.build(work, found.parameters(), tensors))
        expected, _ = oracle.attention(*tensors, mask="full")
        assert result.deadlock is None
        assert np.max(np.abs(result.outputs["out"].reshape(expected.shape) - expected)) < 1e-12

    def test_both_engines_agree_in_every_start_and_cause(self, name):
        found = get_algorithm(name)
        graph = found.build(workload_of(6, 3, q_len=7, batch=2), found.parameters(short_depth=2))
        runs = [
            simulate(graph, timing_only=True, engine=engine, skip=skip)
            for engine, skip in (("simpy", False), ("compiled", False), ("compiled", True))
        ]
        first, *others = [(run.cycles, run.schedule_digest, run.units, run.channels) for run in runs]
        assert others == [first, first]

    def test_its_cycles_do_not_depend_on_skipping(self, name):
        found = get_algorithm(name)
        graph = found.build(workload_of(200, 3), found.parameters())
        full = simulate(graph, timing_only=True, skip=False)
        short = simulate(graph, timing_only=True)
        assert short.skipped.firings > 0
        assert (short.cycles, short.schedule_digest) == (full.cycles, full.schedule_digest)

    def test_it_refuses_a_mask(self, name):
        found = get_algorithm(name)
        with pytest.raises(InputError, match=r"^mask: a graph of DAM has no mask, every query sees every key$"):
            found.build(workload_of(4, mask="causal"), found.parameters())

    def test_its_parameters_are_complained_about_together(self, name):
        names = [field.name for field in fields(get_algorithm(name).parameters)]
        with pytest.raises(InputError) as error:
            get_algorithm(name).parameters(**dict.fromkeys(names, -1))
        assert [problem.field for problem in error.value.problems] == names

    def test_unbounded_fifos_are_none(self, name):
        parameters = get_algorithm(name).parameters
        depths = {field.name: None for field in fields(parameters) if field.name.endswith("depth")}
        graph = get_algorithm(name).build(workload_of(4), parameters(**depths))
        assert {channel.depth for channel in graph.channels} == {None}


class TestChannels:
    def test_latency_of_a_channel_overlaps_that_of_the_unit(self):
        """Token time is max(request, clock + channel latency), so only what exceeds the unit's latency is seen."""
        name, free = "dam.composed_memory_free", {"short_depth": None}
        path = ("k->dot", "dot->scan", "scan->pv", "pv->div", "div->out")
        assert cycles(name, 8, **free, channel_latency=3) == cycles(name, 8, **free) + 2 * len(path)
        slow_dot = cycles(name, 8, **free, dot_latency=6)
        assert cycles(name, 8, **free, dot_latency=6, channel_latency=3) == slow_dot + 2 * (len(path) - 1)

    def test_response_latency_is_part_of_the_round_trip(self):
        n = 16
        assert cycles("dam.composed_naive_reordered", n, short_depth=2) == n * n + 6
        slow = cycles("dam.composed_naive_reordered", n, short_depth=2, response_latency=3)
        assert slow == pytest.approx(2 * n * n, rel=0.02)
        assert cycles("dam.composed_naive_reordered", n, short_depth=4, response_latency=3) == n * n + 6


def test_a_start_needs_rows_of_one_block():
    builder = DamBuilder(workload_of(4), DamParameters(), None)
    blocks = (Block((Segment(1, (), (1,)),)), Block((Segment(2, (), (1,)),)))
    with pytest.raises(GraphError, match="unit late: a start-up time needs rows of a single block"):
        builder.add(Unit("late", "source", None), Timing(start=3), *blocks)


def test_values_need_tensors():
    builder = DamBuilder(workload_of(4), DamParameters(), None)
    with pytest.raises(InputError, match="was built without tensors"):
        builder._queries(range(1))
