"""Full texts of the sources that shipped files name by a short key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text


class ReferenceText(BaseModel):
    """One source of ``references.yaml``: what it is, and whether it was read or only named."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    reference: str
    status: str


class BibliographyText(BaseModel):
    """The file ``references.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    references: dict[str, ReferenceText]


@cache
def references() -> dict[str, str]:
    """Full text of each short source name, with how far it was checked."""
    text = (resources.files("hwmodels.reading") / "references.yaml").read_text(encoding="utf-8")
    found = read_text(text, "references.yaml").validate(BibliographyText).references
    return {name: f"{entry.reference} [{entry.status}]" for name, entry in found.items()}


def source_text(value: Cited[Any], known: Mapping[str, str]) -> str:
    """Source of a number in one line, short names of sources written out as in `known`."""
    parts = [known.get(value.source, value.source), value.note or ""]
    text = "; ".join(part for part in parts if part)
    return f"assumption: {text}" if value.assumption else text
