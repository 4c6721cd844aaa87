"""Wrong names in calls answered as on the command line: one line with the nearest name, not a bare TypeError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from hwmodels.reading.errors import InputError, Problem, did_you_mean

P = ParamSpec("P")
R = TypeVar("R")


def naming_the_nearest(
    what: str, elsewhere: Mapping[str, str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a function without ``**names``: a name that it does not take raises InputError with the nearest that it does.

    Parameters
    ----------
    what
        Whose parameters they are, for the message.
    elsewhere
        Names that something else takes, with what that is.

    Examples
    --------
    >>> @naming_the_nearest("scaled")
    ... def scaled(value: float, factor: float = 1.0) -> float:
    ...     return value * factor
    >>> scaled(2.0, factr=3.0)
    Traceback (most recent call last):
    hwmodels.reading.errors.InputError: factr: unknown parameter of scaled; did you mean 'factor'?
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        # of the code, not of inspect.signature: every algorithm passes here when it is imported
        code = function.__code__
        taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        known = tuple(name for name in taken if name not in ("self", "cls"))

        @wraps(function)
        def answering(*values: P.args, **named: P.kwargs) -> R:
            unknown = [name for name in named if name not in known]
            if unknown:
                message = f"unknown parameter of {what}"
                hints = {name: (elsewhere or {}).get(name) or did_you_mean(name, known) for name in unknown}
                raise InputError(Problem(message, field=name, hint=hint) for name, hint in hints.items())
            return function(*values, **named)

        return answering

    return decorate
