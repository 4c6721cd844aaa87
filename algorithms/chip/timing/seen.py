"""What the launches of a plan see of a chip: the numbers that decide their time, and nothing else.

Chips of a sweep differ in much that no launch sees: what a design costs, how much a memory holds, where a number is
from. All of that is blank here, so that launches are told apart by what decides their time, by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from hwmodels.chips.accelerator import Accelerator
from hwmodels.chips.compute import Core
from hwmodels.chips.parts import SharedTier


@dataclass(frozen=True)
class SeenChip:
    """A chip without what no launch sees.

    Parameters
    ----------
    cores, clock_hz
        Figures of the chip under the same names.
    core
        Its rates; how much its memories hold decides on plans, not on the time that these take.
    memory, caches
        Their rates and latencies; caches with their capacity, which decides what is read again from the memory.
    """

    cores: int
    clock_hz: float
    core: Core
    memory: SharedTier
    caches: tuple[SharedTier, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept, since every launch is looked up by it; chips as launches see them never travel."""
        return hash((self.cores, self.clock_hz, self.core, self.memory, self.caches))


@lru_cache(maxsize=4096)
def seen_by_launches(chip: Accelerator) -> SeenChip:
    """What launches see of ``chip``."""
    memory = replace(_seen(chip.memory), capacity_bytes=0.0)
    return SeenChip(chip.cores, chip.clock_hz, _seen_core(chip.core), memory, tuple(map(_seen, chip.caches)))


@lru_cache(maxsize=1024)
def _seen_core(core: Core) -> Core:
    """One object for all cores of the same rates: what is looked up by it again and again is then not compared."""
    return _one_core(replace(core, sram_bytes=0.0, register_bytes=0.0, accumulator_bytes=0.0, sram_banks=0))


@lru_cache(maxsize=1024)
def _one_core(core: Core) -> Core:
    return core


@lru_cache(maxsize=1024)
def _seen(tier: SharedTier) -> SharedTier:
    return replace(tier, technology="", preset=None, count=0, sustained_fraction=None, j_per_bit=None)
