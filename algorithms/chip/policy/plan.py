"""The plan of a step of a model whose cache is under a KV policy, from the record of what the policy did.

Layer after layer: what has to be decided before attention, attention over the keys that are seen (split over cores and
merged), what a fused kernel cannot give, and what happens after. The records come from the run that selected the keys,
so costs and selections can never be of different policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from algorithms.chip.attention.flash import core_bytes
from algorithms.chip.attention.splits import automatic_splits, merge_launch, partial_bytes, partial_row_bytes
from algorithms.chip.plan.exchange import HOST, TierTransfer, memory_tiers
from algorithms.chip.plan.parameters import (
    TileParameters,
    cached_bytes,
    sized_tiles,
    with_tiles_in_flight,
)
from algorithms.chip.plan.plan import Launch, Matmul, TilePlan, TileStep, WorkItem, run_lengths
from algorithms.chip.plan.steps import OPS_PER_MASKED_SCORE, OPS_PER_OUTPUT, OPS_PER_ROW, OPS_PER_SCORE
from algorithms.chip.policy.work import (
    Amount,
    exported_bytes,
    exports_scores,
    layer_tasks,
    model_launches,
    probabilities_launch,
)
from algorithms.kv.cost import CacheShape, Read, StackCost, StepCost
from algorithms.rounding import ceil_div
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import Accelerator

ACCESS_BYTES = 64
"""Smallest access of a memory: a burst of HBM2 (128 bit x 4) and of a DDR5 channel (32 bit x 16). Gathers of shorter
pieces pay for whole ones."""


@dataclass(frozen=True)
class StepShape:
    """Shape of one step of one layer, apart from the keys.

    Parameters
    ----------
    workload
        One layer; `q_len` new tokens in each of `batch` sequences.
    cache
        Heads and widths, and the number of layers.
    tiles
        Sizes of tiles, decided.
    """

    workload: Workload
    cache: CacheShape
    tiles: TileParameters

    @classmethod
    def of(
        cls, workload: Workload, cache: CacheShape, keys: int, tiles: TileParameters, chip: Accelerator
    ) -> StepShape:
        """The shape with tiles for at most ``keys`` keys on ``chip``; query heads of a KV head share tiles."""
        attended = workload.with_(kv_len=max(keys, workload.q_len), mask="full")
        sized = sized_tiles(attended, tiles, chip)
        items = workload.kv_heads * workload.batch * ceil_div(workload.q_len * cache.group, sized.tile_rows)
        parts = automatic_splits(items, chip.cores, max(ceil_div(keys, sized.tile_columns), 1))
        return cls(attended, cache, with_tiles_in_flight(attended, sized, chip, parts))

    @property
    def rows(self) -> int:
        """Query rows that meet the keys of a KV head."""
        return self.workload.q_len * self.cache.group


def attended_keys(cost: StepCost, group: int) -> list[int]:
    """Entries that each KV head attends: keys, and summaries that stand for others."""
    attended = np.array(cost.attended)
    if not cost.queries:
        return [0] * len(attended)
    pairs = cost.attention_exps // group
    summaries = max(0, pairs - int(attended.sum()) * cost.queries) // (cost.queries * len(attended))
    return [int(keys) + summaries for keys in attended]


def gathered_bytes(reads: Iterable[Read]) -> int:
    """Bytes that gathers move: every run of keys and every run of values in whole accesses."""
    total = 0
    for read in reads:
        piece = read.runs.length * (read.token_bytes / 2)
        total += 2 * int(np.ceil(piece / ACCESS_BYTES).sum()) * ACCESS_BYTES
    return total


@dataclass(frozen=True)
class _Attention:
    """Attention of one layer, being put together."""

    cost: StepCost
    shape: StepShape
    chip: Accelerator
    fused: Amount
    exports: int
    keys: list[int] = field(init=False)
    splits: int = field(init=False)

    def __post_init__(self) -> None:
        work = self.shape.workload
        keys = attended_keys(self.cost, self.shape.cache.group)
        items = work.kv_heads * work.batch * self._row_tiles
        tiles = ceil_div(max(keys), self.shape.tiles.tile_columns)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "splits", automatic_splits(items, self.chip.cores, max(tiles, 1)))

    @property
    def _row_tiles(self) -> int:
        return ceil_div(self.shape.rows, self.shape.tiles.tile_rows)

    def launches(self) -> list[Launch]:
        """Attention, and the merge of its parts."""
        work = self.shape.workload
        parts = [part for keys in self.keys for part in self._parts(keys)]
        count = len(parts) * self._row_tiles * work.batch
        loaded = gathered_bytes(self.cost.reads)
        per_key = loaded / max(1, sum(self.keys))
        items = [self._item(part, per_key, count) for part in parts]
        times = self._row_tiles * work.batch
        queries = work.batch * work.heads * work.q_len * work.head_dim * work.dtype_bytes
        partial = cached_bytes(self.chip, partial_bytes(work, self.splits)) if self.splits > 1 else 0
        kept = partial + cached_bytes(self.chip, self.exports * work.batch)
        attention = Launch(
            name="attention",
            items=tuple((item, same * times) for item, same in run_lengths(items)),
            unique_load_bytes=loaded * work.batch + queries + self.fused.load_bytes,
            order="longest_first",
            matrix_format=work.dtype,
            overlap=self.shape.tiles.overlap,
            row_groups=self.shape.tiles.row_groups,
            kept_store_bytes=kept,
            gather_bytes=self._gather_bytes(),
        )
        return [attention, merge_launch(work, self.splits, partial)] if self.splits > 1 else [attention]

    def _gather_bytes(self) -> int:
        """Mean length of a run of keys, or 0 where runs are as long as tiles."""
        runs = sum(read.runs.count for read in self.cost.reads)
        tokens = sum(read.runs.tokens for read in self.cost.reads)
        if not runs or tokens / runs >= self.shape.tiles.tile_columns:
            return 0
        moved = sum(read.bytes for read in self.cost.reads)
        return max(1, round(moved / 2 / runs))

    def _parts(self, keys: int) -> list[int]:
        """Keys of each part of a head's keys: whole tiles, the last one ragged; heads without keys have one part."""
        size = (
            max(1, ceil_div(ceil_div(keys, self.shape.tiles.tile_columns), self.splits)) * self.shape.tiles.tile_columns
        )
        return [min(size, keys - start) for start in range(0, keys, size)] or [0]

    def _item(self, keys: int, per_key: float, count: int) -> WorkItem:
        tiles, work = self.shape.tiles, self.shape.workload
        whole, rest = divmod(keys, tiles.tile_columns)
        steps = [(self._step(tiles.tile_columns, per_key), whole)] if whole else []
        if rest or not whole:
            steps.append((self._step(rest, per_key), 1))
        if not self.fused.nothing:
            steps.append((self._fused_step(count), 1))
        rows = min(tiles.tile_rows, self.shape.rows)
        partial = self.splits > 1
        out = partial_row_bytes(work) if partial else work.v_head_dim * work.dtype_bytes
        appended = sum(write.bytes for write in self.cost.writes) * work.batch / count
        return WorkItem(
            steps=tuple(steps),
            first_load_bytes=rows * work.head_dim * work.dtype_bytes,
            last_vector_ops=OPS_PER_OUTPUT * rows * work.v_head_dim,
            last_store_bytes=rows * out + ceil_div(round(appended + self.fused.store_bytes / count), 1),
        )

    def _step(self, keys: int, per_key: float) -> TileStep:
        """One tile of keys against a tile of rows; ragged tiles are computed whole."""
        tiles, work = self.shape.tiles, self.shape.workload
        rows, columns = tiles.tile_rows, tiles.tile_columns
        per_score = OPS_PER_SCORE + (OPS_PER_MASKED_SCORE if keys < columns else 0)
        pairs = sum(self.keys) * self.shape.rows
        exported = self.exports * keys * min(rows, self.shape.rows) // pairs if pairs else 0
        return TileStep(
            load_bytes=round(keys * per_key),
            scores=(Matmul(rows, columns, work.head_dim),),
            exps=rows * (columns + 1),
            vector_ops=rows * (per_score * columns + work.v_head_dim + OPS_PER_ROW),
            values=(Matmul(rows, work.v_head_dim, columns),),
            store_bytes=exported,
        )

    def _fused_step(self, count: int) -> TileStep:
        """An item's share of what rides along; its rows fill up tiles that are padded anyway."""
        rows, depth = self.chip.core.matrix_rows, self.shape.workload.head_dim
        columns = ceil_div(self.fused.macs, depth * rows * count)
        return TileStep(
            load_bytes=ceil_div(self.fused.load_bytes, count),
            scores=(Matmul(rows, columns, depth),) if columns else (),
            exps=ceil_div(self.fused.exps, count),
            vector_ops=ceil_div(self.fused.operations, count),
        )


