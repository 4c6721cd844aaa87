"""The constraints of the studies, and how many designs break each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from studies.report.blocks import Block, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count

LEAD = "Designs beyond a constraint are grey in the charts, and never named the best."


@section("constraints", "Constraints", order=65, lead=LEAD)
def constraints(points: Points) -> Iterable[Block]:
    """Every constraint with the points that break it."""
    broken: Counter[str] = Counter()
    judged = points.tally("done") + points.tally("infeasible")
    for i in (*points.done, *points.in_state("infeasible")):
        row = points.rows[i]
        broken.update(str(each) for each in points.goals.broken(row.study, row.outcome.metrics))
    if points.census:
        broken = Counter(points.census.broken)
    known = dict.fromkeys(str(each) for group in points.goals.constraints.values() for each in group)
    if known and judged:
        entries = [(text, f"{count(broken[text], 'point')} of {judged:,} beyond it") for text in known]
        yield html("constraints.html", constraints=entries)
