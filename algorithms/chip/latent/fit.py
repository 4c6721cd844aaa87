"""Parameters of a block on a chip, and how automatic ones follow from what its cores hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from algorithms.chip.latent.capacity import block_buffers
from algorithms.chip.latent.core import CoreShape, CoreTiles, Expansion, choose_splits, core_shape
from algorithms.chip.latent.gemm import GemmTiles
from algorithms.chip.latent.plan import BlockTiles
from algorithms.chip.latent.program import Program
from algorithms.chip.plan.in_flight import LEAST_STAGES, NEXT_ITEM_HELP, STAGES_HELP, Buffers, NextItemChoice
from algorithms.chip.plan.parameters import automatic_row_groups, bad_choices, bad_numbers, excess_bytes
from algorithms.chip.plan.plan import Overlap
from algorithms.rounding import ceil_div, round_up
from algorithms.workload.levers import knob
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.reading.errors import InputError

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

Scope = Literal["block", "core"]
Inside = Literal["auto", "always", "never"]

LARGEST_TILE = 128
"""Rows and keys of an automatic tile on arrays that are not larger themselves; a projection's has twice the columns."""
DEEPEST_STEP = 64
"""Depth of one step of a matrix product, likewise."""
SMALLEST_TILE = 8
KEPT_SHARE = 0.5
"""Share of a chip's shared memory for an intermediate result; the other half is for what streams through."""


@dataclass(frozen=True)
class BlockParameters:
    """Settings of a block of attention.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    scope: Scope = field(
        default="block", metadata=knob("scope of the plan: all projections too (block), or the attention alone (core)")
    )
    tile_rows: int = field(default=0, metadata=knob("query rows of a tile; 0: what fits into a core", schedule=True))
    tile_columns: int = field(default=0, metadata=knob("keys of a tile; 0: what fits into a core", schedule=True))
    splits: int = field(default=0, metadata=knob("parts of the keys; 0: what fills the cores best", schedule=True))
    gemm_rows: int = field(default=0, metadata=knob("tokens of a tile of a projection; 0: what fits into a core"))
    gemm_columns: int = field(default=0, metadata=knob("columns of a tile of a projection; 0: what fits into a core"))
    gemm_depth: int = field(default=0, metadata=knob("depth of a step of a projection; 0: what fits into a core"))
    inside: Inside = field(
        default="auto",
        metadata=knob(
            "whether the making of expanded keys and values, and of composites of weights, is fused with their use: "
            "auto (if a core can hold what that takes), always or never"
        ),
    )
    overlap: Overlap = field(
        default="ping_pong",
        metadata=knob("softmax beside products of other rows (ping_pong), or after them (serial)", schedule=True),
    )
    row_groups: int = field(default=0, metadata=knob("groups of rows that take turns; 0: up to 3 of equal size"))
    stages: int = field(default=0, metadata=knob(STAGES_HELP, schedule=True))
    next_item: NextItemChoice = field(default="auto", metadata=knob(NEXT_ITEM_HELP, schedule=True))

    def __post_init__(self) -> None:
        choices = {"scope": Scope, "inside": Inside, "overlap": Overlap, "next_item": NextItemChoice}
        problems = bad_numbers(self, {}) + bad_choices(self, choices)
        if problems:
            raise InputError(problems)

    @property
    def buffers(self) -> Buffers:
        """Buffers that tiles are made to fit beside: the fewest stages and one item where that is automatic."""
        return Buffers(self.stages or LEAST_STAGES, self.next_item == "ahead")


def resolved_block(program: Program, dtype: str, parameters: BlockParameters, chip: Accelerator) -> BlockParameters:
    """`parameters` with everything automatic decided for `program` on `chip`."""
    size = DTYPE_BYTES[dtype]
    gemm = _gemm_tiles(parameters, chip, size)
    inside = parameters.inside
    if inside == "auto":
        inside = "always" if _fits_inside(program, parameters, chip, size, gemm) else "never"
    expansion = _expansion(program, parameters, chip, size) if inside == "always" else None
    shape = core_shape(program, size, expansion)
    rows, keys = _core_tile(shape, parameters, chip)
    sized = dataclasses.replace(
        parameters,
        tile_rows=rows,
        tile_columns=keys,
        splits=parameters.splits or choose_splits(shape, rows, keys, chip.cores),
        gemm_rows=gemm.rows,
        gemm_columns=gemm.columns,
        gemm_depth=gemm.depth,
        inside=inside,
        row_groups=parameters.row_groups or automatic_row_groups(rows // chip.core.matrix_rows),
    )
    if sized.stages and sized.next_item != "auto":
        return sized
    tiles = block_tiles(program, dtype, sized, chip)
    stages, next_item = block_buffers(program, tiles, sized.stages, sized.next_item, chip)
    return dataclasses.replace(sized, stages=stages, next_item=next_item)


def block_tiles(program: Program, dtype: str, parameters: BlockParameters, chip: Accelerator) -> BlockTiles:
    """Tiles for `plan_block`; `parameters` must be decided."""
    size = DTYPE_BYTES[dtype]
    inside = parameters.inside == "always"
    caches = sum(tier.capacity_bytes for tier in chip.caches)
    return BlockTiles(
        core=CoreTiles(parameters.tile_rows, parameters.tile_columns, parameters.splits, chip.core.matrix_rows),
        gemm=_gemm_tiles(parameters, chip, size),
        cores=chip.cores,
        kept_bytes=int(KEPT_SHARE * (caches or chip.cores * chip.core.sram_bytes)),
        expansion=_expansion(program, parameters, chip, size) if inside else None,
        composite=inside,
        element_bytes=size,
        number_format=dtype,
        overlap=parameters.overlap,
        row_groups=parameters.row_groups,
        buffers=parameters.buffers,
    )


def _fits_inside(program: Program, parameters: BlockParameters, chip: Accelerator, size: int, gemm: GemmTiles) -> bool:
    """Whether a core can hold what it takes to make expanded keys and values, or composites, on the way."""
    expansion = _expansion(program, parameters, chip, size)
    if expansion is not None:
        shape = core_shape(program, size, dataclasses.replace(expansion, resident=True))
        return next(_fitting_tiles(shape, parameters, chip), None) is not None
    inner, stacked = _composites(program)
    tokens = _tokens(program)
    held = parameters.buffers
    operands = gemm.operand_bytes(tokens, size, inner, stacked, held.stages, held.items(held.stages))
    return inner > 0 and _fits(chip, operands, gemm.accumulator_bytes(tokens, inner))


def _expansion(program: Program, parameters: BlockParameters, chip: Accelerator, size: int) -> Expansion | None:
    """How this program's keys and values can be expanded inside the attention; None if it expands none."""
    made = {product.out for product in program.contractions}
    if not {"keys", "values"} <= made:
        return None
    sizes = program.sizes
    resident = Expansion(sizes["c"], sizes["k"], sizes["v"], resident=True)
    fits = next(_fitting_tiles(core_shape(program, size, resident), parameters, chip), None) is not None
    return dataclasses.replace(resident, resident=fits)


