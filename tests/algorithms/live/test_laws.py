"""Laws of serving on random scenarios of all schedulers: in stretches as step by step, and nothing lost or made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.live.metrics import serving_metrics
from algorithms.live.schedulers.register import SCHEDULERS, get_scheduler
from tests.algorithms.live.random_scenarios import Audited, scenarios

QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def told(run):
    requests = [
        (
            each.request.arrival_ns,
            each.scheduled_ns,
            each.first_token_ns,
            each.last_token_ns,
            each.preemptions,
            each.cached_tokens,
        )
        for each in run.requests
    ]
    logs = [(log.steps, log.busy_ns, log.moving_ns, log.prefill_tokens) for log in run.logs]
    memory = [
        (pool.used, pool.most_used, vars(pool.count), pool.far.traffic if pool.far else None) for pool in run.pools
    ]
    return requests, logs, memory, str(serving_metrics(run))


def refuse_broken_laws(scenario):
    """Serve a scenario in stretches and step by step; raises AssertionError where a law is broken."""
    (quick, times), (single, _) = scenario.serve(True), scenario.serve(False)
    assert told(quick) == told(single), "the same in stretches and step by step"
    for pool in quick.pools:
        assert pool.used == 0 and not any(pool.owners.values()), "no block is leaked"
        assert pool.most_used <= scenario.blocks, "memory is never above its capacity"
    for pool in quick.pools if scenario.tiers else ():
        assert all(most <= tier.blocks for tier, _, _, most in pool.far.traffic)
    made = sum(log.token_gaps()[1].sum() for log in quick.logs)
    assert made == sum(each.output_tokens - 1 for each in scenario.requests), "as many tokens out as were asked for"
    computed = sum(part.new_tokens for _, parts in times.parts for part in parts)
    wanted = sum(each.request.prompt_tokens - each.cached_tokens for each in quick.requests)
    again = sum(each.preemptions for each in quick.requests)
    assert computed >= wanted
    assert again or computed == wanted, "nothing is computed twice but what was lost"
    for each in quick.requests:
        assert each.finished and each.cached_tokens < each.request.prompt_tokens
        assert each.request.arrival_ns <= each.scheduled_ns < each.first_token_ns <= each.last_token_ns
    if scenario.replicas == 1:
        refuse_idleness(quick)
        if get_scheduler(scenario.scheduler).make(Audited(9), scenario.limits).first_come:
            begun = [each.scheduled_ns for each in quick.requests]
            assert begun == sorted(begun), "first come, first served"


def refuse_idleness(run):
    """Whoever is there is worked for: from arrival to the last token, steps follow each other without a gap."""
    spans = []
    for log in run.logs:
        starts = np.array(log.starts_ns, dtype=np.int64)
        ends = starts + np.array([int(each.sum()) for each in log.durations], dtype=np.int64)
        assert (starts[1:] >= ends[:-1]).all(), "one step at a time"
        spans += zip(starts.tolist(), ends.tolist(), strict=True)
    starts, ends = joined(spans)
    for each in run.requests:
        begin, end = each.request.arrival_ns, each.last_token_ns
        worked = np.clip(np.minimum(ends, end) - np.maximum(starts, begin), 0, None).sum()
        assert worked == end - begin, "time in steps is the latency"


def joined(spans):
    """Beginnings and ends of spans that overlap nowhere, from those that may."""
    starts, ends = [], []
    for start, end in sorted(spans):
        if not ends or start > ends[-1]:
            starts.append(start)
            ends.append(end)
        else:
            ends[-1] = max(ends[-1], end)
    return np.array(starts), np.array(ends)


@pytest.mark.parametrize("scheduler", SCHEDULERS.names())
@settings(max_examples=300, **QUIET)
@given(data=st.data())
def test_laws_of_serving(scheduler, data):
    refuse_broken_laws(data.draw(scenarios(scheduler)))


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS.names())
@settings(max_examples=5_000, **QUIET)
@given(data=st.data())
def test_laws_of_serving_on_many_more(scheduler, data):
    refuse_broken_laws(data.draw(scenarios(scheduler)))
