"""Attention on chips of its own: two halves in turns, what crosses, and where keys lie."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.live.algorithm import serve_scenario
from algorithms.live.scenario import load_scenario
from algorithms.live.steps import Part
from algorithms.live.times.staggered import Crossing, StaggeredTimes
from algorithms.live.times.table import TableTimes
from algorithms.models.text import load_model
from hwmodels.reading.errors import InputError

APART = """
name: apart
arrivals: {requests: 24, rate: 200}
lengths: {prompt: {least: 200, most: 2000}, output: {least: 5, most: 60}}
model: llama3-8b
deployment: {system: lamina_2_4, tp: 1}
scheduler: {most_sequences: 16, most_tokens: 1024}
"""


class Source:
    """Layers take a millisecond and 10 us a token, attention 1 us for each token that is read."""

    def __init__(self, layers_s, attention_s):
        self.layers_s, self.attention_s = layers_s, attention_s

    def tokens_s(self, tokens):
        return self.layers_s + 10e-6 * tokens

    def made_s(self, sequences):
        return 0.0

    def decode_s(self, sequences, context_tokens):
        return self.attention_s * context_tokens

    def prefill_s(self, new_tokens, cached_tokens):
        return 1e-6 * new_tokens

    def host_s(self, parts):
        return 0.0


def times_of(layers_s=1e-3, attention_s=1e-6):
    crossing = Crossing(layers=10, token_bytes=1_000, cached_bytes=500, latency_s=5e-6, bytes_per_second=1e9)
    compute, attention = (
        TableTimes(Source(layers_s, 0.0), exact=True),
        TableTimes(Source(0.0, attention_s), exact=True),
    )
    return StaggeredTimes(compute, attention, crossing)


def test_two_halves_take_twice_the_longer_side_and_no_less_than_one_from_end_to_end():
    links_s = 2 * 10 * 5e-6 + 4 * 1_000 / 1e9
    layers_s, attended_s = 1e-3 + 4 * 10e-6, 1e-6 * 400
    assert list(times_of().decode(8, np.array([800]))) == [round(1e9 * 2 * layers_s)]
    heavy_s = 1e-6 * 20_000
    assert list(times_of().decode(8, np.array([40_000]))) == [round(1e9 * 2 * heavy_s)]
    even = times_of(layers_s=attended_s - 4 * 10e-6)
    assert list(even.decode(8, np.array([800]))) == [round(1e9 * max(2 * attended_s, 2 * attended_s + links_s))]
    alone_s = 1e-3 + 10e-6 + 1e-6 * 100 + 2 * 10 * 5e-6 + 1_000 / 1e9
    assert list(times_of().decode(1, np.array([100]))) == [round(1e9 * alone_s)], "one cannot be halved"


def test_prompts_are_computed_by_themselves_and_sent_over_behind():
    times = times_of()
    parts = (Part(300, 0),)
    prompt_ns = round(1e9 * (1e-3 + 300 * 10e-6 + 300 * 1e-6))
    assert times.mixed(0, 0, parts) == prompt_ns == times.exact_mixed(0, 0, parts)
    assert times.mixed(8, 800, parts) == prompt_ns + int(times.decode(8, np.array([800]))[0])
    slow = StaggeredTimes(times.compute, times.attention, Crossing(10, 1_000, 500, 5e-6, 1e6))
    assert slow.mixed(0, 0, parts) == round(1e9 * 300 * 500 / 1e6)


def test_what_crosses_is_as_much_as_heads_say():
    crossing = Crossing.of(load_model("llama3-8b"), "bfloat16", 1e-6, 1e9)
    assert crossing.layers == 32
    assert crossing.token_bytes == 32 * (2 + 2 / 4) * 2 * 4096, "(2 + 2/G) e d L"
    assert crossing.cached_bytes == 32 * 2 * 8 * 128 * 2
    with pytest.raises(InputError, match="no heads that other chips could attend for"):
        Crossing.of(load_model("deepseek-v2-lite"), "bfloat16", 1e-6, 1e9)


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "apart.yaml"

    def loaded(text=APART, **changes):
        path.write_text(text)
        return load_scenario(path, {f"deployment.{name}": value for name, value in changes.items()})

    return loaded


def test_keys_lie_where_they_are_attended_to(load):
    deployment = load().deployment
    assert deployment.told == "1 x h100_sxm5_80g for layers and 4 x h20 for attention"
    block_bytes = deployment.attending.cached_bytes(16)
    assert block_bytes == 16 * 32 * 2 * (8 // 4) * 128 * 2, "heads split over four"
    assert deployment.pool_blocks == int(0.9 * deployment.attending.system.chip.memory.capacity_bytes) // block_bytes
    assert load(replicas=2).deployment.attending.mapping.tp == 2, "two replicas share four"


def test_the_same_in_stretches_and_step_by_step(load):
    quick, single = (serve_scenario(load(), skip=skip) for skip in (True, False))
    assert quick.metrics.finished == 24
    assert [vars(each) for each in quick.run.requests] == [vars(each) for each in single.run.requests]
    assert 0 < quick.error.mean < 0.05
    assert quick.energy_j is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tp: 1", "tp: 4", "replicas: needs 4 chips, the pool compute of lamina_2_4 has 2"),
        ("tp: 1", "tp: 1, replicas: 2, prefill: 1", "prefill: must be 0: lamina_2_4 splits layers, not phases"),
        (
            "tokens: 1024",
            "tokens: 1024, speculation: {drafted: 2, acceptance: 0.5}",
            "scheduler.speculation: is not modelled",
        ),
    ],
)
def test_what_two_pools_cannot_do_is_named(load, old, new, message):
    assert old in APART
    with pytest.raises(InputError, match=message):
        load(APART.replace(old, new))
