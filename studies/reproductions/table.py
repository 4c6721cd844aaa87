"""A judged system in words: cells of tables that the command line and the page share."""

from __future__ import annotations

from collections.abc import Iterable

from studies.reproductions.judging import JudgedClaim, JudgedSystem
from studies.reproductions.verdicts import Range
from studies.words import number


def verdict_words(found: JudgedSystem) -> str:
    """The verdict of a system; arithmetic, and what only says how something grows, are said to be that."""
    if found.kind == "arithmetic" and found.verdict != "quoted":
        return f"{found.verdict} (arithmetic)"
    return f"{found.verdict} (growth alone)" if found.growth_alone else found.verdict


def tally(found: JudgedSystem) -> str:
    """Claims that hold of those that are judged, and how many more there are."""
    held = sum(each.verdict in ("reproduced", "in band") for each in found.claims)
    judged = held + sum(each.verdict == "missed" for each in found.claims)
    rest = len(found.claims) - judged
    if not judged:
        return f"none of {rest} judged"
    return f"{held} of {judged} hold" + (f", {rest} more" if rest else "")


def counts(systems: Iterable[JudgedSystem]) -> dict[str, int]:
    """How many systems have each verdict, arithmetic and growth alone apart, best first."""
    order = (
        "reproduced",
        "in band",
        "reproduced (growth alone)",
        "in band (growth alone)",
        "reproduced (arithmetic)",
        "in band (arithmetic)",
        "not judged",
    )
    found: dict[str, int] = {}
    for each in systems:
        found[verdict_words(each)] = found.get(verdict_words(each), 0) + 1
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def claim_cells(found: JudgedClaim) -> tuple[str, ...]:
    """Metric, published, ours, unit, error, what it may be, verdict, how ours was made, and the source."""
    text, error, room = found.claim.text, found.error_pct, found.tolerance_pct
    return (
        text.metric,
        _range(found.claim.published),
        "-" if found.ours is None else _range(found.ours),
        text.unit,
        "-" if error is None else f"{error:+.1f} %",
        "-" if room is None or text.compare is None else f"{text.compare}, {number(room)} %",
        found.verdict,
        text.kind,
        f"[{text.mark}] {text.source}",
    )


def _range(value: Range) -> str:
    low, high = value
    return number(low) if low == high else f"{number(low)} to {number(high)}"
