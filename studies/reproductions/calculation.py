"""Calculations: figures that no family of designs has, as functions with names and typed parameters.

A module of `studies.reproductions.calculations`, or one that an entry point of the group ``attnflow.calculations``
names, registers them::

    @calculation("expert_switch")
    def expert_switch(chip: str = "sambanova_sn40l", sockets: int = 8) -> Figures:
        \"\"\"Time to bring an expert from the far to the near tier.\"\"\"
        return {"seconds": ...}
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from algorithms.register import Register
from hwmodels.reading.complaints import complaint_about
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.points.point import Scalar, adapter_of

ENTRY_POINT_GROUP = "attnflow.calculations"
Figures = Mapping[str, float]
"""Figures by name."""


@dataclass(frozen=True)
class Calculation:
    """A named function of plain values.

    Parameters
    ----------
    name, summary
        As files call it, and for people.
    compute
        Makes its figures; all of its parameters have defaults.
    source
        Module that registered it.
    """

    name: str
    summary: str
    compute: Callable[..., Figures]
    source: str

    def read(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """`values` as its parameters take them.

        Raises
        ------
        InputError
            Unknown parameters and values of another type, all at once.
        """
        kinds = typing.get_type_hints(self.compute)
        known = list(inspect.signature(self.compute).parameters)
        problems, read = [], {}
        for name, value in values.items():
            if name not in known:
                message = f"{self.name} has no such parameter"
                problems.append(Problem(message, field=f"parameters.{name}", hint=did_you_mean(name, known)))
                continue
            try:
                read[name] = adapter_of(kinds[name]).validate_python(value)
            except ValidationError as error:
                message, hint = complaint_about(error, value)
                problems.append(Problem(message, field=f"parameters.{name}", hint=hint))
        if problems:
            raise InputError(problems)
        return read


_CALCULATIONS: Register[Calculation] = Register("calculation", "studies.reproductions.calculations", ENTRY_POINT_GROUP)


def calculation(name: str) -> Callable[[Callable[..., Figures]], Callable[..., Figures]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(compute: Callable[..., Figures]) -> Callable[..., Figures]:
        summary = (inspect.getdoc(compute) or name).partition("\n")[0]
        _CALCULATIONS.add(name, Calculation(name, summary, compute, compute.__module__))
        return compute

    return register


def get_calculation(name: str) -> Calculation:
    """The calculation called `name`; raises InputError if there is none, with the nearest name."""
    return _CALCULATIONS.get(name)
