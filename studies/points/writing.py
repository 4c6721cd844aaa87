"""Outcomes as texts: what a store keeps of them, written where they were computed rather than by its one writer."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from studies.finite import not_finite_in
from studies.points.outcome import Outcome, Written
from studies.points.point import Json

_json = json.JSONEncoder(check_circular=False, allow_nan=False).encode
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
        metrics = _json(outcome.metrics)
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
    ordered, begun = _in_order(tuple(metrics))
    digest = begun.copy()
    values = [_said(metrics[name]) for name in ordered]
    digest.update(marshal.dumps(values, _WITHOUT_REFERENCES))
    return digest.hexdigest()


_WITHOUT_REFERENCES = 2
"""Version of `marshal` in which equal numbers are equal bytes: later ones note which objects are held elsewhere."""
_EXACT = 1 << 53
"""Whole numbers below are floats, too."""


def _said(value: Json) -> Json | bytes:
    """A whole number as the float that it is, a text as bytes, which are the same however it is kept."""
    if type(value) is int and -_EXACT < value < _EXACT:
        return float(value)
    return value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value


@lru_cache(maxsize=64)
def _in_order(names: tuple[str, ...]) -> tuple[tuple[str, ...], hashlib.blake2b]:
    """Names of what is said of the design, in order, and a digest that has taken them."""
    ordered = tuple(sorted(name for name in names if name not in OF_THE_COMPUTER))
    return ordered, hashlib.blake2b(repr(ordered).encode("utf-8", "backslashreplace"), digest_size=16)
