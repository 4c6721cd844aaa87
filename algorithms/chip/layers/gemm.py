"""Products of tokens with weights: tiles of the result shared out over cores, both operands shared through the caches.

A work item is a tile of the result, or a part of its depth. What it loads comes through the caches; what comes from the
main memory follows from the order of tiles: neighbours that run side by side go through the depth together, so a row of
tiles reads its part of the tokens once, a column of tiles its part of the weights, and an operand that fits into the
caches is read from the main memory once in any case. Cores that form a cluster pass one operand to each other
(multicast, PTX ISA 8.0, cp.async.bulk with .multicast::cluster).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from algorithms.chip.layers.formats import WeightFormat, weight_format
from algorithms.chip.plan.parameters import ACCUMULATOR_BYTES, cached_bytes, excess_bytes
from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem, joined_runs
from algorithms.rounding import ceil_div, round_up, spans
from algorithms.workload.shape import BITS, OPERAND_BITS, FloatArray, operand_bytes
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError, Problem

STAGES = 3
"""Steps of operands that a core holds, on their way or in use."""
STEP_BYTES = 128
"""Depth of a step in bytes of one row: a line of the shared memory's swizzle (CUTLASS' and cuBLAS' tiles are 64 deep at
16 bits)."""
STEP_WEIGHT_BYTES = 8 << 10
"""Weights of a step at least: three of them are what a core of an A100 or H100 receives during the latency of its
memory, twice over."""
TILE_SIDES = (16, 32, 64, 128, 256)
"""Sides of tiles that are compared, those of CUTLASS' profiler (tools/library/generator.py)."""
MOST_SPLITS = 16
"""Parts of the depth that are compared."""
CLUSTER = 2
"""Cores of a cluster where the array takes operands from shared memory alone."""
LARGE_BLOCK_ROWS = 64
"""Rows of the array's block from which on it does (wgmma, tcgen05)."""
FEW_TOKENS = 64
"""Up to so many, products are bound by their weights on all chips."""
EVEN_TURNS = (1, 2, 3, 4)
"""Tiles of a core when columns are shared out evenly."""
LEAST_COLUMNS = 16
"""Of an even share."""
SPLIT_STEPS = 6
"""What another part costs beside its depth, in steps, when splits are chosen: start, end and adding up."""


@dataclass(frozen=True)
class GemmTile:
    """How a result is cut.

    Parameters
    ----------
    rows, columns, depth
        Rows and columns of a tile, and depth of a step.
    splits
        Parts of the depth.
    cluster
        Tiles side by side along the rows of the result that share what they load of the weights.
    """

    rows: int
    columns: int
    depth: int
    splits: int = 1
    cluster: int = 1


@dataclass(frozen=True)
class Gemm:
    """``count`` products of ``rows x depth`` with weights of ``depth x columns``.

    Parameters
    ----------
    name
        Name of the launch.
    rows, columns, depth
        Tokens, outputs and inputs.
    weights
        Format in which the right operand lies in memory.
    activations
        Format of the left operand, and of the result where ``results`` says nothing.
    count
        Products of that size with weights of their own.
    ops_per_output
        Vector operations on every element of the result (bias, activation, residual).
    outputs_per_column
        Elements stored for a column: 1, or a half where a gate and what it gates meet in the epilogue, or none.
    passing
        Whether the left operand comes from the launch before and may still be in the caches.
    results
        Format of the result; empty for that of the left operand.
    """

    name: str
    rows: int
    columns: int
    depth: int
    weights: WeightFormat
    activations: str = "bfloat16"
    count: int = 1
    ops_per_output: int = 1
    outputs_per_column: float = 1.0
    passing: bool = True
    results: str = ""

    def __post_init__(self) -> None:
        wrong = [
            Problem(f"must be at least 1 (got {value})", field=f"{self.name}.{name}")
            for name in ("rows", "columns", "depth", "count")
            if (value := getattr(self, name)) < 1
        ]
        if wrong:
            raise InputError(wrong)

    @property
    def flops(self) -> int:
        """Useful ones."""
        return 2 * self.count * self.rows * self.columns * self.depth

    @property
    def weight_bytes(self) -> int:
        """Of all right operands, scales included."""
        return self.count * self.weights.matrix_bytes(self.columns, self.depth)

    @property
    def input_bytes(self) -> int:
        """Of all left operands."""
        return self.count * operand_bytes(self.rows * self.depth, self.activations)

    @property
    def output_bytes(self) -> int:
        """Of all results."""
        stored = round(self.rows * self.columns * self.outputs_per_column)
        return self.count * operand_bytes(stored, self.results or self.activations)

    def launch(self, chip: Accelerator, tile: GemmTile | None = None) -> Launch:
        """The launch, with a tile chosen for ``chip`` where none is given.

        Raises
        ------
        InputError
            A number format that the chip has no products of, nor of anything wider.
        """
        return gemm_launch(self, chip, tile or chosen_tile(self, chip))

    def values(self, tokens: FloatArray, weights: FloatArray, tile: GemmTile) -> FloatArray:
        """`tokens` `(rows, depth)` with `weights` `(columns, depth)`, tile by tile and part by part as planned."""
        out = np.zeros((self.rows, self.columns))
        for rows in spans(0, self.rows, tile.rows):
            for columns in spans(0, self.columns, tile.columns):
                left, right = tokens[rows.start : rows.stop], weights[columns.start : columns.stop]
                parts = []
                for part in depth_parts(self.depth, tile):
                    accumulated = np.zeros((len(rows), len(columns)))
                    for step in spans(part.start, part.stop, tile.depth):
                        accumulated += left[:, step.start : step.stop] @ right[:, step.start : step.stop].T
                    parts.append(accumulated)
                out[rows.start : rows.stop, columns.start : columns.stop] = np.sum(parts, axis=0)
        return out


