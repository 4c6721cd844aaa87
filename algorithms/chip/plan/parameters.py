"""Parameters of tiled attention, and how automatic ones are chosen for a chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from algorithms.chip.plan.in_flight import (
    LEAST_STAGES,
    NEXT_ITEM_HELP,
    Buffers,
    NextItemChoice,
    Stream,
    decided_buffers,
    decided_next_item,
)
from algorithms.chip.plan.plan import Overlap, TileOrder
from algorithms.chip.plan.tiles import Tiling
from algorithms.rounding import ceil_div, round_up
from algorithms.workload.changes import changed
from algorithms.workload.levers import knob
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from simulator.errors import CapacityError

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator, Core

Packing = Literal["auto", "always", "never"]
Edge = Literal["padded", "trimmed"]
OuterLoop = Literal["query", "key"]

ACCUMULATOR_BYTES = 4
"""Scores, sums and partial outputs are float32 in every published kernel."""
TILE_WITHOUT_CHIP = 64
"""Size of an automatic tile when values are computed and no chip is known; values do not depend on it."""
MOST_ROW_GROUPS = 3
"""Most automatic row groups: more take turns no better and need registers of their own."""
MOST_CANDIDATES = 64
"""Sizes of query tiles that are compared."""
WELL_SHARED = 1.1
"""A larger tile is taken if the work takes no longer than this factor of the best."""
PACKING_GAIN = 0.9
"""Heads are packed when tiles are fuller with it, by this factor (flash-attention, hopper/heuristics.h)."""


@dataclass(frozen=True)
class TileParameters:
    """Settings of tiled attention.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    tile_rows: int = field(
        default=0, metadata=knob("query rows of a tile; 0: from the chip's local memory", schedule=True)
    )
    tile_columns: int = field(
        default=0, metadata=knob("keys of a tile; 0: from the chip's local memory", schedule=True)
    )
    stages: int = field(
        default=0,
        metadata=knob(
            "tiles of K and V that a core holds at a time; 0: as many as keep the main memory busy", schedule=True
        ),
    )
    pack_gqa: Packing = field(
        default="auto",
        metadata=knob("whether query heads that share a KV head share tiles: auto, always or never", schedule=True),
    )
    edge: Edge = field(
        default="padded",
        metadata=knob("whether ragged tiles are computed whole, as GPU kernels do (padded), or as far as needed"),
    )
    overlap: Overlap = field(
        default="ping_pong",
        metadata=knob("softmax beside products of other rows (ping_pong), or after them (serial)", schedule=True),
    )
    row_groups: int = field(default=0, metadata=knob("groups of rows that take turns; 0: up to 3 of equal size"))
    rearranged_values: bool = field(
        default=False, metadata=knob("whether tiles of V are written to local memory again, transposed (FP8 on Hopper)")
    )
    order: TileOrder = field(
        default="longest_first",
        metadata=knob("work items in the order of tiles (static), or longest_first", schedule=True),
    )
    next_item: NextItemChoice = field(default="auto", metadata=knob(NEXT_ITEM_HELP, schedule=True))

    def __post_init__(self) -> None:
        choices: dict[str, object] = {
            "pack_gqa": Packing,
            "edge": Edge,
            "overlap": Overlap,
            "order": TileOrder,
            "next_item": NextItemChoice,
        }
        problems = bad_numbers(self, {}) + bad_choices(self, choices)
        if problems:
            raise InputError(problems)

    @property
    def key_parts(self) -> int:
        """Parts of the keys that work items of their own attend; 0 where that is not decided yet."""
        return 1

    @property
    def buffers(self) -> Buffers:
        """Tiles and items that a core holds at a time; ahead only where that is asked for or decided."""
        return Buffers(self.stages or LEAST_STAGES, self.next_item == "ahead")


Tiled = TypeVar("Tiled", bound=TileParameters)


def bad_numbers(parameters: object, lowest: dict[str, int]) -> list[Problem]:
    """Whole-number parameters below what they may be, which is 0 if ``lowest`` does not say otherwise."""
    return [
        Problem(f"must be at least {lowest.get(name, 0)} (got {value})", field=name)
        for name, value in vars(parameters).items()
        if isinstance(value, int) and not isinstance(value, bool) and value < lowest.get(name, 0)
    ]


