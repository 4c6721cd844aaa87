"""Low-rank queries, keys and values, expanded tile by tile in a core: FlashSVD (arXiv:2508.01506).

Each head's Q, K and V are products of `(tokens, rank)` activations and a `(rank, d)` factor of the weights. Only the
activations lie in the shared memory; a core multiplies a tile of them by the factor it keeps, and never writes the full
tile back. K and V are expanded again for every query tile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.attention.flash import core_bytes, launch_of
from algorithms.chip.plan.online import OnlineSoftmax
from algorithms.chip.plan.parameters import TileParameters, footprint, items_held, resolved_tiles, tiling_of
from algorithms.chip.plan.plan import Matmul, TilePlan, TileStep, WorkItem, run_lengths
from algorithms.chip.plan.steps import Steps
from algorithms.chip.plan.tiles import QueryTile
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class LowRankParameters(TileParameters):
    """`TileParameters`, and the rank."""

    rank: int = field(default=0, metadata=knob("rank of queries, keys and values of each head; 0: half the width"))


def rank_of(workload: Workload, parameters: LowRankParameters) -> int:
    """The rank; raises InputError for one above the width of a head."""
    least = min(workload.head_dim, workload.v_head_dim)
    if parameters.rank > least:
        raise InputError(Problem(f"must be at most the head width {least} (got {parameters.rank})", field="rank"))
    return parameters.rank or max(least // 2, 1)


@chip_algorithm("flash.low_rank", LowRankParameters)
class LowRank(TiledAlgorithm[LowRankParameters]):
    """Tiled attention over low-rank Q, K, V that are expanded in the core (FlashSVD)."""

    def resolved(self, workload: Workload, parameters: LowRankParameters, chip: Accelerator) -> LowRankParameters:
        """Rank, and tile sizes from the chip's local memory."""
        parameters = replace(parameters, rank=rank_of(workload, parameters))
        return resolved_tiles(workload, parameters, chip, held=_held)

    def plan(self, workload: Workload, parameters: LowRankParameters, chip: Accelerator) -> TilePlan:
        """One launch; a work item per query tile."""
        parameters = self.resolved(workload, parameters, chip)
        inputs = _input_bytes(workload, parameters.rank)
        check_tensors_fit(self.name, inputs + workload.out_bytes, chip, workload.dtype)
        tiling = tiling_of(workload, parameters)
        steps = Steps(tiling, parameters)
        items = run_lengths(_item(steps, tile, parameters.rank) for tile in tiling.query_tiles)
        launch = launch_of("attention", tiling, parameters, items)
        return TilePlan(
            algorithm=self.name,
            launches=(replace(launch, unique_load_bytes=inputs),),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=inputs + workload.out_bytes,
            capacity_bytes=inputs + workload.out_bytes,
            core_bytes=core_bytes(workload, parameters, chip, _held),
        )

    def prepared(self, workload: Workload, parameters: LowRankParameters, tensors: Tensors) -> Tensors:
        """The nearest q, k and v of the rank, head by head over all sequences."""
        rank = rank_of(workload, parameters)
        q, k, v = (activations @ factor for activations, factor in (_factors(each, rank) for each in tensors))
        return q, k, v

    def values(self, workload: Workload, parameters: LowRankParameters, tensors: Tensors) -> FloatArray:
        """Splits q, k and v into activations and factors, and expands them tile by tile."""
        rank = rank_of(workload, parameters)
        tiling = tiling_of(workload, parameters)
        (q, q_factor), (k, k_factor), (v, v_factor) = (_factors(each, rank) for each in tensors)
        queries = tiling.laid_out(q)
        factors = q_factor.reshape(1, workload.kv_heads, workload.group_size, *q_factor.shape[-2:])
        out = np.zeros((*queries.shape[:-1], workload.v_head_dim))
        for tile in tiling.query_tiles:
            rows = slice(tile.rows.start, tile.rows.stop)
            expanded = _expand_queries(queries[..., rows, :], factors, tile, packed=tiling.packed)
            state = OnlineSoftmax(expanded.shape[:-1], workload.v_head_dim)
            for keys in tiling.key_spans(tile):
                part = slice(keys.start, keys.stop)
                tile_k, tile_v = (k[:, :, part] @ k_factor)[:, :, None], (v[:, :, part] @ v_factor)[:, :, None]
                scores = expanded @ tile_k.swapaxes(-1, -2) / np.sqrt(workload.head_dim)
                state.update(scores, tile_v, tiling.visible(tile, keys))
            out[..., rows, :] = state.output()
        return tiling.restored(out)