def policy_plan(name: str, cost: StackCost, shape: StepShape, chip: Accelerator, host_seconds: float) -> TilePlan:
    """The plan of one step.

    Parameters
    ----------
    name
        Registered name of the algorithm.
    cost
        Cost of the policy in every layer.
    host_seconds
        Time from a question to the host to its answer, transfers not counted.

    Raises
    ------
    simulator.CapacityError
        If tiles do not fit into a core.
    """
    work = shape.workload
    launches: list[Launch] = []
    transfers: list[TierTransfer] = []
    layers = cost.layers

    def decide(moment: str) -> None:
        made, by_host = model_launches(layers, moment, shape.cache, chip, work.batch, work.dtype)
        launches.extend(made)
        if by_host:
            transfers.append(_host_decision(made[-1], len(launches) - 1, chip, host_seconds))

    decide("before")
    attention_at: dict[int, int] = {}
    for layer in layers:
        tasks = layer_tasks(layer, shape.cache, chip, work.batch, work.dtype)
        launches.extend(tasks.before)
        attention_at[layer.layer] = len(launches)
        export = layer.export
        leaves = export is not None and exports_scores(export, work.batch)
        written = exported_bytes(export, 1) if export is not None and leaves else 0
        launches.extend(_Attention(layer, shape, chip, tasks.fused, written).launches())
        if export is not None:
            launches.append(probabilities_launch(export, shape.cache, chip, work.batch, work.dtype))
        launches.extend(tasks.after)
    decide("after")
    transfers += _transfers(layers, attention_at, work.batch)
    held = cost.held(chip.memory.name)
    return TilePlan(
        algorithm=name,
        launches=tuple(launches),
        useful_flops=2 * sum(layer.attention_macs for layer in layers) * work.batch,
        useful_exps=sum(layer.attention_exps for layer in layers) * work.batch,
        compulsory_bytes=round(cost.read_bytes) * work.batch + len(layers) * (work.q_bytes + work.out_bytes),
        capacity_bytes=round(held.physical_bytes + held.state_bytes) * work.batch,
        core_bytes=core_bytes(work, shape.tiles, chip),
        transfers=tuple(transfers),
    )


def _host_decision(launch: Launch, number: int, chip: Accelerator, host_seconds: float) -> TierTransfer:
    """The scores go to the host, and the launch after waits for its answer."""
    target = HOST if HOST in memory_tiers(chip) else chip.memory.name
    loaded = launch.total("load_bytes")
    return TierTransfer(
        "decision of the host", chip.memory.name, target, loaded, number, number + 1, False, host_seconds
    )


def _transfers(layers: Sequence[StepCost], attention_at: dict[int, int], batch: int) -> list[TierTransfer]:
    found = []
    for layer in layers:
        for moved in layer.transfers:
            waits = moved.needed_by_layer >= 0
            found.append(
                TierTransfer(
                    moved.what,
                    moved.source,
                    moved.target,
                    round(moved.bytes * batch),
                    attention_at[layer.layer],
                    attention_at[moved.needed_by_layer] if waits else None,
                    waits and moved.needed_at > layer.step,
                )
            )
    return found