def bad_choices(parameters: object, kinds: Mapping[str, object]) -> list[Problem]:
    """Parameters that are none of the values their type names."""
    return [
        Problem(f"must be one of {', '.join(get_args(kind))} (got {getattr(parameters, name)!r})", field=name)
        for name, kind in kinds.items()
        if getattr(parameters, name) not in get_args(kind)
    ]


def tiling_of(workload: Workload, parameters: TileParameters) -> Tiling:
    """Tiles of ``workload``; what is still automatic takes a size that no chip asks for."""
    rows, columns = (size or TILE_WITHOUT_CHIP for size in (parameters.tile_rows, parameters.tile_columns))
    return Tiling(workload, rows, columns, packs(workload, parameters, rows))


def packs(workload: Workload, parameters: TileParameters, tile_rows: int) -> bool:
    """Whether query heads share tiles: the rule of flash-attention (hopper/heuristics.h, should_pack_gqa)."""
    if parameters.pack_gqa != "auto":
        return parameters.pack_gqa == "always"
    filled = [rows / round_up(rows, tile_rows) for rows in (workload.q_len, workload.q_len * workload.group_size)]
    return filled[0] < PACKING_GAIN * filled[1]


@lru_cache(maxsize=4096)
def footprint(workload: Workload, parameters: TileParameters, rows: int, columns: int) -> tuple[int, int]:
    """Bytes of operand tiles (Q of every item at a time, K and V in every stage) and of accumulators.

    These are scores, output, maximum and sum.
    """
    queries = items_held(workload, parameters, rows, columns) * rows * workload.head_dim
    keys = parameters.stages * columns * (workload.head_dim + workload.v_head_dim)
    accumulators = rows * (columns + workload.v_head_dim + 2)
    return (queries + keys) * workload.dtype_bytes, accumulators * ACCUMULATOR_BYTES


