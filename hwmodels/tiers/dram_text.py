"""DRAM tiers from files: a standard by name, any of whose sections a file may change, and energies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import Document
from hwmodels.reading.errors import InputError
from hwmodels.reading.shipped import is_file
from hwmodels.standards.checks import check_standard
from hwmodels.standards.sections import DramSections, Section
from hwmodels.standards.standard import DramStandard
from hwmodels.standards.text import load_standard, overlay
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.dram_energy import DramEnergy, SupplyCurrents
from hwmodels.tiers.given import GivenArea, GivenCount, GivenJoules, GivenJoulesPerBit, GivenNumber, GivenWatts
from hwmodels.tiers.kinds import TierKind, register_tier_kind


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


def _build(text: DramTierText, document: Document) -> DramTier:
    try:
        base = load_standard(_beside(text.standard, document))
    except InputError as error:
        problems = [document.problem(("standard",), str(replace(p, hint=None)), p.hint) for p in error.problems]
        raise InputError(problems) from None
    standard = overlay(base, text, document, name=base.name, summary=base.summary, source=text.source)
    cited = {**dict(standard.citations), **text.energy.citations("energy")}
    if text.energy.currents is not None:
        cited |= text.energy.currents.citations("energy.currents")
    tier = DramTier(
        name=text.name,
        summary=text.summary,
        standard=standard,
        count=text.count.value,
        energy=text.energy.energy(standard),
        area_each_mm2=text.area.value if text.area else None,
        citations=tuple(cited.items()),
    )
    complaints = check_standard(replace(standard, organisation=tier.organisation))
    if complaints:
        raise InputError([document.problem(place, message, hint) for place, message, hint in complaints])
    return tier


def _beside(standard: str, document: Document) -> str:
    """A standard's file is looked for beside the tier's file first."""
    beside = Path(document.name).parent / standard
    return str(beside) if "/" in str(beside) and is_file(beside) else standard


register_tier_kind(TierKind("dram", DramTierText, _build))
