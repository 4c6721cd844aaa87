"""Decode against a long cache: keys split over cores, partial results merged by log-sum-exp (Flash-Decoding).

With one split this is FlashAttention-2 without splitting: few work items, most cores idle. Sources: Dao, Haziza, Massa,
Sizov, Flash-Decoding for long-context inference, 2023; arXiv:2307.08691.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from algorithms.chip.algorithm import TiledAlgorithm, chip_algorithm
from algorithms.chip.attention.flash import core_bytes, launch_of
from algorithms.chip.attention.splits import (
    Split,
    automatic_splits,
    merge_launch,
    partial_bytes,
    prepare_launch,
    prepared_splits,
)
from algorithms.chip.plan.parameters import (
    TileParameters,
    bad_numbers,
    cached_bytes,
    sized_tiles,
    tiling_of,
    with_tiles_in_flight,
)
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.timing.capacity import check_tensors_fit
from algorithms.registry import Tensors
from algorithms.rounding import ceil_div
from algorithms.workload.levers import knob
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class SplitParameters(TileParameters):
    """`TileParameters`, and how keys are split."""

    splits: int = field(default=0, metadata=knob("parts of the keys; 0: as many as fill the cores", schedule=True))
    items_per_core: int = field(default=1, metadata=knob("work items per core that automatic splits aim at"))
    prepared: bool = field(
        default=False, metadata=knob("whether a launch before the attention decides on splits from lengths on the chip")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = bad_numbers(self, {"items_per_core": 1})
        if problems:
            raise InputError(problems)

    @property
    def key_parts(self) -> int:
        """Number of parts the keys are split into; 0 where that is not decided yet."""
        return self.splits


@dataclass(frozen=True)
class VerifyParameters(SplitParameters):
    """`SplitParameters`, and how often drafted tokens are accepted."""

    acceptance: float = field(default=0.7, metadata=knob("probability that a drafted token is accepted"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.acceptance <= 1:
            raise InputError(Problem(f"must lie between 0 and 1 (got {self.acceptance})", field="acceptance"))


Splitting = TypeVar("Splitting", bound=SplitParameters)


def resolved_splits(workload: Workload, parameters: Splitting, chip: Accelerator) -> Splitting:
    """``parameters`` with tiles, number of splits and tiles in flight decided."""
    parameters = sized_tiles(workload, parameters, chip)
    splits = parameters.splits or _splits(workload, parameters, chip)
    if splits != parameters.splits:
        parameters = replace(parameters, splits=splits)
    return with_tiles_in_flight(workload, parameters, chip, splits)


def _splits(workload: Workload, parameters: SplitParameters, chip: Accelerator) -> int:
    """Number of splits that fill the cores; tile sizes must be decided."""
    tiling = tiling_of(workload, parameters)
    items = tiling.heads * tiling.query_tile_count
    key_tiles = ceil_div(workload.kv_len, tiling.tile_columns)
    places = chip.cores * parameters.items_per_core
    if parameters.prepared:
        return prepared_splits(items, workload.batch, places, key_tiles)
    return automatic_splits(items, places, key_tiles)


def split_plan(name: str, workload: Workload, parameters: SplitParameters, chip: Accelerator) -> TilePlan:
    """Attention over all parts and, if there are several, their merge; parameters must be decided."""
    check_tensors_fit(name, workload.compulsory_bytes, chip, workload.dtype)
    passing = _passing_bytes(workload, parameters)
    kept, held = cached_bytes(chip, passing), core_bytes(workload, parameters, chip)
    return _split_plan(name, workload, parameters, kept, held)


@lru_cache(maxsize=1024)
def _passing_bytes(workload: Workload, parameters: SplitParameters) -> int:
    """Bytes of partial results from the attention to the merge."""
    parts = len(Split.of(tiling_of(workload, parameters), parameters.splits).parts)
    return partial_bytes(workload, parts) if parts > 1 else 0


@lru_cache(maxsize=1024)
def _split_plan(name: str, workload: Workload, parameters: SplitParameters, kept: int, held: int) -> TilePlan:
    """The plan of all chips that keep ``kept`` bytes of partial results in caches and hold ``held`` in a core."""
    return TilePlan(
        algorithm=name,
        launches=_split_launches(workload, parameters, kept),
        useful_flops=workload.attention_flops,
        useful_exps=workload.exponentials,
        compulsory_bytes=workload.compulsory_bytes,
        capacity_bytes=workload.compulsory_bytes + _passing_bytes(workload, parameters),
        core_bytes=held,
    )


@lru_cache(maxsize=256)
def _split_launches(workload: Workload, parameters: SplitParameters, kept: int) -> tuple[Launch, ...]:
    """All launches where `kept` bytes of partial results stay in caches; of chips that decide alike the same ones."""
    tiling = tiling_of(workload, parameters)
    split = Split.of(tiling, parameters.splits)
    parts = len(split.parts)
    attention = launch_of("attention", tiling, parameters, split.items(parameters, partial=parts > 1), kept)
    before = (prepare_launch(workload),) if parameters.prepared else ()
    after = (merge_launch(workload, parts, kept),) if parts > 1 else ()
    return (*before, attention, *after)


@chip_algorithm("decode.split_kv", SplitParameters)
class SplitKeys(TiledAlgorithm[Splitting]):
    """Keys split over cores and merged by log-sum-exp (Flash-Decoding); decode and chunked prefill."""

    def resolved(self, workload: Workload, parameters: Splitting, chip: Accelerator) -> Splitting:
        """Tile sizes and splits for the chip."""
        return resolved_splits(workload, parameters, chip)

    def plan(self, workload: Workload, parameters: Splitting, chip: Accelerator) -> TilePlan:
        """Attention over the parts, then their merge."""
        return split_plan(self.name, workload, self.resolved(workload, parameters, chip), chip)

    def values(self, workload: Workload, parameters: Splitting, tensors: Tensors) -> FloatArray:
        """Attention over every part by itself, then their merge."""
        return Split.of(tiling_of(workload, parameters), parameters.splits or 1).merged_values(*tensors)


@chip_algorithm("decode.verify", VerifyParameters)
class Verify(SplitKeys[VerifyParameters]):
    """Drafted tokens verified in one pass over the keys (speculative decoding): q_len of them.

    A pass makes ``1 + a + a^2 + ... + a^(q_len - 1)`` tokens with acceptance a, the first of which needs no draft
    (Leviathan et al., arXiv:2211.17192, equation 1).
    """

    def tokens_made(self, workload: Workload, parameters: VerifyParameters) -> float:
        """Expected tokens of a pass over all sequences."""
        return workload.batch * sum(parameters.acceptance**drafted for drafted in range(workload.q_len))
