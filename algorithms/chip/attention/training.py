"""Forward and backward pass of tiled attention: FlashAttention-2 (arXiv:2307.08691, algorithms 1 and 2).

The backward pass keeps a tile of keys in a core and passes over the query tiles that see it. It computes scores again
from Q, K and the log-sum-exps of the forward pass: five products S, dP, dV, dQ and dK where the forward pass has two.
Gradients of Q are added up in float32 in the shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import chip_algorithm
from algorithms.chip.attention.flash import QueryOuter, core_bytes, launch_of
from algorithms.chip.attention.operators import Elementwise, OperatorParameters
from algorithms.chip.attention.splits import Split
from algorithms.chip.plan.in_flight import LEAST_STAGES, NEXT_ITEM_HELP, NextItemChoice
from algorithms.chip.plan.online import finite
from algorithms.chip.plan.parameters import (
    ACCUMULATOR_BYTES,
    TileParameters,
    excess_bytes,
    fitting_core_bytes,
    resolved_tiles,
    tiling_of,
)
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem, joined_runs, run_lengths
from algorithms.chip.plan.steps import Steps
from algorithms.chip.plan.tiles import QueryTile, Tiling
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.rounding import round_up
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

BACKWARD_TILE = 128
"""Rows and columns that an automatic tile of the backward pass starts from, as in flash-attention's kernels."""
OPS_PER_SCORE = 5
"""Scale and subtract the log-sum-exp, subtract the row's sum from dP, multiply by P, convert P and dS."""
ROW_STATISTICS_BYTES = 2 * ACCUMULATOR_BYTES
"""Log-sum-exp of a row, and the sum of its output times the gradient of that."""


@dataclass(frozen=True)
class TrainingParameters(TileParameters):
    """`TileParameters` of the forward pass, and tiles of the backward pass.

    As in the kernels of the paper, thread blocks that store their results before the next ones begin.
    """

    next_item: NextItemChoice = field(default="stored", metadata=knob(NEXT_ITEM_HELP, schedule=True))
    backward_tile_rows: int = field(default=0, metadata=knob("query rows of a tile of the backward pass; 0: automatic"))
    backward_tile_columns: int = field(default=0, metadata=knob("keys of a tile of the backward pass; 0: automatic"))


@chip_algorithm("flash.training", TrainingParameters)
class Training(QueryOuter[TrainingParameters]):
    """Tiled attention, forward and backward pass (FlashAttention-2); values are those of the forward pass.

    `gradients` computes those of the backward pass.
    """

    def resolved(self, workload: Workload, parameters: TrainingParameters, chip: Accelerator) -> TrainingParameters:
        """Tile sizes of both passes; query heads do not share tiles."""
        asked = replace(parameters, pack_gqa="never")
        parameters = resolved_tiles(workload, asked, chip)
        core = chip.core
        least = replace(asked, stages=asked.stages or LEAST_STAGES)
        rows = parameters.backward_tile_rows or round_up(min(BACKWARD_TILE, workload.q_len), core.matrix_rows)
        columns = parameters.backward_tile_columns or round_up(min(BACKWARD_TILE, workload.kv_len), core.matrix_columns)
        while not parameters.backward_tile_rows and rows > core.matrix_rows:
            if excess_bytes(core, *_held(workload, least, rows, columns)) <= 0:
                break
            rows -= core.matrix_rows
        while not parameters.backward_tile_columns and columns > core.matrix_columns:
            if excess_bytes(core, *_held(workload, least, rows, columns)) <= 0:
                break
            columns -= core.matrix_columns
        parameters = replace(parameters, backward_tile_rows=rows, backward_tile_columns=columns)
        while excess_bytes(core, *_held(workload, parameters, rows, columns)) > 0:
            if not asked.stages and parameters.stages > LEAST_STAGES:
                parameters = replace(parameters, stages=parameters.stages - 1)
            elif asked.next_item == "auto" and parameters.next_item == "ahead":
                return self.resolved(workload, replace(asked, next_item="stored"), chip)
            else:
                break
        return parameters

    def plan(self, workload: Workload, parameters: TrainingParameters, chip: Accelerator) -> TilePlan:
        """Forward pass, row sums, backward pass, conversion of the gradients of Q."""
        check_tensors_fit(self.name, 2 * workload.compulsory_bytes, chip, workload.dtype)
        parameters = self.resolved(workload, parameters, chip)
        rows, columns = parameters.backward_tile_rows, parameters.backward_tile_columns
        backward = fitting_core_bytes(
            chip,
            *_held(workload, parameters, rows, columns),
            f"backward tiles of {rows} queries and {columns} keys",
        )
        statistics = workload.batch * workload.heads * workload.q_len * ROW_STATISTICS_BYTES
        gradient = workload.q_bytes // workload.dtype_bytes * ACCUMULATOR_BYTES
        return TilePlan(
            algorithm=self.name,
            launches=(_forward(workload, parameters), *_backward_launches(workload, parameters)),
            useful_flops=workload.attention_flops * 7 // 2,  # five products after two
            useful_exps=2 * workload.exponentials,
            compulsory_bytes=2 * workload.compulsory_bytes,
            capacity_bytes=2 * workload.compulsory_bytes + statistics + gradient,
            core_bytes=max(backward, core_bytes(workload, parameters, chip)),
        )


