"""Blocks of keys in tiers, as retrieval policies use them: fetch, count hits, write back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from algorithms.kv.cost import Transfer
from algorithms.kv.layer import LayerContext
from algorithms.kv.placement import Placement, TieredBlocks, hop_transfers
from algorithms.kv.policy import PolicyState
from algorithms.kv.step import Step


class BlockMemory:
    """Places of the blocks of one layer.

    Parameters
    ----------
    layer
        Layer they belong to.
    placement
        Tiers that blocks lie in.
    cached
        Blocks per row in the fast tier where the placement sets none.
    block_tokens
        Tokens per block.
    rows
        Rows that fetch for themselves: 1 when all heads share a list, else the KV heads.
    """

    def __init__(
        self, layer: LayerContext, placement: Placement, cached: int, block_tokens: float, rows: int = 1
    ) -> None:
        self.placement = placement
        self.tiers = TieredBlocks(placement, rows, cached)
        heads = layer.shape.kv_heads // rows
        self.block_bytes = heads * block_tokens * layer.shape.token_bytes
        self._layer = layer.layer

    def fetch(self, state: PolicyState, chosen: Sequence[Sequence[int]], step: Step, ahead: int = 0) -> tuple[int, int]:
        """Bring the blocks `chosen` by each row to the fast tier; hits and misses go to `state`.

        With `ahead` steps to spare the transfer is a prefetch on a guess.
        """
        fetched = self.tiers.request(chosen)
        state.hits += fetched.hits
        state.misses += fetched.misses
        moves = hop_transfers("fetch blocks", fetched, self.block_bytes, step.index + ahead, self._layer, ahead > 0)
        for move in moves:
            state.move(move)
        return fetched.hits, fetched.misses

    def write_back(self, state: PolicyState, blocks: int) -> None:
        """Copy new blocks to the tier that holds everything."""
        tiers = self.placement.tiers
        for source, target in pairwise(tiers):
            state.move(Transfer("write back blocks", source, target, blocks, blocks * self.block_bytes, -1, -1))

    def held(self, row: int = 0) -> int:
        """Blocks of `row` in the fast tier."""
        return int(self.tiers.fast_blocks()[row])
