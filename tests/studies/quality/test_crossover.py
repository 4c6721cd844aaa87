"""Crossovers of constant states and caches lie where bytes say, and differ by chip."""

from __future__ import annotations

import pytest

from algorithms.state.infini import InfiniAttention
from algorithms.state.mixture import MixtureOfMemories
from algorithms.state.rule import Shape
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from studies.points.point import ChipSetting
from studies.quality.crossover import GOALS, crossovers

WORK = load_workload("llama3-8b").with_(batch=16)


def chip(name):
    return ChipSetting(load_accelerator(name))


def test_a_crossover_in_bytes_is_the_state_over_a_token_of_the_cache():
    (found,) = crossovers(WORK, [chip("h100")], ["ssd"])
    head = WORK.head_dim
    state = 2 * head * head * 4
    per_token = 2 * head * 2
    assert found.contexts["memory_bytes"] == pytest.approx(state / per_token, rel=0.05)
    assert all(found.contexts[goal] for goal in GOALS)


def test_a_larger_state_pays_later():
    rows = {row.rule: row for row in crossovers(WORK, [chip("h100")], ["linear", "mixture", "infini"])}
    for goal in GOALS:
        assert rows["linear"].contexts[goal] < rows["mixture"].contexts[goal]
    assert rows["mixture"].contexts["memory_bytes"] < rows["infini"].contexts["memory_bytes"]


def test_time_crosses_where_vectors_are_slow_and_bytes_where_they_always_do():
    rows = {row.chip: row for row in crossovers(WORK, [chip("h100"), chip("jetson_agx_orin_64g")], ["gated_delta"])}
    bytes_ = {row.contexts["memory_bytes"] for row in rows.values()}
    assert max(bytes_) - min(bytes_) <= 2
    assert len({row.contexts["seconds"] for row in rows.values()}) == 2


def test_an_unknown_rule_is_told():
    with pytest.raises(InputError, match="did you mean"):
        list(crossovers(WORK, [chip("h100")], ["gated_deltas"]))


def test_a_mixture_of_memories_moves_as_much_as_768_tokens_of_its_cache():
    """The 380 M model (arXiv:2502.13685): 24 layers, 4 heads of 256, bfloat16; 3 of 5 memories per token."""
    shape = Shape(kv_heads=4, group=1, key_dim=256, value_dim=256)
    rule = MixtureOfMemories(memories=4, top=2)
    assert 24 * rule.held_elements(shape) * 2 / 1e6 == pytest.approx(62.9, abs=0.1)
    moved = 24 * rule.moved_elements(shape) * 2
    assert moved / 1e6 == pytest.approx(75.5, abs=0.1)
    assert moved / (24 * 2 * 1024 * 2) == 768


def test_memories_of_infini_attention_hold_what_the_paper_counts():
    """12 layers of 8 heads of 128 (arXiv:2404.07143, table 1): 1.6 M numbers."""
    one = InfiniAttention().carried_elements(Shape(kv_heads=8, group=1, key_dim=128, value_dim=128))
    assert 12 * one / 1e6 == pytest.approx(1.585, abs=0.001)
