"""The attention of a block as work items: tiles of query rows against tiles of keys, splits of the keys, their merge.

Heads that share keys are packed into the rows of a tile, token by token. Absorbed latent attention is the extreme: all
heads of a sequence share one key, and the values are a part of it, so a tile of the cache is loaded once for both (as
FlashMLA does, github.com/deepseek-ai/FlashMLA).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.latent.attend import split_spans
from algorithms.chip.latent.program import Program
from algorithms.chip.plan.in_flight import LEAST_STAGES
from algorithms.chip.plan.plan import Matmul, TileStep, WorkItem
from algorithms.chip.plan.steps import OPS_PER_MASKED_SCORE, OPS_PER_OUTPUT, OPS_PER_ROW, OPS_PER_SCORE
from algorithms.rounding import ceil_div, round_up
from algorithms.workload.shape import Mask

IntArray = NDArray[np.int64]

PARTIAL_BYTES = 4
"""Partial results and log-sum-exps of splits are float32."""
SPLIT_COST_STEPS = 5
"""Cost of a split beside its keys, in steps, when splits are chosen (FlashMLA, fixed_overhead_num_blocks)."""
MOST_SPLITS = 128
OPS_PER_MERGED = 2
"""A multiply-add per element of a partial result."""


@dataclass(frozen=True)
class Expansion:
    """Keys and values of a head made from the latent inside the work item.

    Parameters
    ----------
    latent, key, value
        Widths of the latent and of what is made from it.
    resident
        Whether a core keeps the up-projections of its head; else they are loaded again for each tile of keys.
    """

    latent: int
    key: int
    value: int
    resident: bool

    @property
    def weights(self) -> int:
        """Elements of the up-projections of one head."""
        return self.latent * (self.key + self.value)


@dataclass(frozen=True)
class CoreShape:
    """Sizes of the attention of a block for one group of heads that share keys.

    Parameters
    ----------
    copies
        Groups of all sequences.
    tokens, context
        New and attended tokens of a sequence.
    heads
        Heads of a group: neighbouring rows of one token.
    score_width, value_width
        Depth of a score and width of a result.
    load_width
        Elements loaded for each key, what serves as key and as value counted once.
    mask, element_bytes
        Mask of the scores, and bytes of every element stored.
    expansion
        None where keys and values are there ready-made.
    """

    copies: int
    tokens: int
    context: int
    heads: int
    score_width: int
    value_width: int
    load_width: int
    mask: Mask
    element_bytes: int
    expansion: Expansion | None = None

    @property
    def rows(self) -> int:
        """Query rows of a group."""
        return self.tokens * self.heads

    @property
    def visible_pairs(self) -> int:
        """(Query row, key) pairs that the mask lets through, all groups together."""
        seen = _seen(self, np.arange(self.tokens))
        return self.copies * self.heads * int(seen.sum())

    @property
    def useful_flops(self) -> int:
        """FLOPs of scores and results over visible pairs."""
        return 2 * self.visible_pairs * (self.score_width + self.value_width)

    @property
    def expansion_flops(self) -> int:
        """FLOPs of keys and values expanded on the way, each once."""
        return 2 * self.copies * self.context * self.expansion.weights if self.expansion else 0

    @property
    def kept_weights(self) -> int:
        """Elements of up-projections that a core keeps for as long as it works on an item."""
        return self.expansion.weights if self.expansion and self.expansion.resident else 0

    def step_bytes(self, keys: int) -> int:
        """Loaded for a tile of keys."""
        weights = self.expansion.weights if self.expansion and not self.expansion.resident else 0
        return (keys * self.load_width + weights) * self.element_bytes

    def operand_bytes(self, rows: int, keys: int, stages: int = LEAST_STAGES, items: int = 1) -> int:
        """Tiles that a core holds: queries and up-projections of `items`, and `stages` tiles of keys.

        Up-projections that it does not keep are worked on in slices while the next ones come; tiles that wait longer
        wait with all of theirs.
        """
        held = items * (rows * self.score_width + self.kept_weights) * self.element_bytes
        if self.expansion is None:
            return held + stages * self.step_bytes(keys)
        near = min(stages, LEAST_STAGES)
        slices = 0 if self.expansion.resident else near * keys * self.expansion.latent
        made = keys * (self.expansion.key + self.expansion.value)
        tiles = (near * keys * self.load_width + slices + made) * self.element_bytes
        return held + tiles + (stages - near) * self.step_bytes(keys)

    def accumulator_bytes(self, rows: int, keys: int) -> int:
        """Scores, results, maximum and sum of every row in float32."""
        return rows * (keys + self.value_width + 2) * PARTIAL_BYTES


def core_shape(program: Program, element_bytes: int, expansion: Expansion | None = None) -> CoreShape:
    """The attention of `program`; with an `expansion`, its keys and values are made from the latent on the way."""
    attention = program.attention
    keys = [key for _, key in attention.pairs]
    group = next((label for label in ("h", "g") for key in keys if label in program.labels(key)), "")
    groups = program.extent(group)
    widths = {name: program.extent(program.labels(name)[-1]) for name in (*keys, attention.values)}
    loaded = [name for name in widths if expansion is None or name not in ("keys", "values")]
    return CoreShape(
        copies=program.sizes["b"] * groups,
        tokens=program.sizes["s"],
        context=program.sizes["l"],
        heads=program.sizes["h"] // groups,
        score_width=sum(widths[key] for key in keys),
        value_width=widths[attention.values],
        load_width=sum(widths[name] for name in loaded) + (expansion.latent if expansion else 0),
        mask=program.mask,
        element_bytes=element_bytes,
        expansion=expansion,
    )


@dataclass(frozen=True)
class CoreTiles:
    """Query rows and keys of a tile, splits of the keys, and rows of the array, in blocks of which softmax works."""

    rows: int
    keys: int
    splits: int
    array_rows: int = 1


def choose_splits(shape: CoreShape, rows: int, keys: int, cores: int) -> int:
    """Splits with which the busiest core has the fewest steps; the fewest such splits."""
    items = shape.copies * ceil_div(shape.rows, rows)
    steps = ceil_div(shape.context, keys)

    def busiest(splits: int) -> int:
        return ceil_div(items * splits, cores) * (ceil_div(steps, splits) + SPLIT_COST_STEPS)

    return min(range(1, min(MOST_SPLITS, max(steps, 1)) + 1), key=busiest)


def attention_items(shape: CoreShape, tiles: CoreTiles) -> tuple[tuple[WorkItem, int], ...]:
    """Work items of the attention, those with the most work first."""
    runs: dict[WorkItem, int] = {}
    for rows, key_tiles, times in _row_tiles(shape, tiles):
        for split in split_spans(key_tiles, tiles.splits):
            item = _item(shape, tiles, rows, split)
            runs[item] = runs.get(item, 0) + times * shape.copies
    return tuple(sorted(runs.items(), key=lambda run: -run[0].total("flops")))


def merge_items(shape: CoreShape, splits: int, cores: int) -> tuple[tuple[WorkItem, int], ...]:
    """Work items that join the partial results of all splits, rows dealt evenly to cores."""
    rows = shape.copies * shape.rows
    share, extra = divmod(rows, cores)
    step = TileStep(
        load_bytes=splits * (shape.value_width + 1) * PARTIAL_BYTES,
        exps=splits,
        vector_ops=splits * shape.value_width * OPS_PER_MERGED,
    )

    def item(of_rows: int) -> WorkItem:
        return WorkItem(
            ((step, of_rows),),
            last_vector_ops=of_rows * shape.value_width * OPS_PER_OUTPUT,
            last_store_bytes=of_rows * shape.value_width * shape.element_bytes,
        )

    runs = ((share + 1, extra), (share, cores - extra))
    return tuple((item(of_rows), times) for of_rows, times in runs if of_rows and times)


def partial_bytes(shape: CoreShape, tiles: CoreTiles) -> int:
    """Partial results and log-sum-exps that all splits store; 0 where nothing is split."""
    if tiles.splits == 1:
        return 0
    items = sum(times * len(split_spans(n, tiles.splits)) * rows for rows, n, times in _row_tiles(shape, tiles))
    return shape.copies * items * (shape.value_width + 1) * PARTIAL_BYTES


def _row_tiles(shape: CoreShape, tiles: CoreTiles) -> Iterator[tuple[int, int, int]]:
    """(rows, tiles of keys they see, how often) over the row tiles of one group, equal neighbours counted."""
    starts = np.arange(0, shape.rows, tiles.rows)
    ends = np.minimum(starts + tiles.rows, shape.rows)
    seen = _seen(shape, (ends - 1) // shape.heads)
    kinds = np.stack([ends - starts, -(-seen // tiles.keys)], axis=1)
    changes = np.flatnonzero(np.any(np.diff(kinds, axis=0), axis=1)) + 1
    for first, last in zip([0, *changes], [*changes, len(kinds)], strict=True):
        if last > first:
            yield int(kinds[first, 0]), int(kinds[first, 1]), int(last - first)


def _seen(shape: CoreShape, tokens: IntArray) -> IntArray:
    """Keys that tokens see."""
    if shape.mask == "full":
        return np.full(len(tokens), shape.context)
    seen: IntArray = np.clip(tokens + 1 + shape.context - shape.tokens, 0, shape.context)
    return seen


def _item(shape: CoreShape, tiles: CoreTiles, rows: int, split: range) -> WorkItem:
    ragged = shape.context - (ceil_div(shape.context, tiles.keys) - 1) * tiles.keys
    ends = split.stop == ceil_div(shape.context, tiles.keys) and ragged < tiles.keys
    runs = [(_step(shape, tiles, rows, tiles.keys, masked=False), len(split) - 1)] if len(split) > 1 else []
    if len(split):
        masked = ends or shape.mask == "causal"
        runs.append((_step(shape, tiles, rows, ragged if ends else tiles.keys, masked=masked), 1))
    whole, partial = shape.value_width * shape.element_bytes, (shape.value_width + 1) * PARTIAL_BYTES
    return WorkItem(
        steps=tuple(runs),
        first_load_bytes=(rows * shape.score_width + shape.kept_weights) * shape.element_bytes,
        last_vector_ops=OPS_PER_OUTPUT * rows * shape.value_width,
        last_store_bytes=rows * (partial if tiles.splits > 1 else whole),
    )


def _step(shape: CoreShape, tiles: CoreTiles, rows: int, keys: int, *, masked: bool) -> TileStep:
    per_score = OPS_PER_SCORE + (OPS_PER_MASKED_SCORE if masked else 0)
    converted = 0
    made: tuple[Matmul, ...] = ()
    if shape.expansion is not None:
        expansion = shape.expansion
        made = (Matmul(keys, expansion.key, expansion.latent), Matmul(keys, expansion.value, expansion.latent))
        converted = keys * (expansion.key + expansion.value)
    issued = round_up(rows, tiles.array_rows)
    return TileStep(
        load_bytes=shape.step_bytes(keys),
        scores=(*made, Matmul(rows, keys, shape.score_width)),
        exps=issued * (keys + 1),
        vector_ops=issued * (per_score * keys + shape.value_width + OPS_PER_ROW) + converted,
        values=(Matmul(rows, shape.value_width, keys),),
    )
