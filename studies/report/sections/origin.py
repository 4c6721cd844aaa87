"""Where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from studies.points.point import Json
from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.store.provenance import code_state
from studies.words import count, spread


@dataclass
class Origin:
    """A state of code and computer, and the points computed there."""

    facts: tuple[tuple[str, str], ...]
    configuration: str
    points: int = 0


@section("origin", "Provenance", order=100)
def origin(points: Points) -> Iterable[Block]:
    """Commit, versions, host, engine and seed of every run that points come from."""
    yield html("origin.html", facts=tuple(_of_all(points)), origins=origins(points))


def _of_all(points: Points) -> Iterable[tuple[str, str]]:
    """What concerns all points."""
    if points.census:
        yield "Of", f"the {len(points):,} points of {points.total:,} that are shown"
    engine, seeds = points.column("engine"), [row.point.seed for row in points.rows if row.point.seed is not None]
    engines = spread(engine.values) if engine else ""
    if engines:
        yield "Engine", engines
    yield "Seed", spread(sorted(set(seeds))) if seeds else "none: nothing was drawn at random"
    times = sorted(row.time_utc for row in points.rows if row.time_utc)
    if times:
        yield "Computed", times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]} (UTC)"
    spent = sum(row.outcome.wall_s for row in points.rows)
    yield "Time spent", f"{spent:.3g} s over all points"
    repeated = sum(row.attempt > 1 for row in points.rows)
    if repeated:
        yield "Repeated", f"{count(repeated, 'point')} tried more than once"


def origins(points: Points) -> list[Origin]:
    """Runs that agree in everything but their time, in order of appearance."""
    found: dict[tuple[object, ...], Origin] = {}
    of_run: dict[int, Origin] = {}  # points of a run share one provenance object
    for row in points.rows:
        provenance = row.provenance
        if not provenance:
            continue
        if id(provenance) not in of_run:
            facts = tuple(_facts(provenance))
            configuration = json.dumps(provenance.get("configuration"), indent=2, ensure_ascii=False)
            of_run[id(provenance)] = found.setdefault((facts, configuration), Origin(facts, configuration))
        of_run[id(provenance)].points += 1
    return list(found.values())


def _facts(provenance: dict[str, Json]) -> Iterable[tuple[str, str]]:
    versions = provenance.get("versions")
    dirty = " (with uncommitted changes)" if provenance.get("dirty_sha256") else ""
    yield "Code", code_state(provenance) + dirty
    if isinstance(versions, dict):
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield "Python", str(provenance.get("python", "unknown"))
    yield "Host", f"{provenance.get('host', 'unknown')}, {provenance.get('cpus', '?')} processors"
    yield "System", str(provenance.get("platform", "unknown"))
