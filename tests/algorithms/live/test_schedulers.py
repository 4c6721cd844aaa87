"""Laws that hold of every registered scheduler, and what tells them apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.live.blocks import BlockPool
from algorithms.live.metrics import serving_metrics
from algorithms.live.requests import Request
from algorithms.live.schedulers.register import SCHEDULERS, Limits, get_scheduler
from algorithms.live.serve import Split, serve
from hwmodels.reading.errors import InputError
from tests.algorithms.live.random_scenarios import Parts, Times


@st.composite
def scenarios(draw):
    block_tokens, most_sequences = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    gaps = draw(st.lists(st.integers(0, 20_000), min_size=1, max_size=14))
    requests = [
        Request(i, int(at), draw(st.integers(1, 30)), draw(st.integers(1, 25))) for i, at in enumerate(np.cumsum(gaps))
    ]
    largest = max(-(-(each.prompt_tokens + each.output_tokens - 1) // block_tokens) for each in requests)
    limits = Limits(most_sequences, draw(st.integers(most_sequences, 20)))
    return requests, (draw(st.integers(largest, 3 * largest + 4)), block_tokens), limits


@pytest.mark.parametrize("name", SCHEDULERS.names())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenario=scenarios())
def test_laws_of_every_scheduler(name, scenario):
    requests, (blocks, block_tokens), limits = scenario
    runs, asked = [], []

    def scheduler():
        return get_scheduler(name).make(BlockPool(blocks, block_tokens), limits)

    for skip in (True, False):
        asked.append(Parts() if get_scheduler(name).phases else Times())
        runs.append(serve(requests, scheduler, asked[-1], skip=skip))
    told = [
        [(each.scheduled_ns, each.first_token_ns, each.last_token_ns, each.preemptions) for each in run.requests]
        for run in runs
    ]
    assert told[0] == told[1], "the same in stretches and step by step"
    assert str(serving_metrics(runs[0])) == str(serving_metrics(runs[1]))
    for run, times in zip(runs, asked, strict=True):
        (pool,) = run.pools
        assert pool.used == 0, "no block is leaked"
        assert pool.most_used <= blocks, "memory is never above its capacity"
        assert all(each.finished for each in run.requests)
        made = sum(log.token_gaps()[1].sum() for log in run.logs)
        assert made == sum(each.output_tokens - 1 for each in requests), "as many tokens out as were asked for"
        computed = sum(part.new_tokens for _, parts in times.parts for part in parts)
        wanted = sum(each.prompt_tokens for each in requests)
        again = sum(each.preemptions for each in run.requests)
        assert computed == wanted if not again else computed > wanted, "nothing is computed twice but what was lost"
        for sequences, parts in times.parts:
            assert sequences + len(parts) <= limits.most_sequences
        assert all(log.busy_ns <= run.end_ns for log in run.logs)


@pytest.mark.parametrize("name", ["orca", "static"])
@settings(max_examples=100, deadline=None)
@given(scenario=scenarios())
def test_prompts_stay_whole_and_nobody_loses_its_memory(name, scenario):
    requests, (blocks, block_tokens), limits = scenario
    times = Times()
    run = serve(requests, lambda: get_scheduler(name).make(BlockPool(blocks, block_tokens), limits), times)
    assert sum(each.preemptions for each in run.requests) == 0
    lengths = sorted(part.new_tokens for _, parts in times.parts for part in parts)
    assert lengths == sorted(each.prompt_tokens for each in requests)
    first = [each.scheduled_ns for each in run.requests]
    assert first == sorted(first), "first come, first served"


@settings(max_examples=100, deadline=None)
@given(scenario=scenarios())
def test_a_static_batch_lets_nobody_in_before_all_have_left(scenario):
    requests, (blocks, block_tokens), limits = scenario
    whole = Limits(limits.most_sequences, 10**6)  # all prompts of a batch in one step
    run = serve(requests, lambda: get_scheduler("static").make(BlockPool(blocks, block_tokens), whole), Times())
    for each in run.requests:
        before = [other for other in run.requests if other.scheduled_ns < each.scheduled_ns]
        assert all(other.last_token_ns <= each.scheduled_ns for other in before)


def test_continuous_batches_answer_sooner_than_those_that_stay_together():
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(60_000, 200)).astype(int)
    requests = [
        Request(i, int(at), int(rng.integers(1, 40)), int(rng.integers(1, 60))) for i, at in enumerate(arrivals)
    ]

    def latency(name):
        run = serve(requests, lambda: get_scheduler(name).make(BlockPool(400, 4), Limits(8, 64)), Times())
        return serving_metrics(run).latency.mean_s

    assert latency("vllm") <= 1.2 * latency("orca")
    assert 1.15 * latency("orca") < latency("static")


def test_an_unknown_scheduler_is_told_the_nearest():
    with pytest.raises(InputError, match="did you mean 'orca'"):
        get_scheduler("orka")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenario=scenarios(), prompts=st.integers(1, 2), more=st.integers(1, 2), per_token=st.integers(0, 400))
def test_prompts_on_replicas_of_their_own(scenario, prompts, more, per_token):
    requests, (blocks, block_tokens), limits = scenario

    def run(skip):
        make = get_scheduler("vllm").make
        split = Split(prompts, lambda tokens: 50 + per_token * tokens)
        return serve(
            requests,
            lambda: make(BlockPool(blocks, block_tokens), limits),
            Times(),
            replicas=prompts + more,
            skip=skip,
            split=split,
        )

    quick, single = run(True), run(False)
    told = [
        [(each.scheduled_ns, each.first_token_ns, each.last_token_ns, each.preemptions) for each in one.requests]
        for one in (quick, single)
    ]
    assert told[0] == told[1]
    assert all(pool.used == 0 for pool in quick.pools)
    gaps, counts = (np.concatenate(part) for part in zip(*(log.token_gaps() for log in quick.logs), strict=True))
    assert counts.sum() == sum(each.output_tokens - 1 for each in requests)
    for each in quick.requests:
        assert each.finished
        if each.request.output_tokens > 1:
            sent = 50 + per_token * each.request.prompt_tokens
            assert each.last_token_ns >= each.first_token_ns + sent, "keys and values are under way first"
    assert int((gaps * counts).sum()) == sum(each.last_token_ns - each.first_token_ns for each in quick.requests)
    assert all(log.sequences == [0] * len(log.sequences) for log in quick.logs[:prompts]), "prompts alone"


def test_a_split_needs_replicas_on_both_sides():
    with pytest.raises(InputError, match="prefill: must leave replicas"):
        serve([], lambda: get_scheduler("vllm").make(BlockPool(4), Limits()), Times(), split=Split(1, lambda _: 1))


def grouped_requests():
    """Four groups of eight prompts that share 40 of 48 tokens, one after the other in turns; half decode much."""
    requests = []
    for number in range(32):
        group = number % 4
        prefix = tuple((group + 1) * 1_000 + (place if place < 10 else 100 * number + place) for place in range(12))
        requests.append(Request(number, 0, 48, 4 if group < 2 else 40, prefix))
    return requests


def test_groups_of_like_prompts_compute_their_prefix_once():
    def computed(name):
        pool = BlockPool(60, 4)
        run = serve(grouped_requests(), lambda: get_scheduler(name).make(pool, Limits(4, 64)), Times())
        assert all(each.finished for each in run.requests)
        return run.logs[0].prefill_tokens, run

    (mixed, _), (grouped, run) = computed("vllm"), computed("prefix_groups")
    assert grouped < 0.7 * mixed
    assert grouped <= 4 * 40 + 32 * 8 + 3 * 40, "a prefix, and what each has for itself; the first three come at once"
    begun = sorted(run.requests, key=lambda each: (each.scheduled_ns, each.request.number))
    groups = [each.request.number % 4 for each in begun]
    changes = sum(a != b for a, b in itertools.pairwise(groups))
    assert changes == 3, "one group after the other"
    assert set(groups[:16]) == {2, 3}, "those that decode much come first"


def test_whoever_belongs_to_the_group_that_is_served_enters_before_earlier_arrivals():
    shared = tuple(range(100, 110))
    requests = [
        Request(0, 0, 40, 30, shared),
        Request(1, 1, 40, 30, tuple(range(200, 210))),
        Request(2, 2, 40, 30, shared),
    ]
    for skip in (True, False):
        scheduler = get_scheduler("prefix_groups").make(BlockPool(64, 4), Limits(1, 64))
        run = serve(requests, lambda scheduler=scheduler: scheduler, Times(), skip=skip)
        assert run.requests[2].scheduled_ns < run.requests[1].scheduled_ns
        assert run.requests[2].cached_tokens == 36
