"""Work that layers over the very same keys need to do only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from algorithms.kv.cache import Span

R = TypeVar("R")


class SharedWork(Generic[R]):
    """Results by the part of a common stream that they were computed from.

    The layers of a timing run read one surrogate stream; clustering it once per layer would take most of the
    time. Caches that own their rows have no span, and nothing is remembered for them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Span, str], R] = {}

    def once(self, span: Span | None, label: str, compute: Callable[[], R]) -> R:
        """`compute()`, or its earlier result for this `span` and `label`."""
        if span is None:
            return compute()
        key = span, label
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]
