"""The contract of a family of designs: all that the rest of `studies` knows of graphs, chips, memory tiers and others.

A family says how points of its algorithms are evaluated, explained, stored and told. It is one class with one
decorator, in a module of this package or in any module that an entry point of the group ``attnflow.families`` names
(its algorithms are found as all algorithms are, by the group ``attnflow.algorithms``)::

    @family
    class TierFamily(Family):
        \"\"\"Memory tiers under streams of requests.\"\"\"

        name = "tier"
        entry = TierAlgorithm

        def evaluate(self, point): ...
        def text(self, evaluation): ...
        def read(self, point, document): ...
        def rehearsal(self, engine="compiled"): ...

What an algorithm takes besides its parameters, its entry in the register says (`algorithms.registry.Entry`); which
metrics and parts of a report a family has, their own decorators say.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeVar

from algorithms.register import Register, Stamp
from algorithms.registry import AnyAlgorithm, Entry, P
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.made import made
from simulator import Graph
from studies.families.compiled import Compiled
from studies.families.detail import Detail
from studies.families.deviation import Deviation
from studies.families.explanation import Explanation
from studies.families.path import StartTimes, TracedPath
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Engine, Json, Scalar

ENTRY_POINT_GROUP = "attnflow.families"


@dataclass(frozen=True)
class Evaluation(ABC):
    """A design point and what came out of its simulation.

    Parameters
    ----------
    point
        What was evaluated.
    deviation
        Errors of the values against the float64 oracle; None where no values were computed.
    wall_s
        Time the evaluation took on this computer.
    """

    point: DesignPoint
    deviation: Deviation | None
    wall_s: float

    @property
    @abstractmethod
    def cycles(self) -> int | None:
        """Simulated cycles; None where nothing is counted in cycles of one clock."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Simulated time."""

    @property
    def figures(self) -> Mapping[str, Scalar]:
        """What the algorithm itself declares (`algorithms.figures`), by name."""
        return {}

    @property
    def stuck(self) -> bool:
        """Whether the design stops before it is done, or some of what is asked of it can never be."""
        return False

    @property
    @abstractmethod
    def detail(self) -> Detail:
        """All that is kept of it."""

    def text(self) -> str:
        """The result for people."""
        return family_of(self.point).text(self)

    def describe(self) -> dict[str, Json]:
        """Everything as plain JSON values: what ``attnflow run --json`` prints."""
        return self.detail.to_json()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text())}</pre>"


class Family(ABC):
    """How points of one kind of algorithms are run, measured, explained and told."""

    name: ClassVar[str]
    """As lists and documents show it."""
    entry: ClassVar[type[AnyAlgorithm]]
    """What the register of algorithms has of those of this family."""
    objective: ClassVar[str] = "cycles"
    """Metric that two runs are compared by when nobody says."""
    objectives: ClassVar[tuple[str, ...]] = ()
    """Metrics that a report is about when its study says none; all that have a goal if there are none here."""
    traced: ClassVar[bool] = False
    """Whether points have a critical path."""

    @property
    def source(self) -> str:
        """Module that registered it."""
        return type(self).__module__

    def listed(self, summary: str) -> str:
        """The summary of one of its algorithms in a list of all."""
        return f"[{self.name}] {summary}"

    @abstractmethod
    def evaluate(self, point: DesignPoint) -> Evaluation:
        """Simulate a point that has all that its algorithm takes, and nothing else.

        Raises
        ------
        InputError, simulator.errors.SimulatorError
            When it cannot be built or simulated. A design that gets stuck is a result, not an error.
        """

    def evaluate_many(self, points: Sequence[DesignPoint]) -> Iterator[Evaluation | Exception]:
        """The same for several, in their order, what cannot be evaluated told by its exception.

        A family that can do better than one by one does it here.
        """
        for point in points:
            try:
                yield self.evaluate(point)
            except Exception as error:
                yield error

    def structure(self, point: DesignPoint) -> Hashable:
        """What points have in common that share most of the work of evaluating them; None where that does not matter.

        A sweep evaluates points of one structure one after the other, so that few workers build it.
        """
        del point
        return None

    @abstractmethod
    def text(self, evaluation: Evaluation) -> str:
        """An evaluation of this family for people: what ``attnflow run`` prints."""

    @abstractmethod
    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> Detail:
        """The detail of `point` that a store or file has; raises as `Detail.from_json`."""

    @abstractmethod
    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """A tiny point that loads whatever evaluating others takes; `engine` for families that take one."""

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """What is compiled to simulate `point`."""
        del point
        return ()

    def settings(self, point: DesignPoint, other: DesignPoint) -> Mapping[str, Json]:
        """What of a point is compared with `other`, which may be of any family."""
        del other
        return point.describe()

    def explain(self, point: DesignPoint) -> Explanation | None:
        """What binds `point` and what to change next; None where nothing but the result itself says so.

        Raises
        ------
        InputError, simulator.errors.SimulatorError
            As `evaluate`.
        """
        del point
        return None

    def path(self, point: DesignPoint, starts: StartTimes) -> TracedPath:
        """The critical path of `point`, if points of this family are `traced`.

        Parameters
        ----------
        starts
            How many start times may still be kept; what a path takes is counted there.

        Raises
        ------
        InputError, simulator.errors.SimulatorError
            As `evaluate`, or when it takes too many start times.
        """
        raise NotImplementedError(f"points of {self.name} are not traced")

    def graph(self, point: DesignPoint) -> Graph:
        """The graph that ``trace``, ``draw`` and ``advise`` look at.

        Raises
        ------
        InputError
            Where there is none, or it cannot be built.
        """
        what = find_algorithm(point.algorithm).what
        raise InputError(f"{point.algorithm} {what} and is no graph of FIFOs: `attnflow run` says what binds it there")

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """What holds a design back, as a clause after "it is bound by"; empty where nothing is known of it.

        Parameters
        ----------
        path
            The critical path, if it was followed.
        """
        del detail, path
        return ""

    def estimates(self, point: DesignPoint) -> Mapping[str, str]:
        """Metrics of `point` that rest on what nobody has published, each with what that is."""
        del point
        return {}

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """Further facts of a design for its card in a report, pairs of term and text."""
        del detail
        return ()


