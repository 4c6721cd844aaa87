"""Verdicts: what may be said of a published value beside ours, and of a system with several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Kind = Literal["simulated", "arithmetic", "quoted"]
"""Way in which our figure was made: from a mechanism, from the claim's own inputs alone, or not at all."""
Comparison = Literal["exact", "tolerance", "ratio", "band", "at most", "at least"]
Verdict = Literal["reproduced", "in band", "not judged", "missed", "quoted"]
Range = tuple[float, float]

WIDEST_BAND = 1.5
"""High over low end of a band that still says something."""
_ROUNDING = 1e-9


def error_pct(ours: Range, published: Range) -> float:
    """Ours against the published value in percent, nearest ends of ranges against each other; 0 where they meet."""
    (low, high), (least, most) = ours, published
    if low <= most and least <= high:
        return 0.0
    got, wanted = (low, most) if low > most else (high, least)
    return 100 * (got - wanted) / abs(wanted) if wanted else 100 * (got - wanted)


def judge(compare: Comparison, ours: Range, published: Range, tolerance_pct: float) -> Verdict:
    """The verdict on a figure.

    Parameters
    ----------
    compare
        ``exact``: equal up to rounding. ``tolerance``: relative error. ``ratio``: the same for a quotient, with equal
        room on both sides. ``band``: ours is a range over settings that nobody published. ``at most``, ``at least``:
        the published value is a bound.
    tolerance_pct
        Room of ``tolerance`` and ``ratio``.

    Returns
    -------
    Verdict
        A range, on either side, can only be ``in band``; one that is wider than `WIDEST_BAND`, and a bound that is
        kept by more than that, say too little to be judged.
    """
    off = error_pct(ours, published)
    if compare in ("at most", "at least"):
        return _bounded(ours[1] - published[0] if compare == "at most" else published[1] - ours[0], ours, published)
    if compare == "exact":
        return "reproduced" if abs(off) <= 100 * _ROUNDING else "missed"
    room = tolerance_pct
    if compare == "ratio" and off < 0:
        room = 100 * (1 - 1 / (1 + tolerance_pct / 100))
    if abs(off) > room + 100 * _ROUNDING:
        return "missed"
    widest = max(_width(ours), _width(published))
    if widest > WIDEST_BAND:
        return "not judged"
    return "in band" if widest > 1 + _ROUNDING else "reproduced"


def _bounded(beyond: float, ours: Range, published: Range) -> Verdict:
    if beyond > _ROUNDING * max(map(abs, published)):
        return "missed"
    apart = _width((min(ours[0], published[0]), max(ours[1], published[1])))
    return "in band" if apart <= WIDEST_BAND else "not judged"


def _width(band: Range) -> float:
    low, high = sorted(map(abs, band))
    if low == high:
        return 1.0
    return high / low if low else float("inf")


def verdict_of(claims: Sequence[tuple[Kind, Verdict]]) -> tuple[Kind, Verdict]:
    """Kind and verdict of a system: what most of its judged claims say, those of a mechanism before arithmetic.

    A system is ``missed`` unless more of its judged claims hold than miss, so listing a further miss never helps it and
    hiding one is all that could. It is ``reproduced`` if at least one that holds is, else ``in band``.
    """
    kinds: tuple[Kind, ...] = ("simulated", "arithmetic")
    for kind in kinds:
        own = [verdict for made, verdict in claims if made == kind]
        judged = [verdict for verdict in own if verdict != "not judged"]
        held = [verdict for verdict in judged if verdict != "missed"]
        if judged and 2 * len(held) <= len(judged):
            return kind, "missed"
        if held:
            return kind, "reproduced" if "reproduced" in held else "in band"
    unjudged = [made for made, verdict in claims if verdict == "not judged"]
    return (unjudged[0], "not judged") if unjudged else ("quoted", "quoted")
