"""Figures: numbers that an algorithm declares of itself, beside those that all of its family have.

An algorithm lists them without running (`figure_kinds`, for ``attnflow list metrics``, objectives and constraints) and
fills in their values once it has run (`figures`)::

    DSP = Figure("fpga.dsp", "", "DSP slices of attention and of linear layers", static=True)

    def figures(workload, parameters, ran):
        return (DSP.of(HybridDesign(workload, parameters).dsp),)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Literal, Self, TypeVar

from algorithms.workload.shape import Workload

Goal = Literal["min", "max"]
"""Which way a number is better."""

LAST = 1000
"""Order of figures and metrics that say none: behind those that the project ships."""

P_contra = TypeVar("P_contra", contravariant=True)


@dataclass(frozen=True)
class Figure:
    """A number of a design, and what it means.

    Parameters
    ----------
    name
        Name of the figure in stores and reports.
    unit
        Empty for none.
    meaning
        One line.
    value
        None where it is only declared, or does not apply.
    goal
        Which way is better, for a figure that designs are chosen by.
    static
        It belongs to the design, not to the run, and so holds even where the design deadlocks.
    order
        Figures and metrics are listed in ascending order.
    title
        Words that people read in place of the name; made from the name where it is empty.
    """

    name: str
    unit: str
    meaning: str
    value: str | int | float | bool | None = None
    goal: Goal | None = None
    static: bool = False
    order: int = LAST
    title: str = ""

    def of(self, value: str | int | float | bool | None) -> Self:
        """The same figure with its value."""
        return replace(self, value=value)


@dataclass(frozen=True)
class Ran:
    """What of a simulation figures are made of.

    Parameters
    ----------
    seconds
        Simulated time.
    """

    seconds: float


@dataclass(frozen=True)
class OwnFigures(Generic[P_contra]):
    """The figures of an algorithm that is registered as a function.

    Parameters
    ----------
    kinds
        Figures of the algorithm, without values.
    compute
        Their values for a workload, parameters and what came out.
    """

    kinds: tuple[Figure, ...]
    compute: Callable[[Workload, P_contra, Ran], tuple[Figure, ...]]
