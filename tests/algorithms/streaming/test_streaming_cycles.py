"""Cycles of the streaming variants: closed forms against the simulator, full rate, and where they deadlock."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.registry import get_algorithm
from algorithms.streaming.closed_form import VARIANTS, outside_the_closed_form, streaming_cycles
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from simulator import ENGINES, Graph, simulate

LATENCIES = ("qk_latency", "exp_latency", "reduce_latency", "div_latency", "pv_latency")


def shaped(queries: int, keys: int | None = None, head_dim: int = 4, **changes) -> Workload:
    """One attention layer of these lengths; a full mask and one head unless told otherwise."""
    fields = {"heads": 1, "kv_heads": 1, "mask": "full", "v_head_dim": head_dim, **changes}
    return Workload(name="w", phase="prefill", q_len=queries, kv_len=keys or queries, head_dim=head_dim, **fields)


def graph_of(variant: str, workload: Workload, **parameters) -> Graph:
    algorithm = get_algorithm(variant)
    return algorithm.build(workload, algorithm.parameters(**parameters))


def simulated(variant: str, workload: Workload, *, engine: str = "compiled", **parameters) -> int:
    result = simulate(graph_of(variant, workload, **parameters), engine=engine, timing_only=True, explain=False)
    assert result.deadlock is None
    return result.cycles


def predicted(variant: str, workload: Workload, **parameters) -> int:
    return streaming_cycles(variant, workload, get_algorithm(variant).parameters(**parameters))


# What each variant takes with unit latencies for N queries and keys, and D elements per scalar row.
UNIT_LATENCY = {
    ("sdpa.naive", "row"): lambda n, d: n * n + n + 8,
    ("sdpa.scaled", "row"): lambda n, d: n * n + 2 * n + 11,
    ("sdpa.reordered", "row"): lambda n, d: n * n + n + 10,
    ("sdpa.memory_free", "row"): lambda n, d: n * n + 7,
    ("sdpa.naive", "scalar"): lambda n, d: n * n * d + n * d + 9,
    ("sdpa.scaled", "scalar"): lambda n, d: n * n * d + n * d + n + 12,
    ("sdpa.reordered", "scalar"): lambda n, d: n * n * d + n * d + 11,
    ("sdpa.memory_free", "scalar"): lambda n, d: n * n * d + d + 7,
}
# With a causal mask N (N + 1) / 2 scores take the place of N N, and the drain stays.
CAUSAL_SCORES = {"full": lambda n: n * n, "causal": lambda n: n * (n + 1) // 2}


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize(("variant", "granularity"), UNIT_LATENCY)
def test_the_documented_formulas(variant, granularity, mask):
    for length, head_dim in itertools.product((1, 2, 3, 8, 17, 64, 200), (1, 2, 5, 16)):
        workload = shaped(length, head_dim=head_dim, mask=mask)
        cycles = simulated(variant, workload, granularity=granularity)
        score_cycles = head_dim if granularity == "scalar" else 1
        formula = UNIT_LATENCY[variant, granularity](length, head_dim)
        assert cycles == formula - (length**2 - CAUSAL_SCORES[mask](length)) * score_cycles
        assert cycles == predicted(variant, workload, granularity=granularity)


@pytest.mark.parametrize("granularity", ["row", "scalar"])
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("variant", VARIANTS)
class TestClosedForm:
    def test_heads_and_batches_follow_each_other_without_a_gap(self, variant, mask, granularity):
        for length, heads, batch in itertools.product((1, 4, 33, 150), (1, 2, 3), (1, 2)):
            workload = shaped(length, head_dim=2, heads=heads, batch=batch, mask=mask)
            assert simulated(variant, workload, granularity=granularity) == predicted(
                variant, workload, granularity=granularity
            )

    def test_ragged_lengths_and_head_dims(self, variant, mask, granularity):
        for queries, extra, head_dim, v_head_dim in itertools.product((1, 6, 20), (0, 3, 30), (1, 3, 4), (1, 4, 11)):
            workload = shaped(queries, queries + extra, head_dim, v_head_dim=v_head_dim, heads=2, mask=mask)
            assert simulated(variant, workload, granularity=granularity) == predicted(
                variant, workload, granularity=granularity
            )

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_any_latencies(self, variant, mask, granularity, data):
        latencies = {name: data.draw(st.integers(1, 15), label=name) for name in LATENCIES}
        if granularity == "scalar":
            latencies["reduce_latency"] = min(latencies["reduce_latency"], latencies["pv_latency"])
        parameters = {"granularity": granularity, "fifo_depth": 1 + max(latencies.values()), **latencies}
        queries = data.draw(st.integers(1, 24), label="queries")
        workload = shaped(
            queries,
            queries + data.draw(st.integers(0, 9), label="more keys"),
            data.draw(st.integers(1, 6), label="head_dim"),
            heads=data.draw(st.integers(1, 3), label="heads"),
            mask=mask,
        )
        assert simulated(variant, workload, **parameters) == predicted(variant, workload, **parameters)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_both_engines(self, variant, mask, granularity, engine):
        workload = shaped(6, 8, 3, heads=2, mask=mask)
        changes = {"granularity": granularity, "qk_latency": 4, "exp_latency": 6, "pv_latency": 3}
        assert simulated(variant, workload, engine=engine, **changes) == predicted(variant, workload, **changes)

    def test_default_depths_are_full_rate(self, variant, mask, granularity):
        """Not one cycle is lost to FIFOs: unbounded ones give the same count. Causal heads leave many short rows."""
        for length, heads, reduce_latency in ((64, 2, 1), (200, 3, 1), (300, 2, 1), (40, 2, 9)):
            workload = shaped(length, head_dim=2, heads=heads, mask=mask)
            graph = graph_of(variant, workload, granularity=granularity, reduce_latency=reduce_latency)
            unbounded = graph.with_depths({channel.name: None for channel in graph.channels})
            assert simulate(graph, timing_only=True).cycles == simulate(unbounded, timing_only=True).cycles, (
                f"{length} rows, {heads} heads"
            )


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("granularity", ["row", "scalar"])
def test_reordered_without_row_maximum_is_as_fast_as_memory_free(granularity, mask):
    for queries, keys, head_dim, heads in ((1, 1, 1, 1), (9, 9, 3, 2), (16, 30, 5, 1)):
        workload = shaped(queries, keys, head_dim, heads=heads, mask=mask)
        without = {"granularity": granularity, "row_max": False}
        cycles = simulated("sdpa.reordered", workload, **without)
        assert cycles == predicted("sdpa.reordered", workload, **without)
        assert cycles == predicted("sdpa.memory_free", workload, granularity=granularity)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_million_rows_are_exact(variant):
    """1.1e12 scores: the steady state is skipped, and the count is still that of the closed form."""
    workload = shaped(1 << 20, head_dim=128)
    graph = graph_of(variant, workload)
    result = simulate(graph, timing_only=True)
    assert result.cycles == predicted(variant, workload) == UNIT_LATENCY[variant, "row"](1 << 20, 128)
    assert result.skipped.firings > 0.99 * result.firings
    assert result.firings > 7 * (1 << 40)


@pytest.mark.parametrize("variant", VARIANTS)
def test_causal_rows_of_eight_thousand_keys_are_exact(variant):
    workload = shaped(1 << 13, head_dim=128, mask="causal")
    assert simulated(variant, workload) == predicted(variant, workload)


class TestShallowFifos:
    @pytest.mark.parametrize("variant", ["sdpa.naive", "sdpa.scaled", "sdpa.reordered"])
    @pytest.mark.parametrize("length", [2, 5, 16, 40])
    def test_a_row_long_fifo_needs_exactly_a_row(self, variant, length):
        """The row statistic needs all scores of the row to pass the same fork first."""
        workload = shaped(length)
        for depth, stuck in ((length - 1, True), (length, False)):
            graph = graph_of(variant, workload, long_depth=depth)
            result = simulate(graph, timing_only=True, explain=False)
            assert (result.deadlock is not None) == stuck

    def test_the_remedy_is_that_row(self):
        result = simulate(graph_of("sdpa.naive", shaped(32), long_depth=31), timing_only=True)
        assert result.deadlock.remedy == {"weights_fifo": 32}
        assert {"weight_fork", "row_sum", "sum_hold", "div"} == {wait.unit for wait in result.deadlock.waits}

    @pytest.mark.parametrize("mask", ["full", "causal"])
    def test_memory_free_needs_two_slots_whatever_the_length(self, mask):
        for length in (4, 64, 256):
            workload = shaped(length, mask=mask)
            assert simulated("sdpa.memory_free", workload, fifo_depth=2) == predicted("sdpa.memory_free", workload)
            assert simulated("sdpa.memory_free", workload, fifo_depth=1) > predicted("sdpa.memory_free", workload)


class TestWhereTheFormulaDoesNotHold:
    @pytest.mark.parametrize(
        ("variant", "parameters", "message"),
        [
            ("sdpa.naive", {"fifo_depth": 4, "exp_latency": 4}, "fifo_depth: must be at least 5 for full rate"),
            ("sdpa.naive", {"long_depth": 40}, "depths: single FIFO depths must be left to the algorithm"),
            ("sdpa.naive", {"depths": "q->q_hold=3"}, "depths: single FIFO depths must be left to the algorithm"),
            ("sdpa.naive", {"exp_cycles": 2}, "mac_lanes, exp_lanes, div_lanes: every unit must accept a token"),
            ("sdpa.scaled", {"mac_lanes": 1}, "mac_lanes, exp_lanes, div_lanes: every unit must accept a token"),
            (
                "sdpa.memory_free",
                {"granularity": "scalar", "reduce_latency": 2},
                "reduce_latency: must not exceed pv_latency with scalar tokens",
            ),
        ],
    )
    def test_it_says_so(self, variant, parameters, message):
        with pytest.raises(InputError) as error:
            predicted(variant, shaped(8), **parameters)
        assert str(error.value).startswith(message)

    def test_unknown_variants_are_told(self):
        with pytest.raises(InputError, match=r"no closed form for 'sdpa\.fast'"):
            streaming_cycles("sdpa.fast", shaped(8), get_algorithm("sdpa.naive").parameters())

    def test_all_reasons_come_at_once(self):
        parameters = get_algorithm("sdpa.naive").parameters(fifo_depth=1, long_depth=9, exp_cycles=3)
        assert len(outside_the_closed_form("sdpa.naive", shaped(8), parameters)) == 3