def depth_parts(depth: int, tile: GemmTile) -> list[range]:
    """The depth in parts of whole steps, as evenly as that goes."""
    steps = ceil_div(depth, tile.depth)
    ends = [min(depth, tile.depth * (steps * part // tile.splits)) for part in range(tile.splits + 1)]
    ends[-1] = depth
    return [range(first, last) for first, last in pairwise(ends) if last > first]


def forward_and_backward(gemm: Gemm) -> tuple[Gemm, Gemm, Gemm]:
    """A product, the gradient of its tokens and that of its weights, which is summed over tokens.

    The gradient of the weights multiplies two activations: its right operand is the tokens, in their own format.
    """
    name, rows, columns, depth = gemm.name, gemm.rows, gemm.columns, gemm.depth
    activations, count = gemm.activations, gemm.count
    tokens = Gemm(f"{name}.d_tokens", rows, depth, columns, gemm.weights, activations, count)
    own = weight_format(activations)
    summed = Gemm(f"{name}.d_weights", columns, depth, rows, own, activations, count)
    return gemm, tokens, summed


def _issued(rows: int, columns: int, depth: int, chip: Accelerator) -> Matmul:
    """The product, or its transpose where the array pads that less: with few tokens, weights stand in the rows."""
    core = chip.core

    def padded(first: int, second: int) -> int:
        return round_up(first, core.matrix_rows) * round_up(second, core.matrix_columns)

    return (
        Matmul(columns, rows, depth) if padded(columns, rows) < padded(rows, columns) else Matmul(rows, columns, depth)
    )


def step_depth(gemm: Gemm, columns: int) -> int:
    """Elements of the depth in a step: a line of shared memory, and more where tiles are so narrow that the steps on
    their way would not keep the main memory busy."""
    line = STEP_BYTES * BITS // OPERAND_BITS[gemm.activations]
    lines = ceil_div(STEP_WEIGHT_BYTES * 10 * 8, columns * line * gemm.weights.tenth_bits)
    return min(line * lines, gemm.depth)


@lru_cache(maxsize=1 << 15)
def chosen_tile(gemm: Gemm, chip: Accelerator) -> GemmTile:
    """The tile with which the busiest core is done first, by a closed form; of equals the largest.

    A tile takes the longer of its products and of its loads through the caches; all tiles together take at least as
    long as the main memory delivers what they need.
    """
    core = chip.core
    cluster = CLUSTER if core.matrix_rows >= LARGE_BLOCK_ROWS else 1
    best: tuple[float, GemmTile] | None = None
    for rows in _useful(TILE_SIDES, gemm.rows):
        for columns in _column_tiles(gemm, chip):
            shared = min(cluster, ceil_div(gemm.rows, rows))
            whole = GemmTile(rows, columns, step_depth(gemm, columns), cluster=shared)
            if _excess(whole, gemm, chip) > 0:
                continue
            numbers = _splits(gemm, whole, chip)
            for splits, key in zip(numbers, _estimates_s(gemm, whole, chip, numbers), strict=True):
                if best is None or key < best[0] * (1 - 1e-9):
                    best = key, GemmTile(rows, columns, whole.depth, splits, shared)
    if best is None:
        return GemmTile(core.matrix_rows, core.matrix_columns, step_depth(gemm, core.matrix_columns))
    return best[1]


def _useful(sides: tuple[int, ...], extent: int) -> list[int]:
    """Sides in falling order; of those beyond the extent only the smallest."""
    beyond = [side for side in sides if side >= extent]
    return sorted({side for side in sides if side < extent} | set(beyond[:1]) or {sides[-1]}, reverse=True)


def _column_tiles(gemm: Gemm, chip: Accelerator) -> list[int]:
    """Widths of tiles; where few tokens meet many weights also even shares of the columns for all cores.

    Such products are bound by their weights: kernels for them (GEMV, stream-K, arXiv:2301.03598) deal columns evenly.
    """
    fixed = _useful(TILE_SIDES, gemm.columns)
    if gemm.rows > FEW_TOKENS or gemm.count > 1:
        return fixed
    block = max(chip.core.matrix_columns, LEAST_COLUMNS)
    shares = {round_up(ceil_div(gemm.columns, chip.cores * turns), block) for turns in EVEN_TURNS}
    return sorted({*fixed, *(share for share in shares if share <= TILE_SIDES[-1])}, reverse=True)


def _splits(gemm: Gemm, tile: GemmTile, chip: Accelerator) -> list[int]:
    """Numbers of parts worth comparing: where whole tiles leave cores idle."""
    tiles = gemm.count * ceil_div(gemm.rows, tile.rows) * ceil_div(gemm.columns, tile.columns)
    steps = ceil_div(gemm.depth, tile.depth)
    most = min(MOST_SPLITS, steps // 2, 4 * ceil_div(chip.cores, tiles))
    return [1, *range(2, most + 1)] if tiles < 4 * chip.cores else [1]


def _excess(tile: GemmTile, gemm: Gemm, chip: Accelerator) -> float:
    # weights stay as narrow as they are until they are in registers, where they are converted
    narrow = ceil_div(STAGES * tile.columns * tile.depth * gemm.weights.tenth_bits, 10 * BITS)
    operands = operand_bytes(STAGES * tile.rows * tile.depth, gemm.activations) + narrow
    return excess_bytes(chip.core, operands, tile.rows * tile.columns * ACCUMULATOR_BYTES)


def estimate_s(gemm: Gemm, tile: GemmTile, chip: Accelerator) -> float:
    """Seconds that a product takes with a tile, by the closed form that tiles are compared with."""
    return _estimates_s(gemm, tile, chip, [tile.splits])[0]


def _estimates_s(gemm: Gemm, tile: GemmTile, chip: Accelerator, splits: list[int]) -> list[float]:
    """Seconds with the depth in so many parts, for each of ``splits``; ``tile.splits`` is not looked at."""
    row_tiles, column_tiles = ceil_div(gemm.rows, tile.rows), ceil_div(gemm.columns, tile.columns)
    all_steps = ceil_div(gemm.depth, tile.depth)
    operand, converted = gemm.weights.runs_as(gemm.activations, chip)
    core, clock, cores = chip.core, chip.clock_hz, chip.cores
    product = _issued(tile.rows, tile.columns, tile.depth, chip)
    issued = (
        2
        * round_up(product.rows, core.matrix_rows)
        * round_up(product.columns, core.matrix_columns)
        * round_up(product.depth, core.matrix_depth)
    )
    near = min((chip.caches or (chip.memory,)), key=lambda tier: tier.bytes_per_second).bytes_per_second
    load = _step_bytes(gemm, min(tile.rows, gemm.rows), min(tile.columns, gemm.columns), tile.depth, tile)
    local = load / (core.sram_bytes_per_cycle * clock)
    elements = tile.columns * tile.depth if converted else 0
    vector = elements * gemm.weights.operations / (core.vector_flops_per_cycle / 2)
    convert = (vector + elements * gemm.weights.lookups / core.exp_per_cycle) / clock
    busy_s = issued / core.matrix_rate(operand) / clock
    memory = memory_load_bytes(gemm, tile, chip) + gemm.output_bytes
    found = []
    for parts in splits:
        items = gemm.count * row_tiles * column_tiles * parts
        turns = ceil_div(items, cores)
        step = max(busy_s, load * min(items, cores) / near, local, convert)
        of_core = turns * (ceil_div(all_steps, parts) + SPLIT_STEPS) * step
        partial = 2 * gemm.count * gemm.rows * gemm.columns * ACCUMULATOR_BYTES * (parts if parts > 1 else 0)
        # every core has its share of the main memory's rate: one with an item more than others takes that much longer
        uneven = turns * cores / items
        found.append(max(of_core + partial / near, memory * uneven / chip.memory.bytes_per_second))
    return found


def _step_bytes(gemm: Gemm, rows: int, columns: int, depth: int, tile: GemmTile) -> int:
    """Loaded by an item for a step."""
    left = operand_bytes(rows * depth, gemm.activations)
    right = ceil_div(columns * depth * gemm.weights.tenth_bits, 10 * 8)
    return left + ceil_div(right, tile.cluster)


def memory_load_bytes(gemm: Gemm, tile: GemmTile, chip: Accelerator) -> int:
    """Bytes of both operands that the main memory has to deliver, for the better of two orders of tiles.

    Tiles run in waves of as many as there are cores, `g` rows of tiles by the rest; in a wave nothing is read twice.
    From wave to wave an operand is kept if half of the caches hold it, the other half being what passes through.
    """
    left, right = gemm.input_bytes // gemm.count, gemm.weight_bytes // gemm.count
    if not chip.caches:
        loads = ceil_div(gemm.columns, tile.columns) * left + ceil_div(gemm.rows, tile.rows * tile.cluster) * right
        return gemm.count * loads
    kept = sum(tier.capacity_bytes for tier in chip.caches) / 2
    row_tiles, column_tiles = ceil_div(gemm.rows, tile.rows), ceil_div(gemm.columns, tile.columns)
    here = cached_bytes(chip, 2 * gemm.input_bytes) // 2 if gemm.passing else 0
    fewest = None
    for high in {1, 2, 4, 8, 16, row_tiles}:
        wave_rows = min(high, row_tiles)
        wave_columns = min(max(chip.cores // wave_rows, 1), column_tiles)
        left_times = 1 if left <= kept else ceil_div(column_tiles, wave_columns)
        right_times = 1 if right <= kept else ceil_div(row_tiles, wave_rows)
        # rows outermost: a band of rows stays while all columns go by, so its own part is read once
        if operand_bytes(wave_rows * tile.rows * gemm.depth, gemm.activations) <= kept:
            left_times = 1
        total = left * left_times + right * right_times
        fewest = total if fewest is None else min(fewest, total)
    return gemm.count * (fewest or 0) - here


@lru_cache(maxsize=4096)
def gemm_launch(gemm: Gemm, chip: Accelerator, tile: GemmTile) -> Launch:
    """The launch of a product with a tile; raises as `Gemm.launch`."""
    operand, converted = gemm.weights.runs_as(gemm.activations, chip)
    items = joined_runs((item, gemm.count * times) for item, times in _items(gemm, chip, tile, converted) if times)
    stored = cached_bytes(chip, 2 * gemm.output_bytes) // 2
    partial = 0
    if tile.splits > 1:
        parts = len(depth_parts(gemm.depth, tile))
        partial = parts * gemm.count * gemm.rows * gemm.columns * ACCUMULATOR_BYTES
        stored = cached_bytes(chip, partial)
    return Launch(
        name=gemm.name,
        items=items,
        # what the order of tiles makes the main memory deliver again counts like data of its own
        unique_load_bytes=memory_load_bytes(gemm, tile, chip),
        reused_bytes=0,
        matrix_format=operand,
        kept_store_bytes=stored,
    )


def _items(gemm: Gemm, chip: Accelerator, tile: GemmTile, converted: bool) -> Iterator[tuple[WorkItem, int]]:
    for columns, column_times in _extents(gemm.columns, tile.columns):
        for rows, row_times in _extents(gemm.rows, tile.rows):
            for part in depth_parts(gemm.depth, tile):
                yield _item(gemm, chip, tile, rows, columns, len(part), converted), column_times * row_times


def _item(
    gemm: Gemm, chip: Accelerator, tile: GemmTile, rows: int, columns: int, depth: int, converted: bool
) -> WorkItem:
    """A tile of the result, or a part of its depth; ragged tiles are computed as far as the array pads them."""

    def step(of: int) -> TileStep:
        return TileStep(
            load_bytes=_step_bytes(gemm, rows, columns, of, tile),
            exps=round(columns * of * gemm.weights.lookups) if converted else 0,
            vector_ops=round(columns * of * gemm.weights.operations) if converted else 0,
            values=(_issued(rows, columns, of, chip),),
        )

    whole, rest = divmod(depth, tile.depth)
    steps = tuple((step(of), times) for of, times in ((tile.depth, whole), (rest, 1)) if of and times)
    split = tile.splits > 1
    size = (
        ACCUMULATOR_BYTES if split else OPERAND_BITS[gemm.results or gemm.activations] / BITS * gemm.outputs_per_column
    )
    return WorkItem(
        steps=steps,
        last_vector_ops=rows * columns * (1 if split else gemm.ops_per_output),
        last_store_bytes=round(rows * columns * size),
    )


def _extents(size: int, tile: int) -> list[tuple[int, int]]:
    """(extent, how often) of the tiles of an axis."""
    whole, ragged = divmod(size, tile)
    return [(extent, times) for extent, times in ((tile, whole), (ragged, 1 if ragged else 0)) if times]
