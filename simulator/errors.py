"""Errors that a user of the simulator can cause; every message names the object and what would mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 12


class SimulatorError(ValueError):
    """Base of all errors raised by :mod:`simulator`."""


class GraphError(SimulatorError):
    """A graph is not well formed: dangling ports, unbalanced tokens, illegal latencies.

    Parameters
    ----------
    problems : sequence of str
        One line per problem; all of them are reported at once.
    """

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ValueCheckError(SimulatorError):
    """A checker unit saw a token that differs from what it expects."""


class CapacityError(SimulatorError):
    """Something does not fit into a memory tier; says what, by how much and what would make it fit."""


class NoProgressError(SimulatorError):
    """Something waits for ever although time goes on: a memory whose refreshes leave no time for accesses."""


class AccountingError(SimulatorError):
    """busy + stalled + idle differs from the total of a unit: a defect of an engine, never of the input."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of a message about an unknown ``name``: the nearest one, or all if they are few; empty if neither helps."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= MOST_LISTED else ""
