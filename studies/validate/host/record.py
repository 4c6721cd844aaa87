"""Records of `attnflow measure --device`: reading them, with one line for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from hwmodels.reading.documents import read_document
from hwmodels.reading.errors import InputError, Problem
from reference.measuring.host import CEILINGS, FORMAT, KINDS


class PointText(BaseModel):
    """A case that was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str
    kind: str
    sizes: tuple[int, ...]
    split: str
    flops: int = Field(ge=0)
    bytes: int = Field(ge=0)
    time_us: float = Field(gt=0)
    fastest_us: float = Field(gt=0)
    samples: int = Field(ge=1)
    relative_error: float
    passed: bool


class MachineText(BaseModel):
    """What it was measured on."""

    model_config = ConfigDict(extra="allow", frozen=True)

    processor: str
    clock_mhz: float = Field(ge=0)
    threads: int = Field(ge=1)
    cache_bytes: int = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    framework: str
    device: str
    date: str


class HostRecordText(BaseModel):
    """A whole record."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: str
    machine: MachineText
    points: tuple[PointText, ...]

    def of_kind(self, kind: str) -> tuple[PointText, ...]:
        """Cases of a kind, in the order of their first size."""
        return tuple(sorted((point for point in self.points if point.kind == kind), key=lambda point: point.sizes))


def read_host_record(path: Path) -> HostRecordText:
    """A record.

    Raises
    ------
    InputError
        A file that is none, an unknown kind of case, or ceilings that are missing.
    """
    record = read_document(path).validate(HostRecordText)
    if record.format != FORMAT:
        raise InputError(Problem(f"must be {FORMAT!r} (got {record.format!r})", str(path), field="format"))
    strange = sorted({point.kind for point in record.points} - set(KINDS))
    if strange:
        raise InputError([Problem(f"unknown kind {kind!r}", str(path), field="points") for kind in strange])
    missing = [kind for kind in CEILINGS if not record.of_kind(kind)]
    if missing:
        raise InputError([Problem(f"has no ceiling of kind {kind!r}", str(path), field="points") for kind in missing])
    return record
