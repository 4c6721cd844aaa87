"""A chip file as text: pydantic models that check it and turn it into an `Accelerator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hwmodels.chips.chip import Accelerator
from hwmodels.chips.compute import Core, Rates
from hwmodels.chips.parts import ChipKind, GivenEnergy, Link, Resources, SharedTier, TierLevel
from hwmodels.chips.plausible import with_plausible_unit
from hwmodels.costs.energy_tables import technology_names
from hwmodels.reading.bibliography import source_text
from hwmodels.reading.cited import CITE_PLAIN, NO_TRUTH_VALUE, Cited
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.quantity import (
    Bytes,
    BytesPerSecond,
    Hertz,
    Joules,
    JoulesPerBit,
    Seconds,
    SquareMillimetres,
    Watts,
)


def _known_technology(name: str) -> str:
    if name not in technology_names():
        hint = did_you_mean(name, technology_names()) or f"known: {', '.join(technology_names())}"
        raise InputError(Problem(f"unknown technology {name!r}", hint=hint))
    return name


Technology = Annotated[str, AfterValidator(_known_technology)]
Count = Annotated[int, NO_TRUTH_VALUE, Field(ge=1)]
Budget = Annotated[int, NO_TRUTH_VALUE, Field(ge=0)]
Positive = Annotated[float, NO_TRUTH_VALUE, Field(gt=0)]
Fraction = Annotated[float, NO_TRUTH_VALUE, Field(gt=0, le=1)]

CountGiven = Annotated[Cited[Count], CITE_PLAIN]
BudgetGiven = Annotated[Cited[Budget], CITE_PLAIN]
PositiveGiven = Annotated[Cited[Positive], CITE_PLAIN]
FractionGiven = Annotated[Cited[Fraction], CITE_PLAIN]
HertzGiven = Annotated[Cited[Annotated[Hertz, with_plausible_unit("clock_hz")]], CITE_PLAIN]
BytesGiven = Annotated[Cited[Bytes], CITE_PLAIN]
CapacityGiven = Annotated[Cited[Annotated[Bytes, with_plausible_unit("capacity_bytes")]], CITE_PLAIN]
BandwidthGiven = Annotated[Cited[Annotated[BytesPerSecond, with_plausible_unit("bytes_per_second")]], CITE_PLAIN]
SecondsGiven = Annotated[Cited[Annotated[Seconds, with_plausible_unit("latency_s")]], CITE_PLAIN]
WattsGiven = Annotated[Cited[Watts], CITE_PLAIN]
AreaGiven = Annotated[Cited[SquareMillimetres], CITE_PLAIN]
JoulesGiven = Annotated[Cited[Joules], CITE_PLAIN]
JoulesPerBitGiven = Annotated[Cited[JoulesPerBit], CITE_PLAIN]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CoreText(_Strict):
    """The `core` section; fields are those of `hwmodels.chips.compute.Core`."""

    matrix_flops_per_cycle: dict[str, PositiveGiven]
    matrix_rows: CountGiven
    matrix_columns: CountGiven
    matrix_depth: CountGiven
    vector_flops_per_cycle: PositiveGiven
    exp_per_cycle: PositiveGiven
    sram_bytes: BytesGiven
    sram_bytes_per_cycle: PositiveGiven
    register_bytes: BytesGiven
    sram_latency_cycles: PositiveGiven | None = None
    sram_banks: CountGiven | None = None
    accumulator_bytes: BytesGiven | None = None


class TierText(_Strict):
    """One entry of `tiers`; fields are those of `hwmodels.chips.chip.SharedTier`."""

    level: TierLevel
    technology: Technology
    capacity_bytes: CapacityGiven
    bytes_per_second: BandwidthGiven
    latency_s: SecondsGiven
    preset: str | None = None
    count: CountGiven | None = None
    sustained_fraction: FractionGiven | None = None
    j_per_bit: JoulesPerBitGiven | None = None


class LinkText(_Strict):
    """One entry of `links`; fields are those of `hwmodels.chips.chip.Link`."""

    technology: Technology
    bytes_per_second: BandwidthGiven
    latency_s: SecondsGiven | None = None
    preset: str | None = None


class ResourcesText(_Strict):
    """The `resources` section of an FPGA."""

    dsp: BudgetGiven
    bram36: BudgetGiven
    uram: BudgetGiven
    lut: BudgetGiven
    ff: BudgetGiven


class EnergyText(_Strict):
    """The `energy` section: what the chip's own source states."""

    mac_j: dict[str, JoulesGiven] = {}
    sram_j_per_bit: JoulesPerBitGiven | None = None
    static_w: WattsGiven | None = None


class AcceleratorText(_Strict):
    """A chip file."""

    name: Annotated[str, Field(min_length=1)]
    aliases: list[str] = []
    base: str | None = None
    kind: ChipKind
    summary: str
    process: str = "not published"
    node_nm: PositiveGiven
    clock_hz: HertzGiven
    cores: CountGiven
    core: CoreText
    tiers: dict[str, TierText]
    links: dict[str, LinkText] = {}
    resources: ResourcesText | None = None
    power_w: WattsGiven | None = None
    area_mm2: AreaGiven | None = None
    price_usd: PositiveGiven | None = None
    energy: EnergyText = EnergyText()

    def accelerator(self, references: Mapping[str, str]) -> Accelerator:
        """The plain chip, its citations beside it; `references` has the full text of short source names."""
        return Accelerator(
            **_plain(self),
            core=Core(**_plain(self.core)),
            tiers=tuple(SharedTier(name=name, **_plain(text)) for name, text in self.tiers.items()),
            links=tuple(Link(name=name, **_plain(text)) for name, text in self.links.items()),
            resources=Resources(**_plain(self.resources)) if self.resources else None,
            energy=GivenEnergy(**_plain(self.energy)),
            citations=tuple((path, source_text(value, references)) for path, value in self._cited()),
        )

    def _cited(self) -> Iterator[tuple[str, Cited[float] | Cited[int]]]:
        """Every cited value of the file by its field path."""
        parts: list[tuple[str, BaseModel]] = [("", self), ("core.", self.core)]
        parts += [(f"{name}.", tier) for name, tier in self.tiers.items()]
        parts += [(f"{name}.", link) for name, link in self.links.items()]
        if self.resources is not None:
            parts.append(("resources.", self.resources))
        for prefix, part in [*parts, ("energy.", self.energy)]:
            for name, value in part:
                if isinstance(value, Cited):
                    yield f"{prefix}{name}", value
                elif isinstance(value, dict):
                    yield from (
                        (f"{prefix}{name}.{key}", item) for key, item in value.items() if isinstance(item, Cited)
                    )


_ONLY_IN_FILES = ("aliases", "base")


def _plain(text: BaseModel) -> dict[str, Any]:
    """The fields that a file sets, without citations; sections are left out."""
    found: dict[str, Any] = {}
    for name, value in text:
        if isinstance(value, Cited):
            found[name] = value.value
        elif isinstance(value, dict) and all(isinstance(item, Cited) for item in value.values()):
            if value:
                found[name] = Rates.of({key: item.value for key, item in value.items()})
        elif value is not None and not isinstance(value, BaseModel | dict) and name not in _ONLY_IN_FILES:
            found[name] = value
    return found