def gradients(
    workload: Workload, parameters: TrainingParameters, tensors: Tensors, upstream: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gradients of q, k and v, shaped like them, by the tile loops of the backward pass.

    Parameters
    ----------
    upstream
        Gradient of the output, `(batch, heads, q_len, v_head_dim)`.
    """
    q, k, v = tensors
    forward = tiling_of(workload, replace(parameters, pack_gqa="never"))
    outputs, log_sum_exps = (part[0] for part in Split.of(forward, 1).values(q, k, v))
    tiling = _backward_tiling(workload, parameters)
    scale = 1 / np.sqrt(workload.head_dim)
    queries, of_output = tiling.laid_out(q), tiling.laid_out(upstream)
    row_sums = (outputs * of_output).sum(axis=-1)
    of_queries, of_keys, of_values = np.zeros_like(queries), np.zeros_like(k), np.zeros_like(v)
    for keys, tiles in tiling.passes():
        part = slice(keys.start, keys.stop)
        tile_k, tile_v = k[:, :, None, part], v[:, :, None, part]
        for tile in tiles:
            rows = slice(tile.rows.start, tile.rows.stop)
            scores = scale * queries[..., rows, :] @ tile_k.swapaxes(-1, -2)
            visible = tiling.visible(tile, keys)
            if visible is not None:
                scores = np.where(visible, scores, -np.inf)
            weights = np.exp(scores - finite(log_sum_exps[..., rows])[..., None])
            of_weights = of_output[..., rows, :] @ tile_v.swapaxes(-1, -2)
            of_scores = scale * weights * (of_weights - row_sums[..., rows, None])
            of_values[:, :, part] += (weights.swapaxes(-1, -2) @ of_output[..., rows, :]).sum(axis=2)
            of_keys[:, :, part] += (of_scores.swapaxes(-1, -2) @ queries[..., rows, :]).sum(axis=2)
            of_queries[..., rows, :] += of_scores @ tile_k
    return tiling.restored(of_queries), of_keys, of_values


def _forward(workload: Workload, parameters: TrainingParameters) -> Launch:
    """The forward pass, which also writes log-sum-exps."""
    tiling = tiling_of(workload, parameters)
    steps = Steps(tiling, parameters)
    per_row = workload.v_head_dim * workload.dtype_bytes + ACCUMULATOR_BYTES
    items = run_lengths(steps.item(tile, store_bytes=len(tile.rows) * per_row) for tile in tiling.query_tiles)
    return launch_of("forward", tiling, parameters, items)


def _backward_launches(workload: Workload, parameters: TrainingParameters) -> Iterator[Launch]:
    """Row sums of outputs times their gradients, the backward pass, and what is left to add up and convert."""
    operators = OperatorParameters()
    outputs = workload.batch * workload.heads * workload.q_len * workload.v_head_dim
    yield Elementwise("row_sums", outputs, reads=2, writes=0, ops=2).launch(operators, workload.dtype)
    yield _backward(workload, parameters)
    queries = workload.q_bytes // workload.dtype_bytes
    wide = max(ACCUMULATOR_BYTES // workload.dtype_bytes, 1)
    yield Elementwise("convert_dq", queries, reads=wide).launch(operators, workload.dtype)
    if workload.group_size > 1:
        elements = (workload.k_bytes + workload.v_bytes) // workload.dtype_bytes
        group = workload.group_size
        yield Elementwise("add_dk_dv", elements, reads=group, ops=group).launch(operators, workload.dtype)


def _backward(workload: Workload, parameters: TrainingParameters) -> Launch:
    """A work item per tile of keys of each query head."""
    tiling = _backward_tiling(workload, parameters)
    items = run_lengths(_item(tiling, keys, tiles) for keys, tiles in tiling.passes())
    launch = launch_of("backward", tiling, parameters, items)
    rows = tiling.heads * tiling.rows
    return replace(
        launch,
        unique_load_bytes=launch.unique_load_bytes + workload.out_bytes + rows * ROW_STATISTICS_BYTES,
        shared_by=len(tiling.key_spans(tiling.query_tiles[-1])),
    )


def _item(tiling: Tiling, keys: range, tiles: Sequence[QueryTile]) -> WorkItem:
    work = tiling.workload
    widths = work.head_dim + work.v_head_dim
    key_bytes = len(keys) * widths * work.dtype_bytes
    whole, last = (_step(work, tiling.tile_rows, tiling.tile_columns, len(tile.rows)) for tile in (tiles[0], tiles[-1]))
    return WorkItem(
        steps=joined_runs(((whole, len(tiles) - 1), (last, 1))),  # only the last may have fewer rows
        first_load_bytes=key_bytes,
        last_vector_ops=2 * tiling.tile_columns * widths,  # scale and convert both gradients
        last_store_bytes=key_bytes,
    )


def _step(work: Workload, rows: int, columns: int, loaded: int) -> TileStep:
    """One query tile, computed whole, against the keys in the core."""
    width, value_width = work.head_dim, work.v_head_dim
    return TileStep(
        load_bytes=loaded * ((width + value_width) * work.dtype_bytes + ROW_STATISTICS_BYTES),
        scores=(Matmul(rows, columns, width), Matmul(rows, columns, value_width)),
        exps=rows * columns,
        vector_ops=OPS_PER_SCORE * rows * columns,
        values=(Matmul(columns, value_width, rows), Matmul(columns, width, rows), Matmul(rows, width, columns)),
        store_bytes=loaded * width * ACCUMULATOR_BYTES,
    )


def _backward_tiling(workload: Workload, parameters: TrainingParameters) -> Tiling:
    rows, columns = parameters.backward_tile_rows, parameters.backward_tile_columns
    return Tiling(workload, rows or BACKWARD_TILE, columns or BACKWARD_TILE, packed=False)


def _held(workload: Workload, parameters: TrainingParameters, rows: int, columns: int) -> tuple[int, int]:
    """Bytes of Q and dO in all stages (two at least), K and V of every item at a time, P and dS; and of accumulators.

    These are S, dP and the gradients of K and V, in float32.
    """
    widths = workload.head_dim + workload.v_head_dim
    buffers = parameters.buffers
    loaded = max(buffers.stages, LEAST_STAGES) * rows + buffers.items(1) * columns
    accumulators = 2 * rows * columns + columns * widths
    return (loaded * widths + 2 * rows * columns) * workload.dtype_bytes, accumulators * ACCUMULATOR_BYTES
