"""Noise floors: by how much one measurement of a kernel differs from another; no model can be closer."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, RootModel

from hwmodels.reading.documents import read_text
from studies.validate.measured.rows.prediction import GroupKey

_FILE = "noise.yaml"


class FloorText(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    table: str
    gpu: str
    stack: str
    pct: float


class _Floors(RootModel[tuple[FloorText, ...]]):
    """The file."""


@cache
def _floors() -> dict[tuple[str, str, str], float]:
    text = resources.files("studies.validate.measured").joinpath(_FILE).read_text(encoding="utf-8")
    lines = read_text(text, _FILE).validate(_Floors).root
    return {(line.table, line.gpu, line.stack): line.pct for line in lines}


def noise_floor_pct(key: GroupKey) -> float | None:
    """Of a group, in percent; None where nobody has measured twice."""
    return _floors().get((key.table, key.gpu, key.stack))
