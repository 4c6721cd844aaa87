"""Unfused attention: every operator is a launch of its own, and all N^2 scores pass through the shared memory.

Algorithm 0 of FlashAttention (arXiv:2205.14135) and, for training, its algorithm 3. Scores are computed for all pairs,
masked or not, as matrix libraries do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from algorithms.chip_registry import TiledAlgorithm, chip_algorithm
from algorithms.registry import Tensors
from algorithms.shape import FloatArray, Workload
from algorithms.tiled.online import finite
from algorithms.tiled.operators import Elementwise, OperatorParameters, Product, softmax_launch
from algorithms.tiled.parameters import ACCUMULATOR_BYTES, bad_numbers, cached_bytes, fitting_core_bytes, knob
from algorithms.tiled.plan import Launch, TilePlan
from algorithms.tiled.tiles import Tiling, spans
from hwmodels.errors import InputError

if TYPE_CHECKING:
    from hwmodels.accelerator import Accelerator

TRAINING_FLOPS = 3
"""Products of forward and backward pass, 2 and 4, over those of a forward pass."""


@dataclass(frozen=True)
class EagerParameters(OperatorParameters):
    """`OperatorParameters`, and how often scores are read and written besides."""

    elementwise_passes: int = field(
        default=0, metadata=knob("further launches that read and write all scores (mask, scale, dropout)")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = bad_numbers(self, {})
        if problems:
            raise InputError(problems)


@chip_algorithm("eager.forward", EagerParameters)
class Eager(TiledAlgorithm[EagerParameters]):
    """Unfused attention: QK, softmax and PV as launches of their own."""

    def plan(self, workload: Workload, parameters: EagerParameters, chip: Accelerator) -> TilePlan:
        """QK, elementwise passes, softmax, PV."""
        launches = forward_launches(workload, parameters)
        passing = scores(workload) * workload.dtype_bytes
        kept = cached_bytes(chip, 2 * passing) // 2  # a launch reads one array of scores and writes another
        return TilePlan(
            algorithm="eager.forward",
            launches=_passing_on(launches, kept),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=workload.compulsory_bytes,
            capacity_bytes=workload.compulsory_bytes + 2 * scores(workload) * workload.dtype_bytes,
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
        """The forward launches, then the products and passes of algorithm 3."""
        forward = super().plan(workload, parameters, chip)
        launches = forward_launches(workload, parameters)  # the backward pass needs the weights: nothing is dropped
        return replace(
            forward,
            algorithm="eager.training",
            launches=launches + _backward_launches(workload, parameters),
            useful_flops=workload.attention_flops * TRAINING_FLOPS,
            compulsory_bytes=2 * workload.compulsory_bytes,
            capacity_bytes=2 * workload.compulsory_bytes + 4 * scores(workload) * workload.dtype_bytes,
        )


def scores(workload: Workload) -> int:
    """Pairs of queries and keys of all heads, masked or not."""
    return workload.batch * workload.heads * workload.q_len * workload.kv_len


def forward_launches(workload: Workload, parameters: EagerParameters) -> tuple[Launch, ...]:
    """QK, elementwise passes, softmax, PV."""
    heads = workload.batch * workload.heads
    group, queries, keys = workload.group_size, workload.q_len, workload.kv_len
    products = (
        Product("qk", heads, queries, keys, workload.head_dim, shared=group),
        Product("pv", heads, queries, workload.v_head_dim, keys, shared=group),
    )
    first, last = (product.launch(parameters, workload.dtype) for product in products)
    one_pass = Elementwise("elementwise", scores(workload)).launch(parameters, workload.dtype)
    softmax = softmax_launch(heads * queries, keys, parameters, workload.dtype)
    return (first, *(one_pass,) * parameters.elementwise_passes, softmax, last)


def _passing_on(launches: tuple[Launch, ...], kept: int) -> tuple[Launch, ...]:
    """Launches of which each hands ``kept`` bytes of scores to the next one through a cache."""
    last = len(launches) - 1
    return tuple(
        replace(
            launch,
            unique_load_bytes=launch.unique_load_bytes - (kept if i > 0 else 0),
            kept_store_bytes=kept if i < last else 0,
        )
        for i, launch in enumerate(launches)
    )


def _backward_launches(workload: Workload, parameters: EagerParameters) -> tuple[Launch, ...]:
    """Gradients of V, P, S, Q and K in turn; every query head has its own gradient of K and V."""
    heads = workload.batch * workload.heads
    group, queries, keys, width = workload.group_size, workload.q_len, workload.kv_len, workload.head_dim
    one_pass = Elementwise("elementwise_backward", scores(workload)).launch(parameters, workload.dtype)
    return (
        Product("dv", heads, keys, workload.v_head_dim, queries).launch(parameters, workload.dtype),
        Product("dp", heads, queries, keys, workload.v_head_dim, shared=group).launch(parameters, workload.dtype),
        # P * (dP - sum(P * dP)): two operands in, one result out
        Elementwise("ds", scores(workload), reads=2, ops=4).launch(parameters, workload.dtype),
        *(one_pass,) * parameters.elementwise_passes,
        Product("dq", heads, queries, width, keys, shared=group).launch(parameters, workload.dtype),
        Product("dk", heads, keys, width, queries).launch(parameters, workload.dtype),
    )


def tile_core_bytes(workload: Workload, parameters: OperatorParameters, chip: Accelerator) -> int:
    """What a tile of a product holds in a core: two stages of operands and the float32 result."""
    rows, columns = parameters.tile_rows, parameters.tile_columns
    operands = 2 * (rows + columns) * parameters.tile_depth * workload.dtype_bytes
    what = f"tiles of {rows} x {columns} x {parameters.tile_depth}"
    return fitting_core_bytes(chip, operands, rows * columns * ACCUMULATOR_BYTES, what)


def _product(a: FloatArray, b: FloatArray, parameters: OperatorParameters) -> FloatArray:
    """``a @ b`` by tiles of the result and of the sum."""
    out = np.zeros((*a.shape[:-1], b.shape[-1]))
    for rows in spans(0, a.shape[-2], parameters.tile_rows):
        for columns in spans(0, b.shape[-1], parameters.tile_columns):
            for depth in spans(0, a.shape[-1], parameters.tile_depth):
                r, c, d = (slice(each.start, each.stop) for each in (rows, columns, depth))
                out[..., r, c] += a[..., r, d] @ b[..., d, c]
    return out
