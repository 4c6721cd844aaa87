"""Outcomes as texts: what a store keeps of them, written where they were computed rather than by its one writer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

from studies.finite import not_finite_in
from studies.points.outcome import Outcome, Written
from studies.points.point import Json

OF_THE_COMPUTER = frozenset({"wall_s"})
"""Metrics that differ from run to run."""


def written(outcome: Outcome) -> Outcome:
    """`outcome` with its metrics and detail as texts.

    One that no row can hold, of numbers that are not finite for example, is a failed point with that reason.
    """
    if outcome.written is not None:
        return outcome
    detail = outcome.detail
    try:
        metrics = json.dumps(outcome.metrics, allow_nan=False)
        texts = Written(metrics, detail.to_text(metrics) if detail else "{}", told_by(outcome.metrics))
    except (ValueError, TypeError, RecursionError) as error:
        why = _not_finite(outcome) or f"{type(error).__name__}: {error}"
        texts = Written("{}", "{}", told_by({}))
        reason = f"its result cannot be stored: {why}"
        return replace(outcome, status="failed", metrics={}, detail=None, error=reason, written=texts)
    return replace(outcome, metrics={}, detail=None, written=texts)


def _not_finite(outcome: Outcome) -> str:
    try:
        detail = outcome.detail.to_json() if outcome.detail else {}
    except (ValueError, TypeError, RecursionError):
        detail = {}
    return not_finite_in({"metrics": outcome.metrics, "result": detail})


def told_by(metrics: Mapping[str, Json]) -> str:
    """Digest of all that metrics say of a design, whatever computer it was simulated on; 1 and 1.0 are the same."""
    names, values = _in_order(tuple(metrics))
    said = _WHOLE.sub("", repr((names, values(metrics))))
    return hashlib.blake2b(said.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


_WHOLE = re.compile(r"\.0(?=[,)])")
"""What tells a whole number that was computed as a float from one that was not."""


@lru_cache(maxsize=64)
def _in_order(names: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Mapping[str, Json]], object]]:
    ordered = tuple(sorted(name for name in names if name not in OF_THE_COMPUTER))
    return ordered, itemgetter(*ordered) if ordered else lambda _: ()
