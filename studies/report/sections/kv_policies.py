"""What KV policies are worth: quality against time, and what cannot be judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from studies.report.blocks import Block, View, html
from studies.report.points import Points
from studies.report.registry import section
from studies.words import count, spans

LEAD = (
    "Quality of attention over what a policy keeps, against the time of a decode step; the trade-offs above have any "
    "other pair. Qualities are measured at the same share of the tokens kept on short streams of known answers: "
    "synthetic attention without trained weights, not a claim about model accuracy. Normalised errors lie between "
    "random (0) and oracle (1). Listed below is what could not be judged, and why."
)
QUALITY = "quality.heavy_hitter"


@section("kv-policies", "Quality of KV policies", order=26, lead=LEAD, family="chip")
def kv_policies(points: Points) -> Iterable[Block]:
    """A scatter of quality over seconds, and the reasons for missing qualities."""
    column = points.column(QUALITY)
    if column is None or not column.numeric or points.column("seconds") is None:
        return
    yield View("scatter", {"x": "seconds", "y": QUALITY})
    reasons: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(points.rows):
        for reason in row.remarks:
            reasons[reason].append(i)
    if reasons:
        shown = [(reason, count(len(numbers), "point"), spans(numbers)) for reason, numbers in reasons.items()]
        yield html("notes.html", remarks=shown, hidden="")
