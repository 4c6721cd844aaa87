"""Serving in stretches against a scheduler that visits every sequence in every step, and against laws of queues."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.live.blocks import BlockPool
from algorithms.live.metrics import Distribution, ServiceLevel, serving_metrics
from algorithms.live.requests import Request
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.serve import serve
from algorithms.live.steps import Part
from hwmodels.reading.errors import InputError


class Times:
    """Step times that depend on everything a step holds."""

    def decode(self, sequences, context_tokens):
        return 1_000 + 37 * sequences + 3 * np.asarray(context_tokens)

    def mixed(self, sequences, context_tokens, prefill):
        decode = int(self.decode(sequences, np.array([context_tokens]))[0])
        return decode + sum(11 * part.new_tokens * (1 + part.cached_tokens + part.new_tokens) for part in prefill)


@dataclass(eq=False)
class _Slow:
    """A sequence of the slow scheduler."""

    request: Request
    computed: int = 0
    generated: int = 0
    blocks: list = field(default_factory=list)
    first: int | None = None
    last: int | None = None
    begun: int | None = None
    preempted: int = 0
    filling: bool = True


def slow_serve(requests, blocks, block_tokens, most_sequences, most_tokens, times):
    """vLLM's loop as it is written there: all running sequences in order, then those that wait; no prefix is shared."""
    now, free = 0, blocks
    coming, waiting, running, done = list(requests), [], [], []
    while coming or waiting or running:
        while coming and coming[0].arrival_ns <= now:
            waiting.append(_Slow(coming.pop(0)))
        if not waiting and not running:
            now = coming[0].arrival_ns
            continue
        budget, scheduled, preempted, place = most_tokens, [], False, 0
        while place < len(running) and budget > 0:
            each = running[place]
            new = min(each.request.prompt_tokens + each.generated - each.computed, budget)
            missing = -(-(each.computed + new) // block_tokens) - len(each.blocks)
            alive = True
            while missing > free and alive:
                victim = running.pop()
                free += len(victim.blocks)
                victim.blocks, victim.computed, preempted = [], 0, True
                victim.preempted += 1
                victim.filling = True
                waiting.insert(0, victim)
                alive = victim is not each
            if not alive:
                break
            free -= missing
            each.blocks += [None] * missing
            scheduled.append((each, new))
            budget -= new
            place += 1
        while waiting and budget > 0 and not preempted and len(running) < most_sequences:
            each = waiting[0]
            new = min(each.request.prompt_tokens + each.generated, budget)
            missing = -(-new // block_tokens)
            if missing > free:
                break
            waiting.pop(0)
            free -= missing
            each.blocks = [None] * missing
            running.append(each)
            scheduled.append((each, new))
            budget -= new
        decoding = [(each, new) for each, new in scheduled if not each.filling]
        parts = tuple(Part(new, each.computed) for each, new in scheduled if (each, new) not in decoding)
        context = sum(each.computed + 1 for each, _ in decoding)
        for each, _ in scheduled:
            each.begun = now if each.begun is None else each.begun
        if parts:
            now += times.mixed(len(decoding), context, parts)
        else:
            now += int(times.decode(len(decoding), np.array([context]))[0])
        for each, new in scheduled:
            each.computed += new
            if each.computed == _known(each):
                each.generated += 1
                each.filling = False
                each.first = now if each.first is None else each.first
                if each.generated == each.request.output_tokens:
                    each.last = now
                    free += len(each.blocks)
                    running.remove(each)
                    done.append(each)
    assert free == blocks
    return sorted(done, key=lambda each: each.request.number)


def _known(each):
    return each.request.prompt_tokens + each.generated


@st.composite
def scenarios(draw):
    block_tokens = draw(st.integers(1, 5))
    most_sequences = draw(st.integers(1, 6))
    most_tokens = draw(st.integers(most_sequences, 20))
    gaps = draw(st.lists(st.integers(0, 20_000), min_size=1, max_size=14))
    arrivals = np.cumsum(gaps)
    requests = [
        Request(i, int(at), draw(st.integers(1, 30)), draw(st.integers(1, 25))) for i, at in enumerate(arrivals)
    ]
    largest = max(-(-(each.prompt_tokens + each.output_tokens - 1) // block_tokens) for each in requests)
    blocks = draw(st.integers(largest, 3 * largest + 4))
    return requests, blocks, block_tokens, most_sequences, most_tokens


def told(run):
    return [(each.scheduled_ns, each.first_token_ns, each.last_token_ns, each.preemptions) for each in run.requests]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
def test_stretches_single_steps_and_the_plain_loop_agree(scenario):
    requests, blocks, block_tokens, most_sequences, most_tokens = scenario

    def scheduler():
        return ContinuousBatching(BlockPool(blocks, block_tokens), most_sequences, most_tokens)

    quick, single = (serve(requests, scheduler, Times(), skip=skip) for skip in (True, False))
    slow = slow_serve(requests, blocks, block_tokens, most_sequences, most_tokens, Times())
    assert told(quick) == told(single) == [(each.begun, each.first, each.last, each.preempted) for each in slow]
    for each in (quick, single):
        gaps, counts = each.logs[0].token_gaps()
        assert counts.sum() == sum(request.output_tokens - 1 for request in requests)
        tokens = sum(each.last_token_ns - each.first_token_ns for each in quick.requests)
        assert int((gaps * counts).sum()) == tokens
    assert str(serving_metrics(quick)) == str(serving_metrics(single))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios(), st.integers(1, 3), st.data())
def test_laws_hold_with_shared_prefixes_and_several_replicas(scenario, replicas, data):
    plain, blocks, block_tokens, most_sequences, most_tokens = scenario
    requests = []
    for each in plain:
        whole = each.prompt_tokens // block_tokens
        branch = data.draw(st.integers(0, 2))
        shared = data.draw(st.integers(0, whole))
        prefix = tuple((0, i) if i < shared else (branch + 1, i) for i in range(whole))
        names = tuple(hash(("block", prefix[: i + 1])) for i in range(whole))
        requests.append(Request(each.number, each.arrival_ns, each.prompt_tokens, each.output_tokens, names))
    pools = []

    def scheduler():
        pools.append(BlockPool(blocks, block_tokens))
        return ContinuousBatching(pools[-1], most_sequences, most_tokens)

    quick = serve(requests, scheduler, Times(), replicas=replicas)
    single = serve(requests, scheduler, Times(), replicas=replicas, skip=False)
    assert told(quick) == told(single)
    assert [each.cached_tokens for each in quick.requests] == [each.cached_tokens for each in single.requests]
    for pool in pools:
        assert pool.used == 0
        assert pool.most_used <= blocks
    for each in quick.requests:
        assert each.finished
        assert each.request.arrival_ns <= each.scheduled_ns < each.first_token_ns <= each.last_token_ns
        assert each.cached_tokens < each.request.prompt_tokens
    first = [each.scheduled_ns for each in quick.requests]
    assert replicas > 1 or first == sorted(first), "first come, first served"


def brute_force_hits(requests, blocks):
    """A cache of single blocks that are used one request after the other: a list, oldest first."""
    held, found = [], 0
    for prefix in requests:
        run = []
        for name in prefix:
            if name not in held:
                break
            run.append(name)
        found += len(run)
        for name in run:
            held.remove(name)
        new = prefix[len(run) :]
        while len(held) + len(run) + len(new) > blocks:
            held.pop(0)
        # a block whose content another one still holds is not found by its content
        held += list(reversed([*run, *(None if name in held else name for name in new)]))
    return found


@settings(max_examples=300, deadline=None)
@given(st.integers(6, 14), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 3)), max_size=25))
def test_a_limited_prefix_cache_equals_a_list_of_blocks(blocks, drawn):
    """Requests are paths in a small tree, served one at a time."""
    requests = [tuple(hash((root, i, side if i >= fork else -1)) for i in range(1, 6)) for root, fork, side in drawn]
    pool, found = BlockPool(blocks, block_tokens=1), 0
    for prefix in requests:
        matched = pool.match(prefix, len(prefix))
        found += len(matched)
        pool.share(matched)
        taken = matched + pool.take(len(prefix) - len(matched))
        for block, name in zip(taken, prefix, strict=True):
            pool.remember(block, name)
        pool.release(taken)
    assert found == brute_force_hits(requests, blocks)


