"""Folded attention: a token as several narrower ones that share projections, in weights and in energy of a chunk."""

from __future__ import annotations

from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.weights import parameters
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.energy import energy_table
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

FORMAT, WEIGHT_BYTES = "int8", 1
"""Number format of weights and products on an edge chip."""


@calculation("folded_encoder")
def folded_encoder(
    chip: str = "jetson_agx_orin_64g",
    width: int = 512,
    inner: int = 2048,
    heads: int = 8,
    layers: int = 20,
    folded_layers: int = 20,
    fold: int = 2,
    tokens: int = 8,
    context_tokens: int = 64,
) -> Figures:
    """An encoder of speech, some of whose layers fold a token into ``fold``: weights, and energy of a chunk.

    Every weight is read from the chip's memory once per chunk (arXiv:2309.07988: a few tokens at a time, so that linear
    layers take most of the memory and the power), goes through a core's local memory, and meets all tokens of the
    chunk. Folded tokens attend to folded tokens, so that there are ``fold ** 2`` as many scores of narrower heads.
    """
    if not 0 <= folded_layers <= layers:
        raise InputError(Problem(f"must be from 0 to the {layers} layers (got {folded_layers})", field="folded_layers"))
    whole, narrow = (_layer(width, inner, heads, each) for each in (1, fold))
    energy = energy_table(load_accelerator(chip))
    memory = load_accelerator(chip).memory.name

    def joules(linear: tuple[int, int], each: int) -> float:
        """Energy of a layer for a chunk, a token of which is ``each`` tokens where it attends."""
        attending, behind = linear
        products = each * tokens * attending + tokens * behind
        scores = 2 * (each * tokens) * (each * context_tokens) * (width // each)
        moved = WEIGHT_BYTES * (attending + behind)
        return (
            moved * (energy.tier_j_per_byte(memory) + 2 * energy.sram_j_per_byte)
            + 2 * (products + scores) * energy.matmul_j_per_flop(FORMAT)
            + heads * (each * tokens) * (each * context_tokens) * energy.exp_j
        )

    plain = layers - folded_layers
    return {
        "weights": plain * sum(whole) + folded_layers * sum(narrow),
        "unfolded_weights": layers * sum(whole),
        "joules": plain * joules(whole, 1) + folded_layers * joules(narrow, fold),
        "unfolded_joules": layers * joules(whole, 1),
    }


def _layer(width: int, inner: int, heads: int, fold: int) -> tuple[int, int]:
    """Weights of attention over folded tokens, and of the layers behind it."""
    if width % (fold * heads):
        raise InputError(Problem(f"must divide the width of a head, {width // heads} (got {fold})", field="fold"))
    attention = Attention(heads=heads, head_dim=width // fold // heads, rotary=False)
    behind = FeedForward(inner=inner, gated=False)
    return parameters(attention.weights(width // fold)), parameters(behind.weights(width))
