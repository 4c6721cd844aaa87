"""Quantities of tier files, each with its source, and their translation into the fields of a tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

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
from hwmodels.standards.sections import LARGEST, Section

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


class TierSection(Section):
    """Keys of every tier file but those of DRAM."""

    name: str
    summary: str


COMMON_FIELDS = {"count": "count", "capacity": "capacity_each_bytes", "area": "area_each_mm2"}
"""Fields of a tier by the keys that files of all kinds share."""


def plain_fields(
    text: TierSection, names: Mapping[str, str], cited_as: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Arguments of a tier: name, summary and plain values of its file, and their citations by field.

    Parameters
    ----------
    names
        Fields of the tier by key of the file.
    cited_as
        Fields that other keys are the source of.
    """
    values = {
        names[key]: int(value) if names[key].endswith("_bytes") else value
        for key, value in text.values().items()
        if key in names
    }
    cited = text.citations("")
    fields = {key: {**names, **(cited_as or {})}.get(key, key) for key in (name.lstrip(".") for name in cited)}
    citations = tuple((field, cited[f".{key}"]) for key, field in fields.items())
    return {"name": text.name, "summary": text.summary, **values, "citations": citations}