class OneAtATime:
    """Each request is one step of a time that its prompt says."""

    def decode(self, sequences, context_tokens):
        raise AssertionError("requests of one token never decode")

    def mixed(self, sequences, context_tokens, prefill):
        return 1_000 * sum(part.new_tokens for part in prefill)


@pytest.mark.parametrize("law", ["fixed", "exponential"])
def test_a_single_server_waits_as_long_as_pollaczek_and_khinchine_and_erlang_say(law):
    rng = np.random.default_rng(3)
    count, mean, load = 60_000, 500, 0.7
    sizes = np.full(count, mean) if law == "fixed" else np.maximum(1, np.ceil(rng.exponential(mean, count))).astype(int)
    arrivals = np.cumsum(rng.exponential(1_000 * sizes.mean() / load, count)).astype(np.int64)
    requests = [Request(i, int(at), int(size), 1) for i, (at, size) in enumerate(zip(arrivals, sizes, strict=True))]
    run = serve(requests, lambda: ContinuousBatching(BlockPool(None, 16), 1, 10**6), OneAtATime())
    waits = np.array([each.scheduled_ns - each.request.arrival_ns for each in run.requests])
    service = 1_000.0 * sizes
    rate = 1.0 / np.diff(arrivals).mean()
    want = rate * (service**2).mean() / (2 * (1 - rate * service.mean()))
    assert waits.mean() == pytest.approx(want, rel=0.06)
    used = rate * service.mean()
    assert (waits > 0).mean() == pytest.approx(used, rel=0.02), "as likely as the server works"
    if law == "exponential":
        # Erlang's formula for one server: P(wait > t) = load exp(-(1 - load) t / service)
        for time in (500_000, 1_000_000, 2_000_000):
            longer = used * np.exp(-(1 - used) * time / service.mean())
            assert (waits > time).mean() == pytest.approx(longer, rel=0.08)


