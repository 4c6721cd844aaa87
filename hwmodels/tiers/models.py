"""What a tier file may hold, by kind of tier."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from hwmodels.reading.cited import CITE_PLAIN, Cited
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
from hwmodels.standards.sections import LARGEST, DramSections, Section
from hwmodels.standards.standard import DramStandard
from hwmodels.tiers.dram_energy import DramEnergy, SupplyCurrents
from hwmodels.tiers.sram_energy import Cell

_Whole = Annotated[Bytes, Field(gt=0, multiple_of=1, le=1 << 60)]
Count = Annotated[int, Field(ge=1, le=LARGEST, strict=True)]
GivenCount = Annotated[Cited[Count], CITE_PLAIN]
GivenBytes = Annotated[Cited[_Whole], CITE_PLAIN]
GivenRate = Annotated[Cited[Annotated[BytesPerSecond, Field(gt=0)]], CITE_PLAIN]
GivenHertz = Annotated[Cited[Annotated[Hertz, Field(gt=0)]], CITE_PLAIN]
GivenTime = Annotated[Cited[Seconds], CITE_PLAIN]
GivenJoules = Annotated[Cited[Joules], CITE_PLAIN]
GivenJoulesPerBit = Annotated[Cited[JoulesPerBit], CITE_PLAIN]
GivenWatts = Annotated[Cited[Watts], CITE_PLAIN]
GivenArea = Annotated[Cited[SquareMillimetres], CITE_PLAIN]
GivenShare = Annotated[Cited[Annotated[float, Field(gt=0, le=1)]], CITE_PLAIN]
GivenNumber = Annotated[Cited[Annotated[float, Field(gt=0)]], CITE_PLAIN]


class CurrentsText(Section):
    """The ``currents`` of a device's data sheet, in milliamperes, and how many devices a rank has."""

    vdd: GivenNumber
    idd0: GivenNumber
    idd2n: GivenNumber
    idd3n: GivenNumber
    idd4r: GivenNumber
    idd4w: GivenNumber
    idd5ab: GivenNumber
    devices: GivenCount

    def currents(self) -> SupplyCurrents:
        """In volts and amperes."""
        milli = {f"{name}_a": 1e-3 * value for name, value in self.values().items() if name.startswith("idd")}
        return SupplyCurrents(vdd_v=self.vdd.value, **milli)


class DramEnergyText(Section):
    """The ``energy`` section of DRAM: from currents, or term by term; terms win."""

    currents: CurrentsText | None = None
    activate: GivenJoules | None = None
    read: GivenJoulesPerBit | None = None
    write: GivenJoulesPerBit | None = None
    tsv: GivenJoulesPerBit | None = None
    io: GivenJoulesPerBit | None = None
    phy: GivenJoulesPerBit | None = None
    refresh: GivenJoules | None = None
    background: GivenWatts | None = None

    def energy(self, standard: DramStandard) -> DramEnergy:
        """Energies of a tier of `standard`; terms that are not given and do not follow from currents are 0."""
        base = DramEnergy(0.0, 0.0, 0.0)
        if self.currents is not None:
            currents, devices = self.currents.currents(), self.currents.devices.value
            base = currents.energy(standard.organisation, standard.timing, standard.clock_s, devices)
        names = {"activate": "activate_j", "refresh": "refresh_j", "background": "background_w"}
        return replace(base, **{names.get(name, f"{name}_j_per_bit"): value for name, value in self.values().items()})


class DramTierText(DramSections):
    """A tier of DRAM."""

    kind: Literal["dram"]
    name: str
    summary: str
    source: str = ""
    standard: str
    count: GivenCount = Cited[int](value=1, assumption=True, note="one device")
    energy: DramEnergyText
    area: GivenArea | None = None


class SramTierText(Section):
    """A tier of SRAM; `read` and `write` energies and area follow from capacity, node and cell unless given."""

    kind: Literal["sram"]
    name: str
    summary: str
    capacity: GivenBytes
    count: GivenCount = Cited[int](value=1, assumption=True, note="one macro")
    banks: GivenCount
    ports: GivenCount
    width: GivenBytes
    lanes: GivenCount | None = None
    latency_cycles: GivenCount
    clock: GivenHertz
    buffers: GivenCount = Cited[int](value=1, assumption=True, note="one working set")
    node_nm: GivenNumber
    cell: Annotated[Cited[Cell], CITE_PLAIN]
    read: GivenJoulesPerBit | None = None
    write: GivenJoulesPerBit | None = None
    leakage: GivenWatts | None = None
    area: GivenArea | None = None


class LinkTierText(Section):
    """A link, or a memory that only has a rate."""

    kind: Literal["link"]
    name: str
    summary: str
    rate: GivenRate
    efficiency: GivenShare
    latency: GivenTime
    chunk: GivenBytes
    outstanding: GivenCount
    duplex: Annotated[Cited[Annotated[bool, Field(strict=True)]], CITE_PLAIN]
    capacity: GivenBytes | None = None
    count: GivenCount = Cited[int](value=1, assumption=True, note="one link")
    energy: GivenJoulesPerBit
    area: GivenArea | None = None


class FlashTierText(Section):
    """A drive."""

    kind: Literal["flash"]
    name: str
    summary: str
    capacity: GivenBytes
    count: GivenCount = Cited[int](value=1, assumption=True, note="one drive")
    page: GivenBytes
    sector: GivenBytes
    planes: GivenCount
    read_time: GivenTime
    program_time: GivenTime
    read_rate: GivenRate
    write_rate: GivenRate
    commands_per_second: GivenNumber
    queue_depth: GivenCount
    latency: GivenTime
    read_energy: GivenJoulesPerBit
    write_energy: GivenJoulesPerBit
    idle: GivenWatts
    area: GivenArea | None = None
