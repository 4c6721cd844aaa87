"""Values of whole small models: equal to an independent reference, token by token, and whatever chips they run on."""

import numpy as np
import pytest

from algorithms.models.blocks import (
    Attention,
    Convolution,
    Experts,
    FeedForward,
    LatentAttention,
    Modulation,
    Normalise,
    StateAttention,
)
from algorithms.models.mapping import Mapping
from algorithms.models.model import Layer, Tower
from algorithms.models.values import Cache, Forward, draw_weights
from hwmodels.reading.errors import InputError
from reference.truth import transformer as truth

TOLERANCE = 1e-11
TOKENS = 11

GROUPED = Attention(heads=4, kv_heads=2, head_dim=8)
PLAIN = FeedForward(inner=24)
MLA = LatentAttention(heads=4, q_lora_rank=12, kv_lora_rank=10, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8)
SIGMOID = Experts(experts=8, active=3, inner=12, shared_inner=16, correction_bias=True, scores="sigmoid", scaling=2.5)
DELTA = StateAttention(key_heads=2, value_heads=4, key_dim=6, value_dim=5, taps=3)
WIDE = {"width": 20}


def tower(*blocks, times=2, **more):
    return Tower(name="text", layers=(Layer(blocks=blocks, times=times),), **{**WIDE, **more})


TOWERS = {
    "llama": tower(GROUPED, PLAIN),
    "qwen2": tower(GROUPED.model_copy(update={"bias": "qkv"}), PLAIN),
    "qwen3": tower(GROUPED.model_copy(update={"qk_norm": "head"}), PLAIN),
    "gemma": tower(
        GROUPED.model_copy(update={"window": 3}), PLAIN.model_copy(update={"activation": "gelu"}), norm_place="both"
    ),
    "gpt": tower(
        Attention(heads=4, head_dim=5, bias="all", rotary=False),
        FeedForward(inner=16, gated=False, activation="gelu", bias=True),
        norm="layer",
    ),
    "bert": tower(
        Attention(heads=4, head_dim=5, bias="all", rotary=False),
        FeedForward(inner=16, gated=False, activation="relu", bias=True),
        norm="layer",
        norm_place="behind",
        causal=False,
    ),
    "vision": tower(
        Attention(heads=4, head_dim=5, bias="no_key", rotary=False, layer_scale=True, block=4),
        FeedForward(inner=16, gated=False, activation="quick_gelu", bias=True, layer_scale=True),
        norm="layer",
        causal=False,
    ),
    "mixtral": tower(GROUPED, Experts(experts=4, active=2, inner=12)),
    "oss": tower(
        GROUPED.model_copy(update={"bias": "all", "sinks": True, "window": 4}),
        Experts(experts=8, active=4, inner=12, bias=True, router_bias=True),
    ),
    "deepseek": Tower(name="text", width=20, layers=(Layer(blocks=(MLA, PLAIN)), Layer(blocks=(MLA, SIGMOID)))),
    "qwen3-next": Tower(
        name="text",
        width=20,
        layers=(
            Layer(blocks=(DELTA, Experts(experts=4, active=2, inner=12, shared_inner=16, shared_gate=True)), times=2),
            Layer(blocks=(GROUPED.model_copy(update={"qk_norm": "head", "gated": True}), PLAIN)),
        ),
    ),
    "depths": Tower(
        name="text",
        width=20,
        layers=(
            Layer(blocks=(GROUPED.model_copy(update={"window": 5}), PLAIN), share=0.3),
            Layer(blocks=(GROUPED, PLAIN)),
            Layer(blocks=(MLA, PLAIN), share=0.5),
        ),
    ),
    "deepseek-lite": tower(
        MLA.model_copy(update={"q_lora_rank": None}), Experts(experts=4, active=2, inner=12, scores="softmax")
    ),
    "whisper": tower(
        Attention(heads=4, head_dim=5, bias="no_key", rotary=False),
        Attention(heads=4, head_dim=5, bias="no_key", rotary=False, context=14),
        FeedForward(inner=16, gated=False, activation="gelu", bias=True),
        norm="layer",
    ),
    "wan": tower(
        Modulation(vectors=6),
        Attention(heads=4, head_dim=6, bias="all", qk_norm="all", norm="plain"),
        Attention(heads=4, head_dim=6, bias="all", qk_norm="all", norm="layer", context=14, rotary=False),
        FeedForward(inner=16, gated=False, activation="gelu", bias=True, norm="plain"),
        norm="layer",
        causal=False,
    ),
    "conformer": tower(
        FeedForward(inner=16, gated=False, bias=True),
        Attention(heads=4, head_dim=5, bias="all", rotary=False),
        Convolution(kernel=5),
        Normalise(),
        norm="layer",
        causal=False,
    ),
}


