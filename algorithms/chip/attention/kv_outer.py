"""Tiled attention with keys outside and query tiles inside: FlashAttention-1 (arXiv:2205.14135, algorithm 1).

A work item is a whole head. For every tile of keys it passes over all query tiles, and reads and writes back their
outputs, maxima and sums each time: the shared memory sees Theta(N^2 d^2 / M) bytes for M bytes in the core.

Its kernel shares the keys of a tile among the warps of a thread block, so that each warp has maxima, sums and outputs
of all rows over its own keys; they pass them to each other through local memory in every step (flash-attention v0.2,
csrc/flash_attn/src/fmha_fprop_kernel_1xN.h, fmha/softmax.h, fmha/smem_tile.h).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.attention.flash import core_bytes, launch_of
from algorithms.chip.plan.in_flight import NEXT_ITEM_HELP, NextItemChoice
from algorithms.chip.plan.online import divided, finite
from algorithms.chip.plan.parameters import (
    ACCUMULATOR_BYTES,
    TileParameters,
    bad_choices,
    bad_numbers,
    cached_bytes,
    resolved_tiles,
    tiling_of,
)
from algorithms.chip.plan.plan import TilePlan, TileStep, WorkItem, joined_runs
from algorithms.chip.plan.steps import OPS_PER_MASKED_SCORE, Steps
from algorithms.chip.plan.tiles import QueryTile, Tiling
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

Storage = Literal["stored", "float32"]
Masking = Literal["edge", "every_step"]

STATISTICS_BYTES = 2 * ACCUMULATOR_BYTES
"""Maximum and sum of a row."""
OPS_PER_OUTPUT = 3
"""Rescale what was there, add what is new, divide by the new sum."""
OPS_PER_ROW = 6
"""New maximum and sum from the old ones and those of the tile, and the factors for the output."""
STATISTICS_READS = 3
"""Reads of statistics: maxima of all warps before the exponentials, and both statistics of the rows a warp writes."""
EXCHANGES_PER_STEP = 2
"""Barriers behind the maxima, and behind sums and outputs."""
EXCHANGES_PER_PASS = 4
"""Behind queries and values, before keys take the place of values, behind keys, before maxima take their place."""


@dataclass(frozen=True)
class KeyOuterParameters(TileParameters):
    """`TileParameters`, with one tile of K and V and one head at a time as in the paper, and the format of outputs."""

    stages: int = field(default=1, metadata=knob("tiles of K and V that a core holds at a time", schedule=True))
    next_item: NextItemChoice = field(default="stored", metadata=knob(NEXT_ITEM_HELP, schedule=True))
    partial_output: Storage = field(
        default="stored", metadata=knob("format of outputs between passes: as the result (stored), or float32")
    )
    warps: int = field(
        default=1, metadata=knob("warps that share the keys of a tile, and exchange partial results in every step")
    )
    masked: Masking = field(
        default="edge", metadata=knob("whether positions are compared at the edge of the mask, or in every_step")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = bad_numbers(self, {"stages": 1, "warps": 1})
        problems += bad_choices(self, {"partial_output": Storage, "masked": Masking})
        if problems:
            raise InputError(problems)

    def partial_bytes(self, workload: Workload) -> int:
        """Bytes per element of an output between passes."""
        return workload.dtype_bytes if self.partial_output == "stored" else ACCUMULATOR_BYTES


KeysOutside = TypeVar("KeysOutside", bound=KeyOuterParameters)


@chip_algorithm("flash.kv_outer", KeyOuterParameters)
class KeyOuter(TiledAlgorithm[KeysOutside]):
    """Tiled online softmax, keys outside, outputs re-read and re-written (FlashAttention-1)."""

    def resolved(self, workload: Workload, parameters: KeysOutside, chip: Accelerator) -> KeysOutside:
        """Tile sizes of the paper from the chip's local memory."""
        return resolved_tiles(workload, parameters, chip, outer="key")

    def plan(self, workload: Workload, parameters: KeysOutside, chip: Accelerator) -> TilePlan:
        """One launch; a work item per head."""
        if workload.mask == "causal" and workload.q_len > workload.kv_len:
            # no tile of keys passes by the first queries, so nothing would write their outputs
            raise InputError(
                Problem(
                    f"keys outside under a causal mask need at least as many keys as queries (got {workload.q_len} "
                    f"queries, {workload.kv_len} keys)",
                    field="q_len",
                )
            )
        check_tensors_fit(self.name, workload.compulsory_bytes, chip, workload.dtype)
        parameters = self.resolved(workload, parameters, chip)
        tiling = tiling_of(workload, parameters)
        item = WorkItem(joined_runs(_steps(tiling, parameters)))
        rows = tiling.heads * tiling.rows
        passing = rows * (workload.v_head_dim * parameters.partial_bytes(workload) + STATISTICS_BYTES)
        launch = launch_of("attention", tiling, parameters, [(item, 1)])
        in_cache = revisited_in_cache(chip, tiling.heads, passing + workload.q_bytes)
        rewritten = launch.total("store_bytes") - workload.out_bytes
        launch = replace(
            launch,
            unique_load_bytes=launch.unique_load_bytes + (0 if in_cache else passing),
            kept_store_bytes=rewritten if in_cache else 0,
            shared_by=1,
        )
        separate = passing if parameters.partial_output == "float32" else rows * STATISTICS_BYTES
        return TilePlan(
            algorithm=self.name,
            launches=(launch,),
            useful_flops=workload.attention_flops,
            useful_exps=workload.exponentials,
            compulsory_bytes=workload.compulsory_bytes,
            capacity_bytes=workload.compulsory_bytes + separate,
            core_bytes=core_bytes(workload, parameters, chip),
        )

    def values(self, workload: Workload, parameters: KeysOutside, tensors: Tensors) -> FloatArray:
        """Attention of every tile of keys over all query tiles; outputs are divided after every pass, as stored."""
        tiling = tiling_of(workload, parameters)
        q, k, v = tensors
        queries = tiling.laid_out(q / np.sqrt(workload.head_dim))
        stored = _Stored(queries.shape[:-1], v.shape[-1])
        for keys, tiles in tiling.passes():
            tile_k, tile_v = (tensor[:, :, None, keys.start : keys.stop] for tensor in (k, v))
            for tile in tiles:
                rows = slice(tile.rows.start, tile.rows.stop)
                scores = queries[..., rows, :] @ tile_k.swapaxes(-1, -2)
                visible = tiling.visible(tile, keys)
                stored.update(rows, scores if visible is None else np.where(visible, scores, -np.inf), tile_v)
        return tiling.restored(stored.output)


