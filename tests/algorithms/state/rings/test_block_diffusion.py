"""Blocks of frames made from noise: values of their definition, a memory that does not grow, work in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.state.rings.diffusion import BlockDiffusion, BlockStream, OneLayer
from hwmodels.reading.errors import InputError
from reference.truth.diffusion import blocks_from_noise

WIDTH, TOKENS = 5, 3


def model(steps, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.2, 0.8, steps)
    return OneLayer(rng.standard_normal((4, WIDTH, WIDTH)) / 2, rng.standard_normal((steps + 1, WIDTH)), list(shares))


def noise(blocks, seed=1):
    return np.random.default_rng(seed).standard_normal((blocks, TOKENS, WIDTH))


def made(plan, blocks, denoiser=None):
    stream = BlockStream(plan, denoiser or model(plan.steps))
    return np.array([stream.push(block) for block in noise(blocks)]), stream


PLANS = st.builds(
    BlockDiffusion,
    steps=st.integers(1, 4),
    sinks=st.integers(0, 3),
    window=st.integers(1, 4),
    cache_per_step=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, blocks=st.integers(1, 9))
def test_blocks_are_those_of_the_definition(plan, blocks):
    layer = model(plan.steps)
    expected = blocks_from_noise(
        noise(blocks),
        layer.projections,
        layer.times,
        layer.shares,
        sinks=plan.sinks,
        window=plan.window,
        own_steps=plan.cache_per_step,
    )
    found, stream = made(plan, blocks, layer)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert stream.elements <= plan.held_elements(TOKENS, WIDTH)


@settings(max_examples=60, deadline=None)
@given(plan=PLANS)
def test_what_is_kept_is_full_and_stays_as_large(plan):
    _, stream = made(plan, plan.sinks + plan.window + 1)
    full = stream.elements
    assert full == plan.held_elements(TOKENS, WIDTH)
    for block in noise(5, seed=2):
        stream.push(block)
        assert stream.elements == full


def test_a_stream_that_was_reset_makes_the_same_blocks_again():
    first, stream = made(BlockDiffusion(2, sinks=1, window=2), 6)
    stream.reset()
    assert stream.elements == 0
    np.testing.assert_array_equal([stream.push(block) for block in noise(6)], first)


def test_a_block_sees_sinks_and_window_once_each():
    plan = BlockDiffusion(4, sinks=2, window=3)
    assert [plan.seen_blocks(number) for number in (0, 1, 3, 4, 9)] == [
        (),
        (0,),
        (0, 1, 2),
        (0, 1, 2, 3),
        (0, 1, 6, 7, 8),
    ]


def test_work_is_that_of_the_passes_and_keys():
    """MotionStream's blocks of 4,680 tokens with a sink and a window of one: three of them are seen from then on."""
    plan = BlockDiffusion(steps=3, sinks=1, window=1)
    assert plan.passes == 4
    assert [plan.seen_tokens(number, 4680) for number in range(4)] == [4680, 9360, 14040, 14040]
    pairs = 4680 * (4680 + 9360 + 2 * 14040)
    assert plan.attention_flops(4, 4680, 1536) == 4 * 4 * 1536 * pairs
    # with a cache for each step no pass goes over what is clean
    assert BlockDiffusion(steps=3, cache_per_step=True).passes == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps: must be at least 1"),
        ({"steps": 1, "sinks": -1}, "sinks: must be at least 0"),
        ({"steps": 1, "window": 0}, "a memory needs at least 1 block"),
    ],
)
def test_a_memory_of_nothing_is_one_line(wrong, message):
    with pytest.raises(InputError, match=message):
        BlockDiffusion(**wrong)
