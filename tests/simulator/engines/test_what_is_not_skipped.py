"""A result says why nothing was skipped: a memory that is simulated bank by bank serves every request."""

from __future__ import annotations

import pytest

from algorithms.registry import get_algorithm
from algorithms.streaming.memory import on_memory
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import Workload
from simulator.engines.compiled.engine import run_compiled


@pytest.mark.parametrize(("tier", "skips"), [("hbm2", False), (None, True)])
def test_a_memory_of_banks_serves_every_request_and_the_result_says_so(tier: str | None, skips: bool) -> None:
    work = Workload("long", "prefill", 1, 1, 96, 96, 64, mask="full")
    parameters = StreamingParameters(kv_tier=tier) if tier else StreamingParameters()
    graph = get_algorithm("sdpa.memory_free").build(work, parameters)
    frozen = (on_memory(graph, work, parameters, 1e9) if tier else graph).freeze()
    skipped = run_compiled(frozen).skipped
    assert (skipped.firings > 0.5 * frozen.firings) == skips
    assert ("a memory serves every request" in skipped.note) == (not skips)
    assert (skipped.firings == 0) == (not skips)
