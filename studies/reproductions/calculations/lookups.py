"""Layers that look results up in tables instead of multiplying: MemoryFormer's hashes, TeLLMe's ternary groups."""

from __future__ import annotations

from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.calculation import Figures, calculation

URAM_BITS = 72
"""Width of an ultra RAM's port."""


@calculation("hashed_layers")
def hashed_layers(tokens: int = 2048, width: int = 512, pieces: int = 64, bits: int = 8) -> Figures:
    """Multiply-adds and bytes of a block with matrices, and with hashed tables in their place (arXiv:2411.12992).

    Attention takes ``2 s^2 d`` either way; four projections and a feed-forward layer of four times the width take
    ``12 s d^2``, six look-ups of K pieces with results of width d take ``6 K s d``.
    """
    attention = 2 * tokens**2 * width
    entry = 2 * width
    return {
        "dense_macs": attention + 12 * tokens * width**2,
        "hashed_macs": attention + 6 * pieces * tokens * width,
        "layer_bytes": pieces * 2**bits * entry,
        "gathered_bytes": pieces * entry,
    }


@calculation("ternary_groups")
def ternary_groups(
    chip: str = "kv260",
    group: int = 3,
    cascaded: int = 2,
    parameters: float = 680e6,
    head_s: float = 9e-3,
    shared_tokens: float = 1.0,
) -> Figures:
    """Ternary weights by table look-up on an FPGA: weights per cycle from the bits of an index, time per token.

    ``shared_tokens`` go through the same index at once, as tokens of a prompt do.
    """
    board = load_accelerator(chip)
    index_bits = int(3**group - 1).bit_length()
    per_cycle = URAM_BITS * cascaded // index_bits * group
    lookup_s = parameters / per_cycle / board.clock_hz
    weight_bytes = parameters / group * index_bits / 8
    memory_s = weight_bytes / board.memory.bytes_per_second
    return {
        "weights_per_cycle": per_cycle,
        "lookup_s": lookup_s / shared_tokens,
        "memory_s": memory_s,
        "token_s": max(lookup_s / shared_tokens, memory_s) + head_s,
    }