def _factors(tensor: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
    """Activations `(batch, heads, tokens, rank)` and factors `(heads, rank, d)` nearest to a tensor."""
    batch, heads, tokens, width = tensor.shape
    stacked = tensor.swapaxes(0, 1).reshape(heads, batch * tokens, width)
    _, _, right = np.linalg.svd(stacked, full_matrices=False)
    factor = right[:, :rank]
    return tensor @ factor.swapaxes(-1, -2), factor


def _expand_queries(rows: FloatArray, factors: FloatArray, tile: QueryTile, *, packed: bool) -> FloatArray:
    """A tile of query activations times the factor of each row's head."""
    if not packed:
        return rows @ factors
    heads = np.arange(tile.rows.start, tile.rows.stop) % factors.shape[2]
    expanded: FloatArray = np.einsum("bgsnr,gnrd->bgsnd", rows, factors[0][:, heads])
    return expanded


def _item(steps: Steps, tile: QueryTile, rank: int) -> WorkItem:
    """A query tile over its keys, all of them expanded in the core."""
    work = steps.workload
    plain = steps.item(tile, store_bytes=len(tile.rows) * work.v_head_dim * work.dtype_bytes)
    widths = work.head_dim + work.v_head_dim
    expanded = [(_expanding(step, work, rank), times) for step, times in plain.steps]
    if expanded:
        first, times = expanded[0]
        rows = steps.rows_issued(tile)
        with_queries = replace(
            first,
            scores=(Matmul(rows, work.head_dim, rank), *first.scores),
            vector_ops=first.vector_ops + rows * work.head_dim,
        )
        expanded[:1] = [(with_queries, 1), (first, times - 1)] if times > 1 else [(with_queries, 1)]
    query_factors = steps.tiling.rows_per_token * work.head_dim
    return replace(
        plain,
        steps=tuple(expanded),
        first_load_bytes=(len(tile.rows) + query_factors + widths) * rank * work.dtype_bytes,
    )


def _expanding(step: TileStep, work: Workload, rank: int) -> TileStep:
    """``step`` with K and V made from activations: two more products, and their results converted."""
    columns = step.scores[0].columns
    widths = work.head_dim + work.v_head_dim
    loaded = step.load_bytes // (widths * work.dtype_bytes)
    return replace(
        step,
        load_bytes=2 * loaded * rank * work.dtype_bytes,
        scores=(Matmul(columns, work.head_dim, rank), Matmul(columns, work.v_head_dim, rank), *step.scores),
        vector_ops=step.vector_ops + columns * widths,
    )


def _held(workload: Workload, parameters: LowRankParameters, rows: int, columns: int) -> tuple[int, int]:
    """Operands and accumulators in bytes: expanded tiles once, activations per stage, queries and factors per item.

    Items that come ahead wait as activations.
    """
    rank = rank_of(workload, parameters)
    items = items_held(workload, parameters, rows, columns)
    operands, accumulators = footprint(workload, replace(parameters, stages=1, next_item="stored"), rows, columns)
    activations = rank * (items * rows + 2 * parameters.stages * columns)
    factors = items * rank * (2 * workload.head_dim + workload.v_head_dim)
    return operands + (activations + factors) * workload.dtype_bytes, accumulators


def _input_bytes(workload: Workload, rank: int) -> int:
    """Activations of all sequences, and factors of all heads."""
    tokens = workload.batch * (workload.heads * workload.q_len + 2 * workload.kv_heads * workload.kv_len)
    factors = workload.heads * workload.head_dim + workload.kv_heads * (workload.head_dim + workload.v_head_dim)
    return rank * (tokens + factors) * workload.dtype_bytes