def reference_blocks(tower):
    """The blocks of a tower in the words of the reference."""
    whole, number = [], 0
    for layer in (each for each in tower.runs for _ in range(each.times)):
        plain, found = 0, []
        for place, block in enumerate(layer.blocks):
            name = f"{number}.{place}.{block.kind}"
            match block:
                case Attention():
                    made = truth.AttentionLayer(
                        heads=block.heads,
                        kv_heads=block.groups,
                        head_dim=block.head_dim,
                        rotary=block.rotary,
                        norm_heads=block.qk_norm == "head",
                        norm_all=block.qk_norm == "all",
                        window=block.window,
                        block=block.block,
                        sinks=block.sinks,
                        cross=block.context is not None,
                        gated=block.gated,
                    )
                case StateAttention():
                    made = truth.StateLayer(block.key_heads, block.value_heads, block.key_dim, block.value_dim)
                case LatentAttention():
                    made = truth.LatentLayer(
                        block.heads,
                        block.qk_nope_head_dim,
                        block.qk_rope_head_dim,
                        block.v_head_dim,
                        block.q_lora_rank is not None,
                    )
                case FeedForward():
                    made = truth.DenseLayer(block.gated, block.activation)
                case Experts():
                    made = truth.MixtureLayer(
                        block.experts,
                        block.active,
                        block.scores,
                        block.activation,
                        block.scaling,
                        bool(block.shared_inner),
                        block.shared_gate,
                    )
                case Convolution():
                    made = truth.ConvolutionLayer()
                case Normalise():
                    made = truth.NormLayer()
                case _:
                    continue
            modulation = None
            if block.norm == "plain" and isinstance(layer.blocks[0], Modulation):
                modulation, plain = (f"{number}.0.modulation.modulation", 3 * plain), plain + 1
            found.append(truth.Block(made, name, block.norm or tower.norm, tower.norm_place, modulation))
        whole += [truth.Routed(tuple(found), f"{number}.router", layer.share)] if layer.share < 1 else found
        number += 1
    return tuple(whole)


