"""Layers that look results up in tables instead of multiplying: MemoryFormer's hashes, TeLLMe's ternary groups."""

from __future__ import annotations

from algorithms.lookup.layer import RowReads, priced
from algorithms.lookup.memoryformer import MemoryFormerBlock
from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.calculation import Figures, calculation

URAM_BITS = 72
"""Width of an ultra RAM's port."""


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
