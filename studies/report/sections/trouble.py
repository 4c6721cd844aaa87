"""Points that deadlock or failed, by reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simulator.result import Deadlock, Wait
from studies.families.graph.evaluation import GraphDetail
from studies.points.outcome import Detail
from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count, spans

LEAD = (
    "A deadlock is a ring of units that wait for each other; the remedy is the smallest depth of one FIFO that "
    "frees it, all else unchanged. A failed point raised an error or lost its process."
)
MOST_SHOWN = 40


@dataclass
class Trouble:
    """Points with the same reason; `lines` are the details of the first of them."""

    state: str
    reason: str
    lines: tuple[str, ...]
    points: list[int] = field(default_factory=list)
    remedies: dict[str, set[int]] = field(default_factory=dict)

    @property
    def remedy(self) -> str:
        """The depths that would free the points, in words."""
        return "; ".join(f"{name}: depth {_range(depths)}" for name, depths in self.remedies.items())


def _range(depths: set[int]) -> str:
    least, most = min(depths), max(depths)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


@section("trouble", "Deadlocks and failures", order=70, lead=LEAD)
def trouble(points: Points) -> Iterable[Block]:
    """One entry per different reason, the most frequent first."""
    found = troubles(points)
    if found:
        hidden = found[MOST_SHOWN:]
        yield html(
            "trouble.html",
            troubles=[(entry, spans(entry.points), points.commands[entry.points[0]]) for entry in found[:MOST_SHOWN]],
            hidden=count(len(hidden), "more reason") if hidden else "",
            hidden_points=count(sum(len(entry.points) for entry in hidden), "point"),
        )


def _halt_of(detail: Detail | None) -> Deadlock | None:
    """The deadlock of a graph, if it has one."""
    return detail.result.deadlock if isinstance(detail, GraphDetail) else None


def _in_words(wait: Wait) -> str:
    slots = "any number" if wait.depth is None else f"{wait.depth:,}"
    return f"{wait.unit} waits for {wait.reason}: {wait.channel} holds {wait.occupancy:,} of {slots}"


def troubles(points: Points) -> Sequence[Trouble]:
    """Reasons with their points."""
    found: dict[tuple[str, str], Trouble] = {}
    for i in (*points.in_state("deadlock"), *points.in_state("failed")):
        outcome = points.rows[i].outcome
        halt = _halt_of(outcome.detail)
        if halt is not None:
            ring = [wait.unit for wait in halt.waits]
            reason = " → ".join([*ring, *ring[:1]]) or "no unit can move"
            lines = (f"from cycle {halt.cycle:,} on:", *map(_in_words, halt.waits))
        else:
            reason, lines = outcome.error or "no reason stored", ()
        entry = found.setdefault((points.states[i], reason), Trouble(points.states[i], reason, lines))
        entry.points.append(i)
        for name, depth in halt.remedy.items() if halt else ():
            entry.remedies.setdefault(name, set()).add(depth)
    return sorted(found.values(), key=lambda entry: -len(entry.points))