def _composites(program: Program) -> tuple[int, bool]:
    """Depth of the products that make composites, 0 if there are none; and whether results sum over several of them."""
    depth, stacked = 0, False
    for made in program.contractions:
        if made.part != "recompute":
            continue
        depth = max(depth, program.product(made).depth)
        user = next(product for product in program.contractions if product.right == made.out)
        groups = set(program.labels(made.left)) & set(program.labels(made.right)) & set(program.labels(made.out))
        stacked = stacked or not groups <= set(program.labels(user.out))
    return depth, stacked


def _tokens(program: Program) -> int:
    return program.extent("bs")


def _core_tile(shape: CoreShape, parameters: BlockParameters, chip: Accelerator) -> tuple[int, int]:
    """The largest tile that fits, rows first; where none does, the smallest, whose complaint will be the shortest."""
    smallest = (parameters.tile_rows or SMALLEST_TILE, parameters.tile_columns or SMALLEST_TILE)
    return next(_fitting_tiles(shape, parameters, chip), smallest)


def _fitting_tiles(shape: CoreShape, parameters: BlockParameters, chip: Accelerator) -> Iterator[tuple[int, int]]:
    core, held = chip.core, parameters.buffers
    if shape.expansion is not None:
        # every row of a head in one tile: a key is then expanded once
        rows_tried = [parameters.tile_rows or round_up(max(shape.rows, 1), core.matrix_rows)]
        rows_tried = [rows for rows in rows_tried if rows >= shape.rows]
    else:
        needed = round_up(max(shape.rows, 1), core.matrix_rows)
        rows_tried = _halves(parameters.tile_rows, min(max(LARGEST_TILE, core.matrix_rows), needed))
    keys_tried = _halves(parameters.tile_columns, max(LARGEST_TILE, core.matrix_columns))
    for rows in rows_tried:
        for keys in keys_tried:
            # a few keys at a time would starve the array: first try fewer rows
            if keys < min(rows, LARGEST_TILE // 4) and not parameters.tile_columns:
                continue
            operands = shape.operand_bytes(rows, keys, held.stages, held.items(held.stages))
            if _fits(chip, operands, shape.accumulator_bytes(rows, keys)):
                yield rows, keys


def _gemm_tiles(parameters: BlockParameters, chip: Accelerator, size: int) -> GemmTiles:
    """The largest tile that fits, halved all round until it does."""
    core = chip.core
    wanted = (parameters.gemm_rows, parameters.gemm_columns, parameters.gemm_depth)
    largest = (
        max(LARGEST_TILE, core.matrix_rows),
        max(2 * LARGEST_TILE, core.matrix_columns),
        max(DEEPEST_STEP, core.matrix_depth, core.matrix_rows),  # a step's depth is the rows of a composite's tile
    )
    tiles = GemmTiles(array_rows=core.matrix_rows, array_columns=core.matrix_columns)
    for cut in (1, 2, 4, 8):
        rows, columns, depth = (given or ceil_div(most, cut) for given, most in zip(wanted, largest, strict=True))
        tiles = dataclasses.replace(tiles, rows=rows, columns=columns, depth=depth)
        operands = tiles.operand_bytes(rows, size, stages=parameters.buffers.stages)
        if _fits(chip, operands, tiles.accumulator_bytes(rows)):
            break
    return tiles


def _halves(given: int, largest: int) -> list[int]:
    if given:
        return [given]
    sizes = [largest] if largest < SMALLEST_TILE else []
    while largest >= SMALLEST_TILE:
        sizes.append(largest)
        largest //= 2
    return sizes


def _fits(chip: Accelerator, operands: int, accumulators: int) -> bool:
    return excess_bytes(chip.core, operands, accumulators) <= 0