def test_a_request_that_can_never_be_served_is_named_and_the_others_are_served():
    requests = [Request(0, 0, 100, 5), Request(1, 1, 4, 4)]
    run = serve(requests, lambda: ContinuousBatching(BlockPool(4, 4), 2, 8), Times())
    assert run.requests[0].refused == "its 105 tokens need 26 KV blocks, more than all 4"
    assert run.requests[1].finished
    metrics = serving_metrics(run, ServiceLevel(ttft_s=1e-9))
    assert (metrics.refused, metrics.finished, metrics.goodput) == (1, 1, 0.0)


def test_weighted_percentiles_are_those_of_the_repeated_times():
    rng = np.random.default_rng(0)
    times, counts = rng.random(50), rng.integers(0, 9, 50)
    many = np.sort(np.repeat(times, counts))
    found = Distribution.weighted(times, counts)
    assert found.count == len(many)
    assert found.mean_s == pytest.approx(many.mean())
    assert found.p90_s == many[int(np.ceil(0.9 * len(many))) - 1]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Request(0, -1, 1, 1), "arrival_ns"),
        (lambda: Request(0, 0, 0, 1), "prompt_tokens"),
        (lambda: BlockPool(0), "blocks"),
        (lambda: ContinuousBatching(BlockPool(4), 8, 4), "most_tokens"),
        (lambda: serve([], lambda: ContinuousBatching(BlockPool(4)), Times(), replicas=0), "replicas"),
        (
            lambda: serve(
                [Request(0, 5, 1, 1), Request(1, 4, 1, 1)], lambda: ContinuousBatching(BlockPool(4)), Times()
            ),
            "arrival_ns",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_field(make, field):
    with pytest.raises(InputError) as caught:
        make()
    assert [problem.field for problem in caught.value.problems] == [field]