@lru_cache(maxsize=4096)
def items_held(workload: Workload, parameters: TileParameters, rows: int, columns: int) -> int:
    """Items whose queries a core holds at a time, where all are as short as the shortest.

    That is the item of the first queries under a causal mask, and of the last, ragged part of the keys; where a mask
    hides parts of the keys, or it is not decided how many there are, one of a single tile.
    """
    parts = parameters.key_parts
    tiling = Tiling(workload, rows, columns, packs(workload, parameters, rows))
    seen = tiling.keys_of((min(rows, tiling.rows) - 1) // tiling.rows_per_token)
    if parts == 0 or (parts > 1 and seen < workload.kv_len):
        return parameters.buffers.items(1)
    of_part = ceil_div(ceil_div(workload.kv_len, columns), parts)
    return parameters.buffers.items((max(ceil_div(seen, columns), 1) - 1) % of_part + 1)


Footprint = Callable[[Workload, Tiled, int, int], tuple[int, int]]


def _with(parameters: Tiled, *changes: tuple[str, object]) -> Tiled:
    """`parameters` with fields changed; made and checked once, as every design of a sweep asks for the same few."""
    made: Tiled = _changed(parameters, changes)
    return made


@lru_cache(maxsize=4096)
def _changed(parameters: Tiled, changes: tuple[tuple[str, object], ...]) -> Tiled:
    return changed(parameters, dict(changes))


def resolved_tiles(
    workload: Workload,
    parameters: Tiled,
    chip: Accelerator,
    outer: OuterLoop = "query",
    held: Footprint[Tiled] = footprint,
) -> Tiled:
    """``parameters`` with nothing automatic left, for work whose keys are not split; see `sized_tiles`."""
    return with_tiles_in_flight(workload, sized_tiles(workload, parameters, chip, outer, held), chip, held=held)


def sized_tiles(
    workload: Workload,
    parameters: Tiled,
    chip: Accelerator,
    outer: OuterLoop = "query",
    held: Footprint[Tiled] = footprint,
) -> Tiled:
    """``parameters`` with tile sizes, row groups and packing decided; `stages` and `next_item` may still be automatic.

    With M elements of local memory and head dimension d, FlashAttention (arXiv:2205.14135, algorithm 1: keys outside)
    holds ``ceil(M / 4d)`` keys and ``min(ceil(M / 4d), d)`` queries: the longer tile is that of the outer loop, whose
    size decides the traffic. With queries outside it is the other way round. Sizes are whole multiples of what the
    matrix array pads to; query tiles shrink where that shares the work better among cores, key tiles until all that a
    core holds fits, with the fewest stages and nothing ahead where these are automatic.
    """
    nearest = min((chip.caches or (chip.memory,)), key=lambda tier: tier.bytes_per_second)
    sharing = _Sharing(chip.cores, chip.clock_hz, nearest.bytes_per_second)
    decided: Tiled = _sized_tiles(workload, parameters, chip.core, sharing, outer, held)
    return decided


@dataclass(frozen=True)
class _Sharing:
    """Numbers of a chip that decide how finely work is cut so that its cores share it."""

    cores: int
    clock_hz: float
    nearest_bytes_per_second: float


@lru_cache(maxsize=4096)
def _sized_tiles(
    workload: Workload,
    parameters: Tiled,
    core: Core,
    sharing: _Sharing,
    outer: OuterLoop,
    held: Footprint[Tiled],
) -> Tiled:
    """`sized_tiles` of all chips that are alike in this."""
    width = max(workload.head_dim, workload.v_head_dim)
    quarter = ceil_div(int(core.sram_bytes) // workload.dtype_bytes, 4 * width)
    long, short = quarter, min(quarter, width)
    all_rows = workload.q_len * workload.group_size
    rows = parameters.tile_rows or _multiple(long if outer == "query" else short, core.matrix_rows, all_rows)
    columns = parameters.tile_columns or _multiple(
        short if outer == "query" else long, core.matrix_columns, workload.kv_len
    )
    packed = packs(workload, parameters, rows)
    pack: Packing = "always" if packed else "never"
    staged = _with(parameters, ("stages", parameters.stages or LEAST_STAGES), ("pack_gqa", pack))
    if outer == "query" and not parameters.tile_rows:
        rows = _well_shared_rows(workload, core, sharing, rows, packed)
    if not parameters.tile_columns:
        while columns > core.matrix_columns and excess_bytes(core, *held(workload, staged, rows, columns)) > 0:
            columns -= core.matrix_columns
    if not parameters.tile_rows:
        while rows > core.matrix_rows and excess_bytes(core, *held(workload, staged, rows, columns)) > 0:
            rows -= core.matrix_rows
    groups = parameters.row_groups or automatic_row_groups(rows // core.matrix_rows)
    return _with(parameters, ("tile_rows", rows), ("tile_columns", columns), ("row_groups", groups), ("pack_gqa", pack))


def with_tiles_in_flight(
    workload: Workload, parameters: Tiled, chip: Accelerator, parts: int = 1, held: Footprint[Tiled] = footprint
) -> Tiled:
    """``parameters`` with ``stages`` and ``next_item`` decided by `decided_buffers`; tile sizes must be.

    Parameters
    ----------
    parts
        Parts of the keys that are attended apart.
    """
    if parameters.stages:  # then the chip's memory decides nothing
        decided: Tiled = _with_next_item(workload, parameters, chip.core, held)
        return decided
    rows, columns = parameters.tile_rows, parameters.tile_columns

    def held_in(buffers: Buffers) -> tuple[int, int]:
        after: NextItemChoice = "ahead" if buffers.ahead else "stored"
        return held(workload, _with(parameters, ("stages", buffers.stages), ("next_item", after)), rows, columns)

    group = workload.group_size if packs(workload, parameters, rows) else 1
    stream = Stream(
        items=workload.batch * workload.heads // group * ceil_div(workload.q_len * group, rows) * parts,
        tiles=ceil_div(ceil_div(workload.kv_len, columns), parts),
        tile_bytes=held_in(Buffers(LEAST_STAGES))[0] - held_in(Buffers(LEAST_STAGES - 1))[0],
    )
    stages, next_item = decided_buffers(
        chip,
        [stream],
        parameters.stages,
        parameters.next_item,
        lambda buffers: excess_bytes(chip.core, *held_in(buffers)),
    )
    return _with(parameters, ("stages", stages), ("next_item", next_item))


@lru_cache(maxsize=4096)
def _with_next_item(workload: Workload, parameters: Tiled, core: Core, held: Footprint[Tiled]) -> Tiled:
    """``parameters`` whose stages are given with `next_item` decided, as `decided_buffers` does."""

    def excess(buffers: Buffers) -> float:
        after: NextItemChoice = "ahead" if buffers.ahead else "stored"
        asked = _with(parameters, ("stages", buffers.stages), ("next_item", after))
        return excess_bytes(core, *held(workload, asked, parameters.tile_rows, parameters.tile_columns))

    return _with(parameters, ("next_item", decided_next_item(parameters.stages, parameters.next_item, excess)))


def automatic_row_groups(blocks: int) -> int:
    """Groups that share the ``blocks`` of the matrix array's rows in a tile: as many as share them evenly, up to 3.

    FlashAttention-3 has 2 or 3 consumer warp groups (hopper/flash_fwd_launch_template.h).
    """
    shared = [groups for groups in range(1, MOST_ROW_GROUPS + 1) if max(blocks, 1) % groups == 0]
    return max(shared) if blocks <= MOST_ROW_GROUPS else max(*shared, 2)


def _well_shared_rows(workload: Workload, core: Core, sharing: _Sharing, most: int, packed: bool) -> int:
    """The largest tile of up to ``most`` query rows with which the work takes hardly longer than with the best.

    Small tiles share the work evenly among cores and waste little at the diagonal of a causal mask, large ones read
    keys and values less often: what is compared is the larger of the time for the products of all waves and that for
    all loads from the nearest shared tier, of tiles that see the mean number of keys.
    """
    group = workload.group_size if packed else 1
    heads, rows_of_head = workload.batch * workload.heads // group, workload.q_len * group
    widths = workload.head_dim + workload.v_head_dim
    hidden = min(workload.q_len, workload.kv_len) / 2 if workload.mask == "causal" else 0.0
    rate = core.matrix_rate(workload.dtype) * sharing.clock_hz

    def seconds(rows: int) -> float:
        tiles = heads * ceil_div(rows_of_head, rows)
        keys = min(workload.kv_len - hidden + rows / group / 2, workload.kv_len)
        products = ceil_div(tiles, sharing.cores) * rows * 2 * keys * widths / rate
        return max(products, tiles * keys * widths * workload.dtype_bytes / sharing.nearest_bytes_per_second)

    step = core.matrix_rows * ceil_div(most, core.matrix_rows * MOST_CANDIDATES)
    candidates = {rows: seconds(rows) for rows in range(most, 0, -step)}
    enough = WELL_SHARED * min(candidates.values())
    return next(rows for rows, time in candidates.items() if time <= enough)


def _multiple(size: int, granularity: int, needed: int) -> int:
    """``size`` in whole multiples, at least one, and no more than what holds ``needed``."""
    return min(max(size // granularity, 1) * granularity, round_up(needed, granularity))


def excess_bytes(core: Core, operands: int, accumulators: int) -> float:
    """Bytes that do not fit: operands live in SRAM, accumulators in their own memory and in what SRAM is left."""
    own = core.register_bytes + core.accumulator_bytes
    return max(operands - core.sram_bytes, operands + accumulators - core.sram_bytes - own)


def cached_bytes(chip: Accelerator, passing: int) -> int:
    """Bytes of ``passing`` ones from one launch to the next that never leave the caches: all or none."""
    return passing if passing <= sum(tier.capacity_bytes for tier in chip.caches) else 0


def fitting_core_bytes(chip: Accelerator, operands: int, accumulators: int, what: str) -> int:
    """Bytes that a work item holds in a core.

    Raises
    ------
    simulator.CapacityError
        If they do not fit.
    """
    excess = excess_bytes(chip.core, operands, accumulators)
    if excess > 0:
        raise CapacityError(
            f"{what} need {operands:,} B of operands and {accumulators:,} B of accumulators per core; a core of "
            f"{chip.name} has {int(chip.core.sram_bytes):,} B of SRAM and "
            f"{int(chip.core.register_bytes + chip.core.accumulator_bytes):,} B for accumulators: "
            f"{int(excess):,} B too little; smaller tile_rows, tile_columns or stages would fit"
        )
    return operands + accumulators
