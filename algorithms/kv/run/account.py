"""Turning what a step did into a `StepCost`: pairs attended, runs read and written, bytes held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.kv.cache import Array, Dropped, KVCache, Layout
from algorithms.kv.cost import (
    CacheShape,
    Copy,
    Occupancy,
    Read,
    ScoreExport,
    StepCost,
    Transfer,
    Work,
    Write,
)
from algorithms.kv.layer import Need
from algorithms.kv.policy import PolicyState
from algorithms.kv.ranking import IntArray
from algorithms.kv.run.runs import Runs
from algorithms.kv.step import Selection, Step


@dataclass(frozen=True)
class Accounting:
    """How bytes are counted.

    Parameters
    ----------
    page_tokens
        Slots per page; physical bytes are whole pages.
    pages_shared_by_heads
        Whether a page holds the slots of all heads (as vLLM's do), so that it is free only when no head
        needs it.
    layout
        Treatment of holes, see `algorithms.kv.cache.Layout`.
    tier
        Tier that the cache lies in when no placement says otherwise.
    """

    page_tokens: int = 16
    pages_shared_by_heads: bool = False
    layout: Layout = "slots"
    tier: str = "HBM"


@dataclass(eq=False)
class HeadRecord:
    """Record of what one part of a layer did in a step; filled in by the stream.

    Parameters
    ----------
    heads
        KV heads of the part.
    state, cache
        Policy state and cache of the part.
    selection
        Keys that its queries saw.
    attended, new_attended
        Keys read per head, and how many of them arrived in this step.
    written
        Slots of the new rows `(heads, m)`.
    answered
        Positions of the queries answered.
    dropped
        Evictions of the step.
    wanted
        Things that the policy looked at in this step.
    """

    heads: IntArray
    state: PolicyState
    cache: KVCache
    selection: Selection | None
    attended: IntArray
    new_attended: IntArray
    runs: Runs
    written: IntArray
    answered: IntArray
    dropped: list[Dropped]
    wanted: frozenset[Need]
    output: Array | None
    positions: IntArray

    @classmethod
    def of(
        cls,
        heads: IntArray,
        state: PolicyState,
        cache: KVCache,
        selection: Selection | None,
        written: IntArray,
        answered: IntArray,
        dropped: list[Dropped],
        wanted: frozenset[Need],
    ) -> HeadRecord:
        """A record made after selection, before anything is dropped."""
        m = written.shape[1]
        if selection is None:
            attended, new = cache.lengths.copy(), np.full(cache.heads, m)
            positions = cache.positions if cache.intact else cache.positions.copy()
            runs = _runs_of_all(cache)
        else:
            attended = selection.lengths.copy()
            real = np.arange(selection.indices.shape[1]) < attended[:, None]
            new = ((selection.indices >= cache.lengths[:, None] - m) & real).sum(1)
            ranks = selection.indices
            positions = ranks if cache.intact else np.take_along_axis(cache.positions, ranks, 1)
            runs = _runs_of_selection(cache, selection)
        return cls(
            heads, state, cache, selection, attended, new, runs, written, answered, dropped, wanted, None, positions
        )

    def selected_positions(self, row: int) -> IntArray:
        """Positions head `row` attended, ascending."""
        return self.positions[row, : self.attended[row]]


def _runs_of_all(cache: KVCache) -> Runs:
    """Runs of all live slots in slot order, which attention may read in any order it likes."""
    if cache.intact or cache.layout != "slots":
        return Runs.contiguous(cache.lengths)
    slots = cache.slots
    if cache.valid is not None:
        slots = np.where(cache.valid, slots, np.iinfo(np.int64).max)
    return Runs.of_slots(np.sort(slots, 1), cache.lengths)


def _runs_of_selection(cache: KVCache, selection: Selection) -> Runs:
    if cache.intact or cache.layout != "slots":
        return Runs.of_slots(selection.indices, selection.lengths)
    slots = np.take_along_axis(cache.slots, selection.indices, 1)
    real = np.arange(slots.shape[1]) < selection.lengths[:, None]
    return Runs.of_slots(np.sort(np.where(real, slots, np.iinfo(np.int64).max), 1), selection.lengths)


def step_cost(
    shape: CacheShape, layer: int, step: Step, records: Sequence[HeadRecord], accounting: Accounting
) -> StepCost:
    """The record of one layer and step, over all its parts."""
    attended = np.zeros(shape.kv_heads, np.int64)
    resident = np.zeros(shape.kv_heads, np.int64)
    pairs = 0
    work: list[Work] = []
    transfers: list[Transfer] = []
    hits = misses = 0
    for record in records:
        attended[record.heads] = record.attended
        resident[record.heads] = record.cache.lengths
        pairs += _pairs(record, step)
        done, moved, found, lost = record.state.drain()
        work += done
        transfers += moved
        hits += found
        misses += lost
    pairs *= shape.group
    return StepCost(
        layer=layer,
        step=step.index,
        queries=sum(record.answered.size for record in records[:1]),
        appended=step.tokens,
        attended=tuple(attended.tolist()),
        resident=tuple(resident.tolist()),
        attention_macs=pairs * (shape.head_dim + shape.value_dim),
        attention_exps=pairs,
        work=tuple(work),
        reads=tuple(_reads(shape, record, accounting) for record in records if record.answered.size),
        writes=tuple(_writes(shape, record, accounting) for record in records),
        copies=tuple(
            Copy("compaction", accounting.tier, dropped.moved, dropped.moved * shape.token_bytes)
            for record in records
            for dropped in record.dropped
            if dropped.moved
        ),
        transfers=tuple(transfers),
        export=_export(shape, records),
        occupancy=_occupancy(shape, records, accounting),
        hits=hits,
        misses=misses,
    )


def _pairs(record: HeadRecord, step: Step) -> int:
    """Visible (query, key) pairs per query head of a group, summed over the KV heads."""
    m = record.answered.size
    summaries = 0
    if record.selection is not None and record.selection.summaries is not None:
        summaries = int((record.selection.summaries.size > 0).sum()) * m
    if m == 0:
        return 0
    if record.selection is not None and record.selection.pair_bias is not None:
        seen = np.isfinite(record.selection.pair_bias).sum()
        return int(seen) * len(record.heads) + summaries
    all_pairs = record.attended * m
    if step.causal and m > 1:
        # of the keys that came with the queries, query i sees i + 1
        all_pairs = all_pairs - record.new_attended * (m - 1) // 2
    return int(all_pairs.sum()) + summaries


def _global_runs(runs: Runs, heads: IntArray) -> Runs:
    return Runs(heads[runs.head], runs.start, runs.length)


def _reads(shape: CacheShape, record: HeadRecord, accounting: Accounting) -> Read:
    placement = record.state.layer.placement
    tier = accounting.tier if placement is None else placement.fast
    given = record.state.token_bytes
    token_bytes = shape.token_bytes if given is None else given
    return Read("keys and values", tier, _global_runs(record.runs, record.heads), token_bytes)


def _writes(shape: CacheShape, record: HeadRecord, accounting: Accounting) -> Write:
    placement = record.state.layer.placement
    tier = accounting.tier if placement is None else placement.fast
    m = np.full(len(record.heads), record.written.shape[1])
    runs = _global_runs(Runs.of_slots(np.sort(record.written, 1), m), record.heads)
    return Write("new keys and values", tier, runs, shape.token_bytes)


def _export(shape: CacheShape, records: Sequence[HeadRecord]) -> ScoreExport | None:
    """Probabilities that policies wanted from attention, or None."""
    rows = macs = 0
    key_bytes = column_bytes = 0.0
    for record in records:
        wanted = record.wanted
        if not wanted & {"last_probs", "col_sums"} or not record.answered.size:
            continue
        needed = record.answered.size if "col_sums" in wanted else 1
        keys = int(record.attended.sum())
        rows = max(rows, needed)
        macs += needed * keys * shape.group * shape.head_dim
        key_bytes += keys * shape.key_bytes
        column_bytes += keys * shape.group * 4
    return ScoreExport(rows, macs, key_bytes, column_bytes) if rows else None


def _occupancy(shape: CacheShape, records: Sequence[HeadRecord], accounting: Accounting) -> tuple[Occupancy, ...]:
    held: dict[str, list[float]] = {}

    def add(tier: str, logical: float, physical: float, state: float) -> None:
        entry = held.setdefault(tier, [0.0, 0.0, 0.0])
        for at, value in enumerate((logical, physical, state)):
            entry[at] += value

    for record in records:
        cache, placement = record.cache, record.state.layer.placement
        pages = cache.pages(accounting.page_tokens, accounting.pages_shared_by_heads)
        logical = float(cache.lengths.sum()) * shape.token_bytes
        physical = pages * accounting.page_tokens * shape.token_bytes
        fast = record.state.fast_tokens(cache)
        if placement is None or fast is None:
            add(accounting.tier if placement is None else placement.fast, logical, physical, 0.0)
            tier = accounting.tier if placement is None else placement.fast
        else:
            tier = placement.fast
            page = accounting.page_tokens
            add(
                tier,
                float(fast.sum()) * shape.token_bytes,
                float((-(-fast // page) * page).sum()) * shape.token_bytes,
                0.0,
            )
            add(placement.home, logical, physical, 0.0)
        add(tier, 0.0, 0.0, record.state.state_bytes(cache))
    return tuple(Occupancy(tier, *entry) for tier, entry in held.items())
