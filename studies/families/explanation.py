"""Explanations: what binds a design, and levers, changes that were simulated before they are named."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from studies.points.point import DesignPoint, Json, Scalar
from studies.words import number, quantity


@dataclass(frozen=True)
class Lever:
    """A change of one thing about a design that was simulated.

    Parameters
    ----------
    name
        A parameter of the algorithm, or a field of what it runs on (``chip.hbm.bytes_per_second``).
    before, after
        Its values.
    cost_before, cost_after
        Cycles or seconds of the design without and with the change.
    """

    name: str
    before: Scalar
    after: Scalar
    cost_before: float
    cost_after: float

    @property
    def gain(self) -> float:
        """Share of the cost that the change saves; negative if it costs more."""
        return 1 - self.cost_after / self.cost_before if self.cost_before else 0.0

    @property
    def shown(self) -> tuple[str, str]:
        """The values before and after as people read them: bandwidths and capacities with their unit."""
        if self.name.endswith(".bytes_per_second"):
            return quantity(float(self.before or 0), "B/s"), quantity(float(self.after or 0), "B/s")
        if self.name.endswith("_bytes"):
            return quantity(float(self.before or 0), "B"), quantity(float(self.after or 0), "B")
        return number(self.before), number(self.after)


@dataclass(frozen=True)
class LeftOut:
    """A change that was tried and cannot be, and why in one line.

    Parameters
    ----------
    name, after
        What was changed, and to which value.
    reason
        What the simulator said.
    """

    name: str
    after: Scalar
    reason: str

    @staticmethod
    def refused(name: str, after: Scalar, error: Exception) -> LeftOut:
        """A change that raised an error, whose lines become one."""
        return LeftOut(name, after, " ".join(str(error).split()))

    def text(self) -> str:
        """One line for people."""
        return f"{self.name} {number(self.after)} cannot be: {self.reason}"

    def describe(self) -> dict[str, Json]:
        """Plain JSON values."""
        return {"name": self.name, "after": self.after, "reason": self.reason}


@dataclass(frozen=True)
class Explanation(ABC):
    """What a family says of why a design takes as long as it does.

    Parameters
    ----------
    point
        The design.
    levers
        Changes that were tried and can be, those that gain most first.
    """

    point: DesignPoint
    levers: tuple[Lever, ...]

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What binds and what to change next, for people."""

    @property
    def chosen(self) -> str:
        """What was left to the algorithm, and is decided for this design, in words; empty where nothing was."""
        return ""

    @property
    def cost_unit(self) -> str:
        """Unit of the costs of its levers."""
        return "s"

    @property
    def stuck(self) -> bool:
        """Whether the design stops before it is done, or some of what is asked of it can never be."""
        return False

    @abstractmethod
    def text(self) -> str:
        """Everything for people, the sentence last."""

    @abstractmethod
    def describe(self) -> dict[str, Json]:
        """Plain JSON values: what ``attnflow explain --json`` prints."""
