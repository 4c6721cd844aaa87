"""Keys split over cores: how many parts, their work items, and the launch that merges them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.chip.attention.flash import softmax_over
from algorithms.chip.plan.online import merged
from algorithms.chip.plan.parameters import ACCUMULATOR_BYTES, TileParameters
from algorithms.chip.plan.plan import Launch, TileStep, WorkItem, run_lengths
from algorithms.chip.plan.steps import Steps
from algorithms.chip.plan.tiles import Tiling
from algorithms.rounding import ceil_div, spans
from algorithms.workload.shape import FloatArray, Workload

ENOUGH_ITEMS = 0.8
"""Share of the cores with work from which keys are not split (flash-attention, hopper/heuristics.h)."""
GOOD_ENOUGH = 0.85
"""Share of the best occupancy of the last wave that fewer splits may have (ibidem)."""
FEWEST_TILES = 4
"""Up to so many tiles of keys are not split (ibidem)."""
MOST_SPLITS = 128
"""Ibidem."""
SHARE_MARGIN = 1.1
"""Tiles that a core may take over its even share (flash-attention, hopper/flash_prepare_scheduler.cu)."""
WORD_BYTES = 4
"""Bytes of a length or a count."""
PREPARED_WORDS = 4
"""Words of 32 bits per sequence: its length is read, its tiles of queries and of keys and its splits are written."""
MERGED_ELEMENTS = 512
"""Elements of output that a work item of the merge holds: 4 rows of 128 as in flash-attention's combine kernel."""
OPS_PER_PART = 2
"""Weigh and add: per element of every part."""


def automatic_splits(items: int, cores: int, key_tiles: int) -> int:
    """The fewest splits that fill the cores about as well as any number does.

    The rule of FlashAttention-2 and -3 (num_splits_heuristic, hopper/heuristics.h): with `items` work items before the
    split, waves of work on `cores` cores, and `key_tiles` tiles of keys to share out.
    """
    if items >= ENOUGH_ITEMS * cores or key_tiles <= FEWEST_TILES:
        return 1
    most = min(MOST_SPLITS, cores, key_tiles)
    waves = [items * splits / cores for splits in range(1, most + 1)]
    filled = [wave / math.ceil(wave) for wave in waves]
    return next(i for i, fill in enumerate(filled, start=1) if fill >= GOOD_ENOUGH * max(filled))


def prepared_splits(items: int, sequences: int, cores: int, key_tiles: int) -> int:
    """Splits of equally long sequences when a launch on the chip shares out the key tiles of all of them.

    The rule of FlashAttention-3 where cache lengths lie on the device (hopper/flash_prepare_scheduler.cu): as many
    splits as give every core its share of all tiles and a margin, and at most those of a single sequence.
    """
    most = automatic_splits(ceil_div(items, sequences), cores, key_tiles)
    per_core = math.ceil(SHARE_MARGIN * items * key_tiles / cores)
    return max(min(ceil_div(key_tiles, per_core), most), 1)


@dataclass(frozen=True)
class Split:
    """Ranges of keys that are attended apart."""

    tiling: Tiling
    parts: tuple[range, ...]

    @classmethod
    def of(cls, tiling: Tiling, splits: int, keys: range | None = None) -> Split:
        """``keys`` (all if not given) in about ``splits`` parts of whole tiles; fewer if whole tiles make fewer."""
        keys = keys if keys is not None else range(tiling.workload.kv_len)
        tiles = ceil_div(len(keys), tiling.tile_columns)
        size = max(ceil_div(tiles, splits), 1) * tiling.tile_columns
        return cls(tiling, tuple(spans(keys.start, keys.stop, size)) or (keys,))

    def items(self, parameters: TileParameters, *, partial: bool) -> list[tuple[WorkItem, int]]:
        """Work items of one head: query tile fastest, then part; partial results are float32 with log-sum-exps."""
        work = self.tiling.workload
        steps = Steps(self.tiling, parameters)
        per_row = partial_row_bytes(work) if partial else work.v_head_dim * work.dtype_bytes
        return list(
            run_lengths(
                steps.item(tile, part, store_bytes=len(tile.rows) * per_row)
                for part in self.parts
                for tile in self.tiling.query_tiles
            )
        )

    def values(self, q: FloatArray, k: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Outputs and log-sum-exps of every part, `(parts, batch, kv_heads, streams, rows, ...)`."""
        tiling = self.tiling
        queries = tiling.laid_out(q / np.sqrt(tiling.workload.head_dim))
        outputs = np.zeros((len(self.parts), *queries.shape[:-1], v.shape[-1]))
        log_sum_exps = np.zeros(outputs.shape[:-1])
        for i, part in enumerate(self.parts):
            for tile in tiling.query_tiles:
                rows = slice(tile.rows.start, tile.rows.stop)
                state = softmax_over(tiling, tile, queries[..., rows, :], k, v, part)
                outputs[i, ..., rows, :] = state.output()
                log_sum_exps[i, ..., rows] = state.log_sum_exp()
        return outputs, log_sum_exps

    def merged_values(self, q: FloatArray, k: FloatArray, v: FloatArray) -> FloatArray:
        """The output `(batch, heads, q_len, d_v)`."""
        return self.tiling.restored(merged(*self.values(q, k, v))[0])


def partial_row_bytes(workload: Workload) -> int:
    """Partial output and log-sum-exp of one row."""
    return (workload.v_head_dim + 1) * ACCUMULATOR_BYTES


def partial_bytes(workload: Workload, parts: int) -> int:
    """Bytes of all partial results that a merge of ``parts`` parts reads."""
    return parts * workload.batch * workload.heads * workload.q_len * partial_row_bytes(workload)


def prepare_launch(workload: Workload) -> Launch:
    """One item that reads the length of every sequence and writes how its keys are split."""
    words = workload.batch * WORD_BYTES
    item = WorkItem(((TileStep(load_bytes=words), 1),), last_store_bytes=(PREPARED_WORDS - 1) * words)
    kept = item.total("store_bytes")  # the next launch reads them from a cache
    return Launch("prepare", ((item, 1),), unique_load_bytes=words, matrix_format=workload.dtype, kept_store_bytes=kept)


def merge_launch(workload: Workload, parts: int, kept: int) -> Launch:
    """Rows of partial results, weighted by their log-sum-exps and added up; ``kept`` bytes of them are in a cache."""
    rows_per_item = max(MERGED_ELEMENTS // workload.v_head_dim, 1)
    all_rows = workload.batch * workload.heads * workload.q_len
    items: Sequence[range] = spans(0, all_rows, rows_per_item)
    made = {len(rows): _merge_item(workload, len(rows), parts) for rows in (items[0], items[-1])}
    return Launch(
        name="merge",
        items=run_lengths(made[len(rows)] for rows in items),
        unique_load_bytes=partial_bytes(workload, parts) - kept,
        matrix_format=workload.dtype,
    )


def _merge_item(workload: Workload, rows: int, parts: int) -> WorkItem:
    step = TileStep(
        load_bytes=parts * rows * partial_row_bytes(workload),
        exps=parts * rows,
        vector_ops=parts * rows * (OPS_PER_PART * workload.v_head_dim + OPS_PER_PART),
    )
    return WorkItem(
        steps=((step, 1),),
        last_vector_ops=2 * rows * workload.v_head_dim,  # divide by the sum of weights, convert
        last_store_bytes=rows * workload.v_head_dim * workload.dtype_bytes,
    )
