"""Tiled attention with query tiles outside and keys inside: FlashAttention-2 and -3.

Every work item is a tile of queries of one head (or of the packed heads of a KV head); it reads all keys and values
that it sees and writes its output once. K and V are read again for every query tile, mostly from a shared cache.
Sources: arXiv:2307.08691, algorithm 1; arXiv:2407.08608, algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.plan.online import OnlineSoftmax
from algorithms.chip.plan.parameters import (
    Footprint,
    Tiled,
    TileParameters,
    fitting_core_bytes,
    footprint,
    items_held,
    resolved_tiles,
    tiling_of,
)
from algorithms.chip.plan.plan import Launch, TilePlan, WorkItem, run_lengths
from algorithms.chip.plan.steps import Steps
from algorithms.chip.plan.tiles import QueryTile, Tiling
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.workload.shape import FloatArray, Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator


@chip_algorithm("flash.q_outer", TileParameters)
class QueryOuter(TiledAlgorithm[Tiled]):
    """Tiled online softmax, query tiles outside (FlashAttention-2 and -3)."""

    def resolved(self, workload: Workload, parameters: Tiled, chip: Accelerator) -> Tiled:
        """Tile sizes from the chip's local memory."""
        return resolved_tiles(workload, parameters, chip)

    def plan(self, workload: Workload, parameters: Tiled, chip: Accelerator) -> TilePlan:
        """One launch; a work item per query tile."""
        check_tensors_fit(self.name, workload.compulsory_bytes, chip, workload.dtype)
        parameters = self.resolved(workload, parameters, chip)
        return TilePlan(
            algorithm=self.name,
            launches=(attention_launch(workload, parameters),),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=workload.compulsory_bytes,
            capacity_bytes=workload.compulsory_bytes,
            core_bytes=core_bytes(workload, parameters, chip),
        )

    def values(self, workload: Workload, parameters: Tiled, tensors: Tensors) -> FloatArray:
        """Attention of every query tile over its keys, from the first on."""
        tiling = tiling_of(workload, parameters)
        q, k, v = tensors
        queries = tiling.laid_out(q / np.sqrt(workload.head_dim))
        out = np.zeros((*queries.shape[:-1], workload.v_head_dim))
        for tile in tiling.query_tiles:
            rows = slice(tile.rows.start, tile.rows.stop)
            out[..., rows, :] = softmax_over(tiling, tile, queries[..., rows, :], k, v).output()
        return tiling.restored(out)


@lru_cache(maxsize=8)
def attention_launch(workload: Workload, parameters: TileParameters) -> Launch:
    """The launch of all query tiles of all heads, each over all its keys; tile sizes must be decided."""
    tiling = tiling_of(workload, parameters)
    steps = Steps(tiling, parameters)
    items = [
        steps.item(tile, store_bytes=len(tile.rows) * workload.v_head_dim * workload.dtype_bytes)
        for tile in tiling.query_tiles
    ]
    return launch_of("attention", tiling, parameters, run_lengths(items))


def launch_of(
    name: str,
    tiling: Tiling,
    parameters: TileParameters,
    items: Iterable[tuple[WorkItem, int]],
    kept_store_bytes: int = 0,
) -> Launch:
    """A launch that reads q, k and v; `items` are those of one head."""
    workload = tiling.workload
    return Launch(
        name=name,
        items=handed_out(items, tiling.heads, parameters),
        unique_load_bytes=workload.q_bytes + workload.k_bytes + workload.v_bytes,
        order=parameters.order,
        matrix_format=workload.dtype,
        overlap=parameters.overlap,
        row_groups=max(parameters.row_groups, 1),
        shared_by=len(tiling.query_tiles) * (workload.group_size // tiling.rows_per_token),
        kept_store_bytes=kept_store_bytes,
    )


def handed_out(
    of_one_head: Iterable[tuple[WorkItem, int]], heads: int, parameters: TileParameters
) -> tuple[tuple[WorkItem, int], ...]:
    """The work items of all heads in the order of the launch.

    Static: head by head, as CUDA counts blocks with the query tile in the fastest dimension. Longest first: the same
    tile of all heads together, tiles with the most work first.
    """
    runs = list(of_one_head)
    if parameters.order == "longest_first":
        runs.sort(key=lambda run: -run[0].total("flops"))
        return tuple((item, times * heads) for item, times in runs)
    if len(runs) == 1:
        return ((runs[0][0], runs[0][1] * heads),)
    return tuple(runs) * heads


def core_bytes(workload: Workload, parameters: Tiled, chip: Accelerator, held: Footprint[Tiled] = footprint) -> int:
    """Bytes that a work item holds in a core; raises `simulator.CapacityError` if they do not fit."""
    rows, columns = parameters.tile_rows, parameters.tile_columns
    items = items_held(workload, parameters, rows, columns)
    queries = f"{items} x {rows}" if items > 1 else f"{rows}"
    what = f"tiles of {queries} queries and {parameters.stages} x {columns} keys"
    return fitting_core_bytes(chip, *held(workload, parameters, rows, columns), what)


def softmax_over(
    tiling: Tiling, tile: QueryTile, rows: FloatArray, k: FloatArray, v: FloatArray, keys: range | None = None
) -> OnlineSoftmax:
    """The running softmax of a query tile of all heads after the tiles of ``keys`` (all if not given).

    ``rows`` are the scaled queries of the tile, `(batch, kv_heads, streams, rows, d)`.
    """
    state = OnlineSoftmax(rows.shape[:-1], v.shape[-1])
    for part in tiling.key_spans(tile, keys):
        tile_k, tile_v = (tensor[:, :, None, part.start : part.stop] for tensor in (k, v))
        state.update(rows @ tile_k.swapaxes(-1, -2), tile_v, tiling.visible(tile, part))
    return state
