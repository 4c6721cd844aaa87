"""Checks of a policy's parameters."""

from __future__ import annotations

from algorithms.kv.policy import KVPolicy
from hwmodels.reading.errors import InputError, Problem


def problems_to_error(problems: list[Problem]) -> None:
    """Raise the problems of a policy's parameters, if any.

    Raises
    ------
    InputError
        With all of them.
    """
    if problems:
        raise InputError(problems)


def at_least(policy: KVPolicy, **smallest: float) -> list[Problem]:
    """Problems with numeric parameters below their smallest value; None is always allowed."""
    problems = []
    for name, least in smallest.items():
        value = getattr(policy, name)
        if value is not None and value < least:
            problems.append(Problem(f"must be at least {least} (got {value})", field=f"policy.{policy.name}.{name}"))
    return problems