_HOMES = {
    "chip": ("chip.family", "algorithms.chip.algorithm.TiledAlgorithm"),
    "graph": ("graph.family", "algorithms.registry.Algorithm"),
    "live": ("live.family", "algorithms.live.algorithm.LiveAlgorithm"),
    "model": ("model.family", "algorithms.models.steps.algorithm.ModelAlgorithm"),
    "stream": ("stream.family", "algorithms.live.streams.algorithm.StreamAlgorithm"),
    "tier": ("tier.family", "algorithms.memory.algorithm.TierAlgorithm"),
}
"""Modules of built-in families and the kinds of algorithms that are theirs, so that one starts without the others."""
_NAMES = {kind: name for name, (_, kind) in _HOMES.items()}

FAMILIES: Register[Family] = Register(
    "family of designs",
    "studies.families",
    ENTRY_POINT_GROUP,
    homes={name: module for name, (module, _) in _HOMES.items()},
)
"""Families by name."""

F = TypeVar("F", bound=Family)
K = TypeVar("K")


def family(kind: type[F]) -> type[F]:
    """Register an object of the decorated class; raises InputError, naming both modules, if its name is taken."""
    FAMILIES.add(kind.name, kind())
    return kind


def families() -> tuple[Family, ...]:
    """All families, by name."""
    return tuple(map(FAMILIES.get, FAMILIES.names()))


def family_of(what: DesignPoint | AnyAlgorithm | str) -> Family:
    """The family of a point, of an algorithm, or of an algorithm's name.

    Raises
    ------
    InputError
        No algorithm of that name, or no family of its kind.
    """
    name = what.algorithm if isinstance(what, DesignPoint) else what
    algorithm = find_algorithm(name) if isinstance(name, str) else name
    return _family_of(algorithm, FAMILIES.held)


@lru_cache(maxsize=1024)
def _family_of(algorithm: AnyAlgorithm, stamp: Stamp) -> Family:
    """As `family_of`; families that register later may be nearer to an algorithm."""
    del stamp
    kinds = type(algorithm).__mro__
    home = next((name for kind in kinds if (name := _NAMES.get(f"{kind.__module__}.{kind.__qualname__}"))), None)
    if home:
        FAMILIES.get(home)
    known = {each.entry: each for each in (FAMILIES.entries if home else families())}
    for kind in kinds:
        if kind in known:
            return known[kind]
    raise InputError(Problem(f"{algorithm.name} is of no registered family of designs", file=algorithm.source))


def of_kind(kind: type[K], value: object) -> K:
    """`value`, which a family was handed back, as the type that this family makes.

    Raises
    ------
    TypeError
        If it is another family's.
    """
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} is no {kind.__name__}")
    return value


def parameters_of(algorithm: Entry[P], point: DesignPoint) -> P:
    """The parameters of a point as those of its algorithm; raises InputError for values that do not fit together."""
    return made(algorithm.parameters, dict(point.parameters))


def refuse_misfits(point: DesignPoint) -> None:
    """Raise InputError if a point has what its algorithm does not take, lacks what it needs, or a file has changed."""
    algorithm = find_algorithm(point.algorithm)
    given = {"workload": point.workload, "tensors": point.tensors, "chip": point.chip}
    problems = [
        Problem(f"{point.algorithm} {algorithm.what} and takes no {name}", field=name)
        for name, value in given.items()
        if value and name not in algorithm.takes
    ]
    problems += [
        Problem(f"{point.algorithm} {algorithm.what}: name one", field=name)
        for name in ("workload", "chip")
        if name in algorithm.takes and not given[name]
    ]
    if problems:
        raise InputError(problems)
    point.refuse_changed_files()
