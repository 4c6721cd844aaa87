"""Streaming SDPA with K and V from a memory tier: values, both engines, bounds, addresses, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.registry import get_algorithm
from algorithms.streaming.memory import memory_bounds, on_memory
from algorithms.workload.shape import Workload
from algorithms.workload.tensors import draw_tensors
from hwmodels.reading.errors import InputError
from reference.truth.metrics import relative_l2
from reference.truth.oracle import attention
from simulator import simulate
from simulator.errors import CapacityError

CLOCK_HZ = 1e9


def shape(q_len=32, kv_len=32, heads=2, kv_heads=1, head_dim=64, mask="full", **rest):
    return Workload("small", "prefill", heads, kv_heads, q_len, kv_len, head_dim, mask=mask, **rest)


def loaded(workload, variant="sdpa.memory_free", tensors=None, clock_hz=CLOCK_HZ, **parameters):
    algorithm = get_algorithm(variant)
    parameters = algorithm.parameters(**{"kv_tier": "hbm2", **parameters})
    graph = algorithm.build(workload, parameters, tensors)
    return on_memory(graph, workload, parameters, clock_hz), memory_bounds(graph, workload, parameters, clock_hz)


@pytest.mark.parametrize("variant", ["sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free"])
@pytest.mark.parametrize("mask", ["full", "causal"])
def test_values_are_those_of_the_oracle_and_both_engines_agree(variant, mask):
    workload = shape(mask=mask)
    tensors = draw_tensors(workload)
    graph, _ = loaded(workload, variant, tensors)
    fast, readable = (simulate(graph, engine=engine) for engine in ("compiled", "simpy"))
    expected, _ = attention(*tensors, mask=mask)
    assert relative_l2(fast.outputs["out"].reshape(expected.shape), expected) < 1e-12
    assert fast.schedule_digest == readable.schedule_digest
    assert fast.servers == readable.servers


@pytest.mark.parametrize("tier", ["hbm2", "hbm3", "ddr4_3200", "ddr5_4800"])
@pytest.mark.parametrize("clock_hz", [1e9, 1.83e9])
def test_time_lies_between_the_bounds_on_both_engines(tier, clock_hz):
    graph, bounds = loaded(shape(), kv_tier=tier, clock_hz=clock_hz)
    fast, readable = (simulate(graph, engine=engine, timing_only=True) for engine in ("compiled", "simpy"))
    assert fast.schedule_digest == readable.schedule_digest
    assert bounds.lower_cycles <= fast.cycles <= bounds.upper_cycles


def test_rows_that_fit_among_the_loads_under_way_may_be_answered_together():
    """Their bytes are not a bound then: a controller merges reads of what it is reading already."""
    short, long = (loaded(shape(kv_len=keys, q_len=8, heads=1), kv_rows_per_load=16)[1] for keys in (64, 256))
    assert short.transfer_cycles * 4 * 8 <= long.transfer_cycles + 32
    moved = 2 * 8 * 256 * 64 * 2  # K and V, rows, keys, elements, bytes
    assert long.transfer_cycles == pytest.approx(moved / 256, abs=1)  # 256 GB/s


def test_bytes_are_those_of_the_keys_and_values_of_every_row():
    workload = shape(q_len=16, kv_len=40)
    result = simulate(loaded(workload, kv_rows_per_load=16)[0], timing_only=True)
    assert result.servers[0].bytes == 2 * 2 * 16 * 40 * 64 * 2  # K and V, heads, queries, keys, elements, bytes
    assert result.unit("k").firings == 2 * 16 * 3  # 16 + 16 + 8 rows


def test_a_wider_memory_is_never_slower_here():
    cycles = {
        tier: simulate(loaded(shape(), kv_tier=tier)[0], timing_only=True).cycles for tier in ("ddr4_3200", "hbm2")
    }
    assert cycles["hbm2"] < cycles["ddr4_3200"]


def test_a_fast_pipeline_is_bound_by_memory_and_a_slow_one_by_computing():
    fast, bounds = loaded(shape(kv_len=256, q_len=16))
    assert bounds.transfer_cycles < bounds.compute_cycles * 2
    slow, slow_bounds = loaded(shape(kv_len=256, q_len=16), mac_lanes=4)
    assert simulate(slow, timing_only=True).cycles < 1.05 * slow_bounds.compute_cycles
    assert simulate(fast, timing_only=True).cycles < simulate(slow, timing_only=True).cycles


def test_heads_read_their_own_keys():
    """The load units walk through all KV heads: their last address is the end of the tensors."""
    workload = shape(heads=4, kv_heads=2, batch=3)
    graph, _ = loaded(workload)
    k, v = (next(unit for unit in graph.units if unit.name == name) for name in "kv")
    size = 3 * 2 * 32 * 64 * 2
    for unit, base in ((k, 0), (v, size)):
        segment = unit.table.blocks[0].segments[0]
        turns = np.arange(unit.table.iterations) // segment.iterations_per_address
        last = segment.address + turns[-1] * segment.address_iteration_step
        assert turns[-1] + 1 == 3 * 2
        assert segment.address == base
        assert last + segment.count * segment.address_step == base + size


def test_what_does_not_fit_is_told():
    message = (
        r"hbm2: keys 17\.18 GB \+ values 17\.18 GB = 34\.36 GB does not fit into 8\.59 GB, by .* 4 devices instead of 1"
    )
    with pytest.raises(CapacityError, match=message):
        loaded(shape(kv_len=1 << 16, q_len=1, heads=1024, kv_heads=1024, head_dim=128))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_tier": "hbm22"}, "kv_tier: unknown tier 'hbm22'; did you mean 'hbm2'"),
        ({"kv_tier": "pcie5_x16"}, "kv_tier: pcie5_x16 is a link tier"),
        ({"granularity": "scalar"}, "needs granularity row"),
        ({"kv_buffer_rows": 3}, "kv_buffer_rows: must hold a load of 16 rows"),
        ({"kv_rows_per_load": -1}, "kv_rows_per_load: must be at least 0"),
    ],
)
def test_bad_settings_are_one_clear_line(changes, message):
    with pytest.raises(InputError) as caught:
        loaded(shape(), **changes)
    assert message in str(caught.value)


def test_growing_rows_are_loaded_key_by_key():
    with pytest.raises(InputError, match="loaded key by key"):
        loaded(shape(mask="causal"), kv_rows_per_load=4)