def revisited_in_cache(chip: Accelerator, heads: int, revisited_bytes: int) -> bool:
    """Whether caches hold what the heads that are worked on at a time come back to in every pass."""
    return cached_bytes(chip, revisited_bytes * min(heads, chip.cores) // heads) > 0


class _Stored:
    """Outputs, maxima and sums as they lie in the shared memory between passes."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        self.maximum = np.full(shape, -np.inf)
        self.total = np.zeros(shape)
        self.output = np.zeros((*shape, width))

    def update(self, rows: slice, scores: FloatArray, values: FloatArray) -> None:
        """Lines 10 to 13 of the algorithm for one pair of tiles."""
        of_tile = scores.max(axis=-1)
        weights = np.exp(scores - finite(of_tile)[..., None])
        maximum = np.maximum(self.maximum[..., rows], of_tile)
        before, now = (np.exp(each - finite(maximum)) for each in (self.maximum[..., rows], of_tile))
        kept = before * self.total[..., rows]
        total = kept + now * weights.sum(axis=-1)
        weighted = kept[..., None] * self.output[..., rows, :] + now[..., None] * (weights @ values)
        self.output[..., rows, :] = divided(weighted, total)
        self.maximum[..., rows], self.total[..., rows] = maximum, total


def _steps(tiling: Tiling, parameters: KeyOuterParameters) -> Iterator[tuple[TileStep, int]]:
    """The steps of one head, in order, each with the number of neighbours that are alike.

    In a pass, the first tile of queries comes with the keys, the next ones may cross the edge of the mask, and the last
    one may be ragged; all between them are alike.
    """
    passing = _Passing(tiling, parameters)
    for keys, tiles in tiling.passes():
        plain = bisect_left(tiles, keys.stop, key=lambda tile: tile.seen_by_all)  # from there on all see all keys
        apart = min(max(plain, 1), len(tiles))
        for number, tile in enumerate(tiles[:apart]):
            yield passing.step(tile, keys, loaded=0 if number else len(keys)), 1
        if apart < len(tiles):
            yield passing.step(tiles[apart], keys), len(tiles) - 1 - apart
            yield passing.step(tiles[-1], keys), 1


class _Passing:
    """Additions of keys outside to a step: queries and outputs that come and go, and exchanges between warps."""

    def __init__(self, tiling: Tiling, parameters: KeyOuterParameters) -> None:
        self.base = Steps(tiling, parameters)
        self.work, self.parameters = tiling.workload, parameters
        self.row_bytes = self.work.v_head_dim * parameters.partial_bytes(self.work) + STATISTICS_BYTES
        self.made: dict[tuple[int, int, int], TileStep] = {}

    def step(self, tile: QueryTile, keys: range, loaded: int = 0) -> TileStep:
        """One tile of queries against the keys in the core, the first ``loaded`` of which come along with it."""
        base = self.base.step(tile, keys)  # of which there is one of each kind
        kind = id(base), len(tile.rows), loaded
        if kind not in self.made:
            self.made[kind] = self.added_to(base, tile, keys, loaded)
        return self.made[kind]

    def added_to(self, step: TileStep, tile: QueryTile, keys: range, loaded: int) -> TileStep:
        """``step``, whose first ``loaded`` keys come along with it."""
        work, rows, issued = self.work, len(tile.rows), self.base.rows_issued(tile)
        compared = 0 if self.parameters.masked == "edge" or self.base.masked(tile, keys) else OPS_PER_MASKED_SCORE
        per_row = (OPS_PER_OUTPUT - 1 + self.parameters.warps - 1) * work.v_head_dim + OPS_PER_ROW
        key_bytes = loaded * (work.head_dim + work.v_head_dim) * work.dtype_bytes
        exchange_bytes, exchanges = self._exchanged(issued, key_bytes)
        return replace(
            step,
            load_bytes=key_bytes + rows * (work.head_dim * work.dtype_bytes + self.row_bytes),
            exps=step.exps + issued,  # two factors per row, for what was there and for what is new
            vector_ops=step.vector_ops + issued * (per_row + compared * self.base.columns_issued(keys)),
            store_bytes=rows * self.row_bytes,
            exchange_bytes=exchange_bytes,
            exchanges=exchanges,
        )

    def _exchanged(self, rows: int, key_bytes: int) -> tuple[int, int]:
        """Bytes through local memory and waits of all warps for each other; nothing where one warp has all keys.

        Every warp reads all queries, its own part of keys and values (once per pass: they stay in registers), the
        statistics of all warps, and its rows of all partial outputs, which are float32.
        """
        work, warps = self.work, self.parameters.warps
        if warps == 1:
            return 0, 0
        queries = rows * work.head_dim * work.dtype_bytes * (1 + warps)
        of_all_warps = rows * warps * ACCUMULATOR_BYTES
        statistics = of_all_warps * (STATISTICS_BYTES // ACCUMULATOR_BYTES + STATISTICS_READS * warps)
        outputs = 2 * of_all_warps * work.v_head_dim
        exchanges = EXCHANGES_PER_STEP + (EXCHANGES_PER_PASS if key_bytes else 0)
        return queries + statistics + outputs + 2 * key_bytes, exchanges
