"""How far the models are from known results, where a validation was handed over with the points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from studies.points.point import Json
from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count, number

LEAD = (
    "The models that made these points, run on known results: measured hardware, other simulators, published figures. "
    "Errors are without sign, over the cases of a group."
)


@dataclass(frozen=True)
class Panel:
    """A validation in words: its kind, how its cases ended, and a row of texts per group."""

    kind: str
    outcome: str
    groups: tuple[tuple[str, ...], ...]


@section("validation", "Against known results", order=95, lead=LEAD)
def validation(points: Points) -> Iterable[Block]:
    """One table per validation."""
    if points.validations:
        yield html("validation.html", panels=[_panel(document) for document in points.validations])


def _panel(document: Mapping[str, Json]) -> Panel:
    ended = ", ".join(f"{_text(document.get(name))} {name}" for name in ("passed", "failed", "unsupported"))
    cases = document.get("cases")
    total = count(cases, "case") if isinstance(cases, int) else "cases"
    groups = document.get("groups")
    rows = [each for each in groups if isinstance(each, Mapping)] if isinstance(groups, Sequence) else []
    names = ("group", "n", "passed", "mean_abs_error_pct", "max_abs_error_pct")
    return Panel(str(document.get("kind")), f"{total}: {ended}", tuple(_row(each, names) for each in rows))


def _row(group: Mapping[str, Json], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_text(group.get(name)) for name in names)


def _text(value: Json) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) else str(value)
