"""Chips: cores, shared tiers, links, clock, node and budgets, as frozen numbers with their sources beside.

Field paths are dotted and the same everywhere (YAML, `Accelerator.with_`, `Accelerator.sources`, ``--chip`` axes):
``clock_hz``, ``core.exp_per_cycle``, ``core.matrix_flops_per_cycle.float16``, ``hbm.bytes_per_second`` (a tier or link
by its name), ``resources.dsp``, ``energy.static_w``.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.chips.base import Chip
from hwmodels.chips.chip_card import card
from hwmodels.chips.chip_changes import changed
from hwmodels.chips.parts import (
    OVERRIDDEN,
    ChipKind,
    GivenEnergy,
    Link,
    Number,
    Resources,
    SharedTier,
    TierLevel,
)

__all__ = [
    "OVERRIDDEN",
    "Accelerator",
    "ChipKind",
    "GivenEnergy",
    "Link",
    "Number",
    "Resources",
    "SharedTier",
    "TierLevel",
]


@dataclass(frozen=True)
class Accelerator(Chip):
    """A chip that can be changed by field paths and shown; its fields are those of `hwmodels.chips.base.Chip`."""

    __hash__ = Chip.__hash__  # a dataclass would make one of its own, which is not kept

    def with_(self, **overrides: Number | str | None) -> Accelerator:
        """A copy with some fields replaced, by path: ``chip.with_(**{"hbm.bytes_per_second": "4 TB/s", "cores": 64})``.

        Text is read with units. ``core.array`` stands for the size of the matrix array: ``"64x32"`` sets columns and
        depth and scales the rates of the formats that run on it. Sources of fields that are no longer what they were
        become ``overridden``, and `changes` lists all that were given.

        Raises
        ------
        InputError
            Unknown paths (with the nearest one), values of the wrong kind, or a chip that cannot be.
        """
        return changed(self, overrides)

    def _repr_html_(self) -> str:
        return card(self)
