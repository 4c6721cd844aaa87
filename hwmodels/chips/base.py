"""The numbers of a chip, what follows from them, and what is wrong with them; every field has a dotted path."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from hwmodels.chips.compute import FORMAT_BITS, Core, Rates
from hwmodels.chips.parts import ChipKind, GivenEnergy, Link, Number, Resources, SharedTier, TierLevel
from hwmodels.costs.energy_tables import technology_names
from hwmodels.reading.errors import InputError, Problem, did_you_mean


@dataclass(frozen=True)
class Chip:
    """The numbers of a chip, in SI base units (and cycles); None marks what is not published.

    Parameters
    ----------
    name, kind, summary
        For people.
    process, node_nm
        What the maker calls it, and the node whose energy and density figures apply.
    clock_hz
        The clock behind the peak figures.
    cores, core
        How many, and what one is.
    tiers
        Shared memories, near to far.
    links
        To other chips and the host.
    resources
        Budgets of an FPGA, else None.
    power_w, area_mm2, price_usd
        Design power, die area and list price.
    energy
        Energies stated by the chip's source.
    citations
        Pairs (field path, source).
    changes
        Pairs (field path, value as given) of everything that `Accelerator.with_` has changed.

    Raises
    ------
    InputError
        With every number that cannot be, one line each.
    """

    name: str
    kind: ChipKind
    summary: str
    process: str
    node_nm: float
    clock_hz: float
    cores: int
    core: Core
    tiers: tuple[SharedTier, ...]
    links: tuple[Link, ...] = ()
    resources: Resources | None = None
    power_w: float | None = None
    area_mm2: float | None = None
    price_usd: float | None = None
    energy: GivenEnergy = dataclasses.field(default_factory=GivenEnergy)
    citations: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    changes: tuple[tuple[str, str], ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept, since what follows from a chip is looked up again and again."""
        return hash(tuple(getattr(self, field.name) for field in dataclasses.fields(self)))

    def __getstate__(self) -> dict[str, object]:
        """Without the hash, which is that of a process."""
        return {name: value for name, value in vars(self).items() if name != "_hash"}

    def __post_init__(self) -> None:
        problems = [*_bad_names(self), *_bad_numbers(self)]
        if problems:
            raise InputError(problems)

    # peaks

    def peak_flops_per_second(self, operand_format: str = "float16") -> float:
        """Dense matrix products on all cores; raises what `Core.matrix_format` raises."""
        return self.cores * self.core.matrix_rate(operand_format) * self.clock_hz

    def ridge_flops_per_byte(self, operand_format: str = "float16") -> float:
        """Intensity above which the matrix arrays, not the main memory, bound the time."""
        return self.peak_flops_per_second(operand_format) / self.memory.bytes_per_second

    @property
    def exp_per_second(self) -> float:
        """Exponentials on all cores."""
        return self.cores * self.core.exp_per_cycle * self.clock_hz

    @property
    def vector_flops_per_second(self) -> float:
        """Elementwise float32 on all cores."""
        return self.cores * self.core.vector_flops_per_cycle * self.clock_hz

    @property
    def sram_bytes_per_second(self) -> float:
        """Local memories of all cores together."""
        return self.cores * self.core.sram_bytes_per_cycle * self.clock_hz

    def flops_per_exp(self, operand_format: str = "float16") -> float:
        """Matrix FLOP that pass in the time of one exponential: 256 on an H100 (arXiv:2407.08608, section 3)."""
        return self.core.matrix_rate(operand_format) / self.core.exp_per_cycle

    # parts

    def tier(self, name: str) -> SharedTier:
        """The shared tier called `name`.

        Raises
        ------
        InputError
            There is none, with the nearest name.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        hint = did_you_mean(name, [tier.name for tier in self.tiers])
        raise InputError(Problem(f"{self.name} has no tier {name!r}", hint=hint))

    def link(self, name: str) -> Link:
        """The link called `name`; raises as `tier` does."""
        for link in self.links:
            if link.name == name:
                return link
        hint = did_you_mean(name, [link.name for link in self.links])
        raise InputError(Problem(f"{self.name} has no link {name!r}", hint=hint))

    @property
    def memory(self) -> SharedTier:
        """The main memory: the nearest tier that is no cache."""
        return next(tier for tier in self.tiers if tier.level == "memory")

    @property
    def caches(self) -> tuple[SharedTier, ...]:
        """Tiers between the cores and the main memory, near to far."""
        return tuple(tier for tier in self.tiers if tier.level == "cache")

    # fields by path

    def die_fields(self) -> dict[str, Number | str | None]:
        """The fields that datapaths and macros of a die follow from, by path: cores and what is in them, node, caches.

        Silicon for memory outside of the chip is not among them: see `hwmodels.chips.interfaces`.
        """
        grows = {"cores", "node_nm"} | {f"{tier.name}.capacity_bytes" for tier in self.caches}
        return {path: value for path, value in self.values().items() if path in grows or path.startswith("core.")}

    def sources(self) -> dict[str, str]:
        """Source of each number, by field path."""
        return dict(self.citations)

    def values(self) -> dict[str, Number | str | None]:
        """Every field by its path, in the order of the parts."""
        found: dict[str, Number | str | None] = {}
        for prefix, part in self._parts():
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                path = f"{prefix}{field.name}"
                if isinstance(value, Rates):
                    found |= {f"{path}.{name}": number for name, number in value.items()}
                elif value is None or isinstance(value, int | float | str):
                    found[path] = value
        return {path: value for path, value in found.items() if path != "resources" and not path.endswith(".name")}

    def _parts(self) -> list[tuple[str, Chip | Core | SharedTier | Link | Resources | GivenEnergy]]:
        parts: list[tuple[str, Chip | Core | SharedTier | Link | Resources | GivenEnergy]] = [
            ("", self),
            ("core.", self.core),
        ]
        parts += [(f"{tier.name}.", tier) for tier in self.tiers]
        parts += [(f"{link.name}.", link) for link in self.links]
        if self.resources is not None:
            parts.append(("resources.", self.resources))
        return [*parts, ("energy.", self.energy)]


def _bad_names(chip: Chip) -> list[Problem]:
    problems = []
    names = [tier.name for tier in chip.tiers] + [link.name for link in chip.links]
    taken = {field.name for field in dataclasses.fields(chip)}
    for name in sorted(set(names)):
        if names.count(name) > 1:
            problems.append(Problem("is used twice among tiers and links", field=name))
        if name in taken:
            problems.append(Problem("is the name of a field: call the tier or link something else", field=name))
    choices: list[tuple[str, str, tuple[str, ...]]] = [("kind", chip.kind, get_args(ChipKind))]
    choices += [(f"{tier.name}.level", tier.level, get_args(TierLevel)) for tier in chip.tiers]
    parts: list[SharedTier | Link] = [*chip.tiers, *chip.links]
    choices += [(f"{part.name}.technology", part.technology, technology_names()) for part in parts]
    for field, value, known in choices:
        if value not in known:
            message = f"must be one of {', '.join(known)} (got {value!r})"
            problems.append(Problem(message, field=field, hint=did_you_mean(value, known)))
    if not problems and not any(tier.level == "memory" for tier in chip.tiers):
        problems.append(Problem("at least one tier must have level 'memory'", field="tiers"))
    unknown = [name for name in chip.core.matrix_flops_per_cycle if name not in FORMAT_BITS]
    problems += [
        Problem(
            "unknown number format", field=f"core.matrix_flops_per_cycle.{name}", hint=did_you_mean(name, FORMAT_BITS)
        )
        for name in unknown
    ]
    if not chip.core.matrix_flops_per_cycle:
        problems.append(Problem("needs at least one number format", field="core.matrix_flops_per_cycle"))
    return problems


_MAY_BE_ZERO = ("latency_s", "sram_latency_cycles", "accumulator_bytes", "register_bytes", "j_per_bit", "static_w")


_LARGEST = {
    "sustained_fraction": 1.0,
    "node_nm": 45.0,
    "clock_hz": 1e12,
    "cores": 1e8,
    "latency_s": 1e3,
    "sram_latency_cycles": 1e9,
}
"""Nothing is known about energies and areas of nodes above 45 nm; the others are far beyond any chip, but still times
that can be counted."""
_SMALLEST = {"clock_hz": 1.0, "bytes_per_second": 1.0, "core": 1e-6}
"""Rates below which times cannot be counted; ``core`` holds for all rates per cycle of a core."""


def _bad_numbers(chip: Chip) -> list[Problem]:
    """Everything must be finite and positive, but for what can be absent."""
    problems = []
    for path, value in chip.values().items():
        if value is None or isinstance(value, str):
            continue
        may_be_zero = path.startswith("resources.") or path.rsplit(".", 1)[-1] in _MAY_BE_ZERO
        if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
            bound = "at least 0" if may_be_zero else "greater than 0"
            problems.append(Problem(f"must be {bound} (got {value:g})", field=path))
        elif (most := _LARGEST.get(path.rsplit(".", 1)[-1])) is not None and value > most:
            problems.append(Problem(f"must be at most {most:g} (got {value:g})", field=path))
        elif value < (least := _least_rate(path)):
            problems.append(Problem(f"must be at least {least:g} (got {value:g})", field=path))
    return problems


def _least_rate(path: str) -> float:
    """Least possible value of a rate; 0 for what is no rate."""
    if path.startswith("core.") and "_per_cycle" in path:
        return _SMALLEST["core"]
    return _SMALLEST.get(path.rsplit(".", 1)[-1], 0.0)
