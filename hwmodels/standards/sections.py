"""Sections of cited numbers in YAML, one per dataclass of a standard.

A section holds plain numbers under one ``source``, or single ones as ``{value: 14, source: "..."}``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from hwmodels.reading.cited import CITE_PLAIN, UNCITED, Cited
from hwmodels.reading.quantity import Seconds
from hwmodels.standards.standard import (
    Coordinate,
    DramBus,
    DramController,
    DramMapping,
    DramOrganisation,
    DramTiming,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    V = TypeVar("V", bound=DataclassInstance)


def citation(value: Cited[Any], section_source: str = "") -> str:
    """Source of a value, in one line."""
    source = section_source or UNCITED if value.source == UNCITED else value.source
    text = "; ".join(part for part in (source, value.note or "") if part)
    return f"assumption: {text}" if value.assumption else text


class Text(BaseModel):
    """Base of everything read from YAML here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Section(Text):
    """A part of a document with one source for all its plain numbers."""

    source: str = ""

    def given(self) -> Iterator[tuple[str, Cited[Any]]]:
        """The numbers that are there."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Cited):
                yield name, value

    def values(self) -> dict[str, Any]:
        """Plain values of the numbers that are there."""
        return {name: value.value for name, value in self.given()}

    def citations(self, prefix: str) -> dict[str, str]:
        """Field below `prefix` to source."""
        return {f"{prefix}.{name}": citation(value, self.source) for name, value in self.given()}


LARGEST = 1 << 40
"""No count or timing is larger: sums of a few fit into 64 bits."""
_STRICT = {int: Annotated[int, Field(ge=0, le=LARGEST, strict=True)], bool: Annotated[bool, Field(strict=True)]}
_POSITIVE = Annotated[int, Field(ge=1, le=LARGEST, strict=True)]


def section_of(value_type: type[DataclassInstance], *positive: str) -> type[Section]:
    """A section with the fields of `value_type`, each of which may be left out; `positive` ones must not be 0."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(value_type, include_extras=True).items():
        kind = _POSITIVE if name in positive else _STRICT.get(hint, hint)
        cited = Cited.__class_getitem__(kind)
        fields[name] = (Annotated[cited | None, CITE_PLAIN], None)
    return create_model(f"{value_type.__name__}Text", __base__=Section, **fields)


if TYPE_CHECKING:  # made at run time out of the dataclasses, of which a type checker can know their base alone
    OrganisationText: TypeAlias = Section
    TimingText: TypeAlias = Section
    BusText: TypeAlias = Section
    ControllerText: TypeAlias = Section
else:
    OrganisationText = section_of(
        DramOrganisation, *(each.name for each in dataclasses.fields(DramOrganisation) if each.name != "rank_owns_bus")
    )
    TimingText = section_of(DramTiming, "cl", "cwl", "rcd_read", "rcd_write", "rp", "ras", "rc", "burst", "rfc", "refi")
    BusText = section_of(DramBus, "ticks_per_clock", "activate_ticks", "column_ticks")
    ControllerText = section_of(
        DramController, "read_depth", "write_depth", "bank_depth", "hit_cap", "drain_high", "drain_low", "width"
    )

GivenPeriod = Annotated[Cited[Annotated[Seconds, Field(gt=0)]], CITE_PLAIN]


class MappingText(Text):
    """The ``mapping`` section: parts of an address, least significant first, and what is XORed."""

    order: list[str]
    xor: list[Coordinate] = []
    source: str = ""

    def mapping(self) -> DramMapping:
        """The mapping as a plain value."""
        return DramMapping(tuple(self.order), tuple(self.xor))


class DramSections(Text):
    """Sections that both a standard and a tier on top of it may give."""

    clock: GivenPeriod | None = None
    organisation: OrganisationText | None = None
    timing: TimingText | None = None
    bus: BusText | None = None
    controller: ControllerText | None = None
    mapping: MappingText | None = None

    def section(self, name: str) -> Section | None:
        """The section called `name`, if it is there."""
        found: Section | None = getattr(self, name)
        return found


SECTIONS: dict[str, type[DataclassInstance]] = {
    "organisation": DramOrganisation,
    "timing": DramTiming,
    "bus": DramBus,
    "controller": DramController,
}
"""Sections by name, with the dataclass each becomes."""
