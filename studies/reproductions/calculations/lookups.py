"""Layers that look results up in tables instead of multiplying: MemoryFormer's hashes, TeLLMe's ternary groups."""

from __future__ import annotations

import numpy as np

from algorithms.lookup.layer import RowReads, priced
from algorithms.lookup.memoryformer import MemoryFormerBlock
from algorithms.lookup.ternary import TernaryLookup
from algorithms.rounding import ceil_div
from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.calculation import Figures, calculation

URAM_BITS = 72
"""Width of an ultra RAM's port."""
HEAD_BYTES = 2
"""Bytes of a number of the head, which is not ternary."""


@calculation("hashed_block")
def hashed_block(tokens: int = 2048, width: int = 512, bits: int = 8, tier: str = "hbm2e") -> Figures:
    """A block of MemoryFormer's layers and one of dense layers: multiply-adds, bytes, and a token's time in a tier.

    A token reads rows of tables at places that it decides, or every weight one after the other at the tier's peak.
    ``counted_macs`` are those of six layers, as the paper counts, ``built_macs`` those of the five that there are.
    """
    block = MemoryFormerBlock(width, bits)
    attention = block.attention_macs(tokens)
    read = sum(block.reads(1), start=RowReads(0, 0))
    price = priced(read, tier)
    return {
        "counted_macs": block.counted_macs(tokens),
        "built_macs": block.macs(tokens),
        "attention_macs": attention,
        "dense_macs": block.dense_macs(tokens),
        "query_bytes": 2.0 * block.layers[0].table_elements,
        "behind_bytes": 2.0 * sum(layer.table_elements for layer in block.layers[3:]),
        "table_bytes": block.table_bytes(),
        "gathered_bytes": read.bytes,
        "dense_bytes": block.dense_bytes(),
        "row_efficiency": price.efficiency,
    }


@calculation("ternary_groups")
def ternary_groups(
    chip: str = "kv260",
    group: int = 3,
    cascaded: int = 2,
    width: int = 1536,
    inner: int = 4096,
    layers: int = 24,
    vocabulary: int = 32002,
    shared_tokens: int = 1,
) -> Figures:
    """A model of ternary layers by table look-up on an FPGA: time of a token, from its layers and the board.

    Ultra RAMs deliver a word of indices in a cycle, which is as many look-ups as it holds indices of that many bits;
    they are filled from memory meanwhile. The head, in 16 bits, is streamed from memory behind the layers.
    ``shared_tokens`` go through the same index at once, as tokens of a prompt do.
    """
    board = load_accelerator(chip)
    shapes = [(width, width)] * 4 + [(width, inner)] * 2 + [(inner, width)]
    products = [_ternary(inputs, outputs, group) for inputs, outputs in shapes]
    per_cycle = URAM_BITS * cascaded // products[0].index_bits
    words = sum(ceil_div(each.indices.size, per_cycle) for each in products)
    lookup_s = layers * words / board.clock_hz / shared_tokens
    rate = board.memory.bytes_per_second
    memory_s = layers * sum(each.index_bytes for each in products) / rate
    head_s = HEAD_BYTES * vocabulary * width / rate
    weights = layers * sum(inputs * outputs for inputs, outputs in shapes) + vocabulary * width
    return {
        "weights": weights,
        "weights_per_cycle": per_cycle * group,
        "lookup_s": lookup_s,
        "memory_s": memory_s,
        "head_s": head_s,
        "token_s": max(lookup_s, memory_s) + head_s,
    }


def _ternary(inputs: int, outputs: int, group: int) -> TernaryLookup:
    """A layer whose indices are zeros, as only sizes are asked for."""
    return TernaryLookup(np.broadcast_to(np.zeros((), dtype=np.int64), (ceil_div(inputs, group), outputs)), group)
