"""Forward and backward pass with keys outside: FlashAttention-1 (arXiv:2205.14135, algorithms 1 and 4).

A work item of the backward pass is a whole head, too. For every tile of keys it passes over all query tiles, reads Q,
O, the gradient of O and that of Q so far, and writes the latter back. Gradients of K and V leave once per tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from algorithms.chip.algorithm import chip_algorithm
from algorithms.chip.attention.kv_outer import STATISTICS_BYTES, KeyOuter, KeyOuterParameters, revisited_in_cache
from algorithms.chip.plan.parameters import ACCUMULATOR_BYTES, TileParameters, excess_bytes, fitting_core_bytes
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem, joined_runs
from algorithms.chip.plan.tiles import Tiling
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.workload.levers import knob
from algorithms.workload.shape import Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

OPS_PER_SCORE = 5
"""Scale and subtract the maximum, divide by the sum, subtract the row's sum from dP, multiply by P, convert."""
OPS_PER_OUTPUT = 2
"""Multiply by its gradient and add up, in every pass."""


@dataclass(frozen=True)
class KeyOuterTrainingParameters(KeyOuterParameters):
    """`KeyOuterParameters` of the forward pass, and the key tile of the backward pass."""

    backward_tile_columns: int = field(
        default=0,
        metadata=knob("keys of a tile of the backward pass; 0: as many as fit, up to those of the forward pass"),
    )


@chip_algorithm("flash.kv_outer_training", KeyOuterTrainingParameters)
class KeyOuterTraining(KeyOuter[KeyOuterTrainingParameters]):
    """Keys outside, forward and backward pass (FlashAttention-1); values are those of the forward pass."""

    def resolved(
        self, workload: Workload, parameters: KeyOuterTrainingParameters, chip: Accelerator
    ) -> KeyOuterTrainingParameters:
        """Tile sizes of the paper; heads do not share tiles."""
        asked = parameters
        decided = super().resolved(workload, replace(parameters, pack_gqa="never"), chip)
        columns = parameters.backward_tile_columns or decided.tile_columns
        while not parameters.backward_tile_columns and columns > chip.core.matrix_columns:
            if excess_bytes(chip.core, *_held(workload, asked, decided.tile_rows, columns)) <= 0:
                break
            columns -= chip.core.matrix_columns
        decided = replace(decided, backward_tile_columns=columns)
        excess = excess_bytes(chip.core, *_held(workload, decided, decided.tile_rows, columns))
        return replace(decided, next_item="stored") if asked.next_item == "auto" and excess > 0 else decided

    def plan(self, workload: Workload, parameters: KeyOuterTrainingParameters, chip: Accelerator) -> TilePlan:
        """The forward launch and the backward launch."""
        check_tensors_fit(self.name, 2 * workload.compulsory_bytes, chip, workload.dtype)
        parameters = self.resolved(workload, parameters, chip)
        forward = super().plan(workload, parameters, chip)
        rows, columns = parameters.tile_rows, parameters.backward_tile_columns
        held = fitting_core_bytes(
            chip, *_held(workload, parameters, rows, columns), f"backward tiles of {rows} queries and {columns} keys"
        )
        backward = _launch(workload, parameters, chip)
        return replace(
            forward,
            launches=(replace(forward.launches[0], name="forward"), backward),
            useful_flops=workload.attention_flops * 7 // 2,  # five products after two
            useful_exps=2 * workload.exponentials,
            compulsory_bytes=2 * workload.compulsory_bytes,
            capacity_bytes=forward.capacity_bytes + workload.compulsory_bytes,
            core_bytes=max(forward.core_bytes, held),
        )


def _launch(workload: Workload, parameters: KeyOuterTrainingParameters, chip: Accelerator) -> Launch:
    """A work item per query head."""
    tiling = Tiling(workload, parameters.tile_rows, parameters.backward_tile_columns, packed=False)
    item = WorkItem(joined_runs(_steps(tiling, parameters.partial_bytes(workload))))
    rows = tiling.heads * tiling.rows
    gradients = rows * workload.head_dim * parameters.partial_bytes(workload)
    revisited = workload.q_bytes + 2 * workload.out_bytes + gradients + rows * STATISTICS_BYTES
    in_cache = revisited_in_cache(chip, tiling.heads, revisited)
    passes = len(tiling.key_spans(tiling.query_tiles[-1]))
    return Launch(
        name="backward",
        items=((item, tiling.heads),),
        unique_load_bytes=workload.k_bytes + workload.v_bytes + revisited - (gradients if in_cache else 0),
        kept_store_bytes=(passes - 1) * gradients if in_cache else 0,
        order=parameters.order,
        matrix_format=workload.dtype,
        overlap=parameters.overlap,
        row_groups=max(parameters.row_groups, 1),
    )


def _steps(tiling: Tiling, partial_bytes: int) -> Iterator[tuple[TileStep, int]]:
    """The steps of one head, in order, each with the number of neighbours that are alike.

    K and V come with the first of a pass, their gradients leave with the last; only the last may have fewer rows.
    """
    work = tiling.workload
    made: dict[tuple[int, int, int], TileStep] = {}

    def step(rows: int, first: int, last: int) -> TileStep:
        kind = rows, first, last
        if kind not in made:
            made[kind] = _step(tiling, *kind, partial_bytes)
        return made[kind]

    for keys, tiles in tiling.passes():
        key_bytes = len(keys) * (work.head_dim + work.v_head_dim) * work.dtype_bytes
        first, last = len(tiles[0].rows), len(tiles[-1].rows)
        if len(tiles) == 1:
            yield step(first, key_bytes, key_bytes), 1
            continue
        yield step(first, key_bytes, 0), 1
        yield step(first, 0, 0), len(tiles) - 2
        yield step(last, 0, key_bytes), 1


def _step(tiling: Tiling, loaded_rows: int, first: int, last: int, partial_bytes: int) -> TileStep:
    """One pair of tiles, computed whole; ``first`` and ``last`` bytes come and go besides."""
    work, rows, columns = tiling.workload, tiling.tile_rows, tiling.tile_columns
    width, value_width = work.head_dim, work.v_head_dim
    gradient = loaded_rows * width * partial_bytes
    per_row = (width + 2 * value_width) * work.dtype_bytes + STATISTICS_BYTES  # Q, O and its gradient
    return TileStep(
        load_bytes=first + loaded_rows * per_row + gradient,
        scores=(Matmul(rows, columns, width), Matmul(rows, columns, value_width)),
        exps=rows * columns,
        vector_ops=rows * (OPS_PER_SCORE * columns + OPS_PER_OUTPUT * value_width),
        values=(Matmul(columns, value_width, rows), Matmul(columns, width, rows), Matmul(rows, width, columns)),
        store_bytes=gradient + last,
    )


def _held(workload: Workload, parameters: TileParameters, rows: int, columns: int) -> tuple[int, int]:
    """Bytes of Q, O and its gradient, K, V, P and dS; and of S, dP and the gradients of Q, K and V in float32.

    Of the next heads, where they are loaded ahead, what a step of each loads besides.
    """
    width, value_width = workload.head_dim, workload.v_head_dim
    loaded = rows * (width + 2 * value_width) + columns * (width + value_width)
    heads = parameters.buffers.items(1)
    operands = heads * loaded + 2 * rows * columns
    accumulators = 2 * rows * columns + columns * (width + value_width) + heads * rows * width
    return operands * workload.dtype_bytes, accumulators * ACCUMULATOR_BYTES