def drawn(tower, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((TOKENS, tower.width)), rng.standard_normal((7, 14)), draw_weights(tower, seed)


@pytest.mark.parametrize("name", TOWERS)
def test_a_forward_pass_equals_the_reference(name):
    tower = TOWERS[name]
    tokens, context, weights = drawn(tower)
    expected = truth.forward(tokens, reference_blocks(tower), weights, causal=tower.causal, context=context)
    assert np.abs(expected - tokens).max() > 0.1
    np.testing.assert_allclose(Forward(tower, weights).run(tokens, context=context), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", [name for name, tower in TOWERS.items() if tower.causal and name != "depths"])
def test_prefill_equals_token_by_token(name):
    tower = TOWERS[name]
    tokens, context, weights = drawn(tower)
    forward, cache = Forward(tower, weights), Cache()
    rows = [forward.run(tokens[:4], cache, context)]
    rows += [forward.run(tokens[i : i + 1], cache, context) for i in range(4, TOKENS)]
    whole = forward.run(tokens, context=context)
    np.testing.assert_allclose(np.concatenate(rows), whole, rtol=0, atol=TOLERANCE)


def test_a_router_chooses_among_the_tokens_of_a_frame_and_the_others_pass_unchanged():
    tower = TOWERS["depths"].model_copy(update={"layers": TOWERS["depths"].layers[:1]})
    tokens, _, weights = drawn(tower)
    forward, cache = Forward(tower, weights), Cache()
    frames = [forward.run(tokens[start : start + 5], cache) for start in (0, 5)]
    for start, frame in zip((0, 5), frames, strict=True):
        changed = np.abs(frame - tokens[start : start + 5]).max(axis=1) > 0
        assert changed.sum() == 2  # three tenths of five, rounded up
    assert len(cache.places["0.0.attention@0"]) == 4  # keys of those that went through alone


class TestCachedRows:
    TOWER = TOWERS["vision"].model_copy(
        update={
            "layers": tuple(
                layer.model_copy(update={"share": 0.4, "others": "cached"}) for layer in TOWERS["vision"].layers
            )
        }
    )

    def test_the_first_frame_and_the_same_again_are_those_of_all_rows(self):
        tokens, _, weights = drawn(self.TOWER)
        forward, cache = Forward(self.TOWER, weights), Cache()
        whole = Forward(TOWERS["vision"], weights).run(tokens)
        np.testing.assert_array_equal(forward.run(tokens, cache), whole)
        np.testing.assert_allclose(forward.run(tokens, cache), whole, rtol=0, atol=TOLERANCE)

    def test_rows_that_changed_are_renewed_and_the_others_are_what_they_were(self):
        one = self.TOWER.model_copy(update={"layers": (self.TOWER.layers[0].model_copy(update={"times": 1}),)})
        tokens, _, weights = drawn(one)
        forward, cache = Forward(one, weights), Cache()
        before = forward.run(tokens, cache)
        other = tokens.copy()
        moved = [1, 6, 7]
        other[moved] = -tokens[moved]
        after = forward.run(other, cache)
        plain = Forward(one.model_copy(update={"layers": (one.layers[0].model_copy(update={"share": 1.0}),)}), weights)
        np.testing.assert_allclose(after[moved], plain.run(other)[moved], rtol=0, atol=TOLERANCE)
        same = np.abs(after - before).max(axis=1) == 0
        assert (~same).sum() <= 5  # four tenths of eleven, rounded up
        assert not same[moved].any()

    def test_all_rows_renewed_are_a_plain_layer(self):
        all_rows = self.TOWER.model_copy(
            update={"layers": tuple(layer.model_copy(update={"share": 0.999}) for layer in self.TOWER.layers)}
        )
        tokens, _, weights = drawn(all_rows)
        forward, cache = Forward(all_rows, weights), Cache()
        forward.run(tokens, cache)
        expected = Forward(TOWERS["vision"], weights).run(tokens[::-1])
        np.testing.assert_allclose(forward.run(tokens[::-1], cache), expected, rtol=0, atol=TOLERANCE)


MAPPINGS = {
    "tp 2": Mapping(tp=2),
    "tp 4, heads doubled": Mapping(tp=4),
    "pp 2": Mapping(pp=2),
    "cp 3": Mapping(cp=3),
    "ep 2 of dp 2": Mapping(dp=2, ep=2),
    "ep of all": Mapping(tp=2, dp=2, ep=0),
    "experts split and dealt": Mapping(tp=4, ep=2),
    "everything": Mapping(tp=2, pp=2, dp=2, ep=2, cp=2),
}


@pytest.mark.parametrize("parts", MAPPINGS.values(), ids=MAPPINGS)
@pytest.mark.parametrize("name", TOWERS)
def test_shards_together_equal_the_whole(name, parts):
    tower = TOWERS[name]
    tokens, context, weights = drawn(tower)
    if parts.tp > 1 and name == "wan":
        with pytest.raises(InputError, match="norms over all heads"):
            Forward(tower, weights, parts).run(tokens, context=context)
        return
    whole = Forward(tower, weights).run(tokens, context=context)
    spread = Forward(tower, weights, parts).run(tokens, context=context)
    np.testing.assert_allclose(spread, whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["llama", "deepseek", "oss"])
def test_shards_decode_with_caches_of_their_own(name):
    tower = TOWERS[name]
    tokens, _, weights = drawn(tower)
    forward, cache = Forward(tower, weights, Mapping(tp=2, cp=2, ep=2)), Cache()
    rows = [forward.run(tokens[i : i + 1], cache) for i in range(TOKENS)]
    np.testing.assert_allclose(np.concatenate(rows), Forward(tower, weights).run(tokens), rtol=0, atol=TOLERANCE)


def test_a_weight_that_is_wrong_in_one_shard_is_seen():
    tower = TOWERS["llama"]
    tokens, _, weights = drawn(tower)
    broken = {**weights, "1.1.feed_forward.down.weight": weights["1.1.feed_forward.down.weight"].copy()}
    broken["1.1.feed_forward.down.weight"][0, 20] += 1e-6
    whole = Forward(tower, weights).run(tokens)
    assert np.abs(Forward(tower, broken, Mapping(tp=2)).run(tokens) - whole).max() > TOLERANCE


def test_relative_positions_have_no_values_and_say_so():
    relative = tower(Attention(heads=4, head_dim=5, relative=True), PLAIN)
    with pytest.raises(InputError, match="no values are computed of relative positions"):
        Forward(relative, {})
