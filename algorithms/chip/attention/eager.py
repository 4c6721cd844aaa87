"""Unfused attention: every operator is a launch of its own, and all N^2 scores pass through the shared memory.

Which launches there are is the program's to say, see `algorithms.chip.attention.eager_programs`. Scores are computed
for all pairs, masked or not, as matrix libraries do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.attention.eager_programs import PROGRAMS, EagerParameters, scores
from algorithms.chip.attention.operators import OperatorParameters
from algorithms.chip.plan.in_flight import LEAST_STAGES, Stream, decided_buffers
from algorithms.chip.plan.online import finite
from algorithms.chip.plan.parameters import ACCUMULATOR_BYTES, cached_bytes, excess_bytes, fitting_core_bytes
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.plan.tiles import Tiling
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.rounding import ceil_div, spans
from algorithms.workload.shape import FloatArray, Workload

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

TRAINING_FLOPS = 3
"""Products of forward and backward pass, 2 and 4, over those of a forward pass."""
MOST_READS = 2
"""Arrays of scores that a pass reads side by side: scores and a mask, weights and their gradients."""


@chip_algorithm("eager.forward", EagerParameters)
class Eager(TiledAlgorithm[EagerParameters]):
    """Unfused attention: QK, softmax and PV as launches of their own."""

    def resolved(self, workload: Workload, parameters: EagerParameters, chip: Accelerator) -> EagerParameters:
        """Tiles in flight; items hold nothing but tiles, so that those of the next ones can always come ahead."""
        stages, next_item = decided_buffers(
            chip,
            _streams(workload, parameters),
            parameters.stages,
            parameters.next_item,
            lambda buffers: max(excess_bytes(chip.core, *held) for held in _held(workload, parameters, buffers.stages)),
        )
        return replace(parameters, stages=stages, next_item=next_item)

    def plan(self, workload: Workload, parameters: EagerParameters, chip: Accelerator) -> TilePlan:
        """The forward launches of the program."""
        parameters = self.resolved(workload, parameters, chip)
        program = PROGRAMS[parameters.program]
        passing = scores(workload) * workload.dtype_bytes
        held = workload.compulsory_bytes + program.kept_tensors[0] * passing
        check_tensors_fit(self.name, held, chip, workload.dtype)
        launches = tuple(program.forward(workload, parameters, chip))
        kept = cached_bytes(chip, 2 * passing) // 2  # a launch reads one array of scores and writes another
        return TilePlan(
            algorithm=self.name,
            launches=_passing_on(launches, program.passing, kept),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=workload.compulsory_bytes,
            capacity_bytes=held,
            core_bytes=tile_core_bytes(workload, parameters, chip),
        )

    def values(self, workload: Workload, parameters: EagerParameters, tensors: Tensors) -> FloatArray:
        """Products tile by tile, softmax row by row of the whole score matrix."""
        tiling = Tiling(workload, parameters.tile_rows, parameters.tile_columns, packed=False)
        q, k, v = tensors
        queries = tiling.laid_out(q / np.sqrt(workload.head_dim))
        products = _product(queries, k[:, :, None].swapaxes(-1, -2), parameters)
        limits = np.array([tiling.keys_of(token) for token in range(workload.q_len)])
        products = np.where(np.arange(workload.kv_len) < limits[:, None], products, -np.inf)
        exponentials = np.exp(products - finite(products.max(axis=-1, keepdims=True)))
        total = exponentials.sum(axis=-1, keepdims=True)
        weights = np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)
        return tiling.restored(_product(weights, v[:, :, None], parameters))


@chip_algorithm("eager.training", EagerParameters)
class EagerTraining(Eager):
    """Unfused attention, forward and backward pass; values are those of the forward pass."""

    def plan(self, workload: Workload, parameters: EagerParameters, chip: Accelerator) -> TilePlan:
        """The forward launches, then the backward ones."""
        program = PROGRAMS[parameters.program]
        kept = program.kept_tensors[1] * scores(workload) * workload.dtype_bytes
        check_tensors_fit(self.name, 2 * workload.compulsory_bytes + kept, chip, workload.dtype)
        forward = super().plan(workload, parameters, chip)
        # the backward pass needs the weights: nothing is dropped
        launches = (*program.forward(workload, parameters, chip), *program.backward(workload, parameters, chip))
        return replace(
            forward,
            launches=launches,
            useful_flops=workload.attention_flops * TRAINING_FLOPS,
            compulsory_bytes=2 * workload.compulsory_bytes,
            capacity_bytes=2 * workload.compulsory_bytes + kept,
        )


def _passing_on(launches: tuple[Launch, ...], passing: tuple[str, ...], kept: int) -> tuple[Launch, ...]:
    """Launches of which those that are ``passing`` on scores leave ``kept`` bytes of them in a cache for the next."""
    chain = [number for number, launch in enumerate(launches) if launch.name in passing]
    found = list(launches)
    for giver, taker in pairwise(chain):
        found[giver] = replace(found[giver], kept_store_bytes=kept)
        found[taker] = replace(found[taker], unique_load_bytes=found[taker].unique_load_bytes - kept)
    return tuple(found)


def tile_core_bytes(workload: Workload, parameters: EagerParameters, chip: Accelerator) -> int:
    """The most that a launch holds in a core, with parameters decided.

    Raises
    ------
    simulator.CapacityError
        If it does not fit.
    """
    stages = parameters.stages
    tile = f"{stages} tiles of {parameters.tile_rows} x {parameters.tile_columns} x {parameters.tile_depth}"
    product, passed = _held(workload, parameters, stages)
    return max(
        fitting_core_bytes(chip, *product, tile),
        fitting_core_bytes(chip, *passed, f"{stages} work items of {parameters.elementwise_bytes:,} B of a pass"),
    )


def _held(workload: Workload, parameters: EagerParameters, stages: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Bytes of operands and accumulators of a product and of a pass over the scores.

    A product holds ``stages`` of its operands' tiles and its float32 result. A pass works on elements as they come and
    lets go of them, so that of its items, a tile each, only those wait that come before their turn: all but two.
    """
    rows, columns = parameters.tile_rows, parameters.tile_columns
    operands = stages * (rows + columns) * parameters.tile_depth * workload.dtype_bytes
    passed = MOST_READS * max(parameters.elementwise_bytes, workload.kv_len * workload.dtype_bytes)
    return (operands, rows * columns * ACCUMULATOR_BYTES), (max(stages - LEAST_STAGES, 0) * passed, 0)


