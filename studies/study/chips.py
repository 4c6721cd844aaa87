"""Chips of a study: which are named, what is changed about them, and where each of their numbers comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError
from studies.points.chips import chip_setting
from studies.points.find import Kind
from studies.points.point import ChipSetting, Scalar

if TYPE_CHECKING:
    from algorithms.chip.plan.kernels import Kernel

FIELD_PREFIX = "chip."


@dataclass
class StudyChips:
    """The chips that a study names, and the fields that it changes about all of them."""

    named: dict[str, Accelerator] = field(default_factory=dict)
    fixed: dict[str, Scalar] = field(default_factory=dict)
    _made: dict[tuple[object, ...], ChipSetting] = field(default_factory=dict, repr=False)

    def check(self, path: str, value: Scalar) -> Scalar:
        """`value` if the field at `path` of every chip can take it.

        Raises
        ------
        InputError
            An unknown field, with the nearest one, or a value that cannot be; said once for all chips.
        """
        for accelerator in self.named.values():
            chip_setting(accelerator, {path: value})
        return value

    def setting(
        self, name: str, changes: Mapping[str, Scalar], manner: Mapping[str, Scalar], kernel: Kernel | None = None
    ) -> ChipSetting:
        """The chip called `name` with all changes, and the profile of a kernel."""
        merged = self.fixed | dict(changes)
        key = (name, *manner.items(), *merged.items())
        if key not in self._made:
            self._made[key] = chip_setting(self.named[name], merged, manner, kernel)
        return self._made[key]


def chip_origins(setting: ChipSetting) -> Iterator[tuple[str, Scalar, str]]:
    """(path, value, source) of every number of a chip."""
    accelerator = setting.accelerator
    sources = accelerator.sources()
    for path, value in accelerator.values().items():
        if path not in ("name", "summary") and value is not None:
            yield path, value, sources.get(path, f"chip {accelerator.name}")


WITHOUT_CHIP: dict[Kind, str] = {"graph": "is a graph of FIFOs", "tier": "measures a memory tier"}
"""What algorithms are that run on no chip."""


def refuse_mismatch(algorithms: Mapping[str, Kind], has_chip: bool) -> None:
    """Raise InputError when a chip is missing for algorithms that need one, or when none needs it.

    Parameters
    ----------
    algorithms
        What each algorithm is, by name.
    """
    needing = [name for name, kind in algorithms.items() if kind == "chip"]
    if needing and not has_chip:
        raise InputError(f"required key is missing (here or as an axis): {needing[0]} runs on a chip")
    if algorithms and has_chip and not needing:
        name, kind = next(iter(algorithms.items()))
        raise InputError(f"{name} {WITHOUT_CHIP[kind]} and runs on no chip")
