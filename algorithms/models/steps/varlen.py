"""Attention of a whole batch in one launch, as vLLM calls FlashAttention-2: prompts beside sequences of one new token.

Where the longest part of a batch has more than one query, the kernel for sequences of any length over a paged cache has
64 query rows a block, a block for every tile of rows, sequence and query head, and neither packs the heads that share
keys nor splits keys (flash-attention csrc/flash_attn/flash_api.cpp, mha_varlen_fwd: both belong to
``seqlenq_ngroups_swapped``, which needs ``max_seqlen_q == 1``; tiles: flash_fwd_launch_template.h,
run_mha_fwd_splitkv_dispatch). A single token therefore pays for 64 rows, and the longest sequence is one block's serial
loop. Blocks are counted tile by tile, then sequence by sequence, then head by head, so that query heads that share keys
meet in the shared cache where their blocks run at the same time, or where it holds the keys of one head of all
sequences until the next head reads them.

The grid has as many tiles for each sequence as the longest part has: blocks beyond the rows of their own sequence are
launched, find no rows (flash_fwd_kernel.h, compute_attn_1rowblock_splitkv: ``m_block * kBlockM >=
binfo.actual_seqlen_q``) and return. They stand between those that have rows, so that cores take turns in passing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.plan.in_flight import NextItemChoice
from algorithms.chip.plan.parameters import TileParameters, tiling_of
from algorithms.chip.plan.plan import Launch, Overlap, TileOrder, run_lengths
from algorithms.chip.plan.steps import Steps
from algorithms.chip.plan.tiles import Tiling
from algorithms.rounding import ceil_div
from algorithms.workload.shape import Workload

ROWS = 64
COLUMNS = {64: 256, 128: 128, 256: 64}
"""Keys of a tile by the widest head that they are for."""
ITEMS_PER_CORE = 1
"""Tiles of 80 KiB leave no room for a second block in the 100 KiB of compute capability 8.6, 8.9 and 12.0."""


class _Tiles(TypedDict):
    tile_rows: int
    stages: int
    overlap: Overlap
    row_groups: int
    order: TileOrder
    next_item: NextItemChoice


# one tile of keys and one of values lie in a core: the next keys come while values are multiplied, the next values
# during the scores, which is as much overlap as two tiles of both in flight
_TILES: _Tiles = {
    "tile_rows": ROWS,
    "stages": 1,
    "overlap": "serial",
    "row_groups": 1,
    "order": "static",
    "next_item": "stored",
}


def varlen_serves(head_dim: int) -> bool:
    """Whether the kernel exists for heads so wide."""
    return head_dim <= max(COLUMNS)


def varlen_blocks(new_tokens: int) -> int:
    """Blocks of one query head of a sequence with so many new tokens."""
    return ceil_div(new_tokens, ROWS)


def rowless_blocks(new_tokens: Iterable[tuple[int, int]]) -> int:
    """Blocks of one query head without rows.

    Parameters
    ----------
    new_tokens
        New tokens of every sequence of a part of the batch, and how many sequences that are.
    """
    tiles = [(varlen_blocks(new), sequences) for new, sequences in new_tokens]
    longest = max((own for own, _ in tiles), default=0)
    return sum(sequences * (longest - own) for own, sequences in tiles)


def rowless_s(blocks: int, cores: int, each_s: float) -> float:
    """Time in which all cores pass so many blocks without rows."""
    return each_s * blocks / (cores * ITEMS_PER_CORE)


def split_parameters(head_dim: int) -> SplitParameters:
    """The same tiles for batches of single tokens, where heads that share keys are packed and keys are split."""
    return SplitParameters(**_TILES, tile_columns=_columns(head_dim), pack_gqa="always")


def _columns(head_dim: int) -> int:
    return next(keys for widest, keys in COLUMNS.items() if head_dim <= widest)


def varlen_launch(workloads: Sequence[Workload], cores: int) -> Launch:
    """The launch that attends to all of some workloads of equal heads.

    Parameters
    ----------
    workloads
        Parts of the batch, in the order of their sequences.
    cores
        Cores of the chip; blocks on them run at the same time.
    """
    first = workloads[0]
    parameters = TileParameters(**_TILES, tile_columns=_columns(first.head_dim), pack_gqa="never")
    tilings = [tiling_of(workload, parameters) for workload in workloads]
    of_one_head = []
    for tiling in tilings:
        work, steps = tiling.workload, Steps(tiling, parameters)
        bytes_of_row = work.v_head_dim * work.dtype_bytes
        items = [steps.item(tile, store_bytes=len(tile.rows) * bytes_of_row) for tile in tiling.query_tiles]
        runs = list(run_lengths(items))
        of_one_head += [(runs[0][0], runs[0][1] * work.batch)] if len(runs) == 1 else runs * work.batch
    return Launch(
        name="attention",
        items=tuple(of_one_head) * first.heads,
        unique_load_bytes=sum(work.q_bytes + work.k_bytes + work.v_bytes for work in workloads),
        order="static",
        matrix_format=first.dtype,
        overlap="serial",
        row_groups=1,
        shared_by=_shared_by(tilings, cores * ITEMS_PER_CORE),
        reread_bytes=sum(work.k_bytes + work.v_bytes for work in workloads) // first.kv_heads,
    )


def _shared_by(tilings: Sequence[Tiling], places: int) -> int:
    """Blocks that read the same keys at the same time: tiles of a sequence, and heads whose blocks are there at once.

    Of so many heads at once those that share keys are read for in whole passes: three at a time are two passes of four.
    """
    group = tilings[0].workload.group_size
    blocks = sum(tiling.workload.batch * tiling.query_tile_count for tiling in tilings)
    at_once = min(max(round(places / blocks), 1), group)
    heads = group / ceil_div(group, at_once)
    read = [tiling.workload.batch * tiling.query_tile_count * tiling.workload.kv_len for tiling in tilings]
    passes = [keys / min(tiling.query_tile_count, places) / heads for keys, tiling in zip(read, tilings, strict=True)]
    return max(int(sum(read) / sum(passes)), 1)