def _streams(workload: Workload, parameters: EagerParameters) -> Iterator[Stream]:
    """The streams of tiles of both products, whose operands are the smallest tiles there are."""
    for columns, depth in ((workload.kv_len, workload.head_dim), (workload.v_head_dim, workload.kv_len)):
        part = min(workload.q_len, parameters.tile_rows) + min(columns, parameters.tile_columns)
        results = ceil_div(workload.q_len, parameters.tile_rows) * ceil_div(columns, parameters.tile_columns)
        yield Stream(
            items=workload.batch * workload.heads * results,
            tiles=ceil_div(depth, parameters.tile_depth),
            tile_bytes=part * min(depth, parameters.tile_depth) * workload.dtype_bytes,
        )


def _product(a: FloatArray, b: FloatArray, parameters: OperatorParameters) -> FloatArray:
    """``a @ b`` by tiles of the result and of the sum."""
    out = np.zeros((*a.shape[:-1], b.shape[-1]))
    for rows in spans(0, a.shape[-2], parameters.tile_rows):
        for columns in spans(0, b.shape[-1], parameters.tile_columns):
            for depth in spans(0, a.shape[-1], parameters.tile_depth):
                r, c, d = (slice(each.start, each.stop) for each in (rows, columns, depth))
                out[..., r, c] += a[..., r, d] @ b[..., d, c]
    return out
