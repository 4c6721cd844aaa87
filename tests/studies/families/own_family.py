"""A family of designs from outside the packages, all in one file: queues, solved by a formula.

Found by the entry points of its distribution: `attnflow.algorithms` for what can be run, `attnflow.families` for how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self

from algorithms.figures import Figure
from algorithms.registry import Entry, Given, P, register_algorithm
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem
from studies.families.detail import Detail, Stored
from studies.families.explanation import Explanation, Lever
from studies.families.family import Evaluation, Family, family, of_kind, parameters_of
from studies.families.metrics import measure, metric
from studies.families.path import TracedPath
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Json, Scalar
from studies.report.blocks import Bar, Block, breakdown
from studies.report.points import Points
from studies.report.registry import section

CLOCK_HZ = 1e9
DESK = Workload(
    name="desk", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=2, mask="full", dtype="float64"
)


# --- what can be run ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class QueueAlgorithm(Entry[P]):
    """A queue whose customers are the tokens of a workload."""

    what: ClassVar[str] = "is a queue"
    takes: ClassVar[frozenset[Given]] = frozenset({"workload", "timing_only"})
    keyed: ClassVar[frozenset[Given]] = takes
    default_workload: ClassVar[Workload | None] = DESK

    wait: Callable[[int, P], int]

    @property
    def figure_kinds(self) -> tuple[Figure, ...]:
        return (Figure("queue.desks", "", "places at which customers are served", static=True),)


@dataclass(frozen=True)
class DeskParameters:
    """Desks of a hall."""

    desks: int = field(default=1, metadata={"help": "places at which customers are served"})
    service_cycles: int = field(default=5, metadata={"help": "cycles that one customer takes", "unit": "cycle"})

    def __post_init__(self) -> None:
        if self.desks < 1:
            raise InputError(Problem(f"must be at least 1 (got {self.desks})", field="desks"))


def hall(customers: int, parameters: DeskParameters) -> int:
    """A hall with desks: cycles until the last customer leaves."""
    return -(-customers // parameters.desks) * parameters.service_cycles


register_algorithm("queue.hall", DeskParameters, hall, partial(QueueAlgorithm[DeskParameters], wait=hall))


# --- how ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueueEvaluation(Evaluation):
    """A hall, and when it is empty."""

    cycles_: int
    desks: int

    @property
    def cycles(self) -> int:
        return self.cycles_

    @property
    def seconds(self) -> float:
        return self.cycles_ / CLOCK_HZ

    @property
    def figures(self) -> Mapping[str, Scalar]:
        return {"queue.desks": self.desks}

    @property
    def detail(self) -> QueueDetail:
        return QueueDetail(self.point, self.cycles_, self.desks, measure(self), self.wall_s)


@dataclass(frozen=True)
class QueueDetail(Detail):
    """What is kept of a hall."""

    cycles: int
    desks: int
    metrics: Mapping[str, Scalar]
    wall_s: float

    def measured(self) -> Mapping[str, Scalar]:
        return self.metrics

    @property
    def uses(self) -> Mapping[str, Mapping[str, int]]:
        return {"desks": {"busy": self.cycles}}

    def content(self) -> dict[str, Json]:
        told: dict[str, Json] = {"cycles": self.cycles, "desks": self.desks}
        return {**told, "metrics": dict(self.metrics), "wall_s": self.wall_s}

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        return cls(
            point,
            stored.read(int, "cycles"),
            stored.read(int, "desks"),
            stored.read(dict[str, Scalar], "metrics"),
            stored.read(float, "wall_s"),
        )


@dataclass(frozen=True)
class QueueExplanation(Explanation):
    """The desks bind, always."""

    cycles: int

    @property
    def sentence(self) -> str:
        (lever,) = self.levers
        return f"the desks bind; {lever.after} of them would save {100 * lever.gain:.0f} % of the time."

    def text(self) -> str:
        return f"{self.point.algorithm}: {self.cycles} cycles\n\n{self.sentence}"

    def describe(self) -> dict[str, Json]:
        return {"key": self.point.key, "cycles": self.cycles, "sentence": self.sentence}


@family
class QueueFamily(Family):
    """Queues, by a formula."""

    name = "queue"
    entry = QueueAlgorithm

    def evaluate(self, point: DesignPoint) -> QueueEvaluation:
        started = time.perf_counter()
        algorithm = of_kind(QueueAlgorithm, find_algorithm(point.algorithm))
        parameters = parameters_of(algorithm, point)
        cycles = algorithm.wait(point.attending.q_len, parameters)
        return QueueEvaluation(point, None, time.perf_counter() - started, cycles, parameters.desks)

    def text(self, evaluation: Evaluation) -> str:
        found = of_kind(QueueEvaluation, evaluation)
        return f"{found.point.algorithm}: {found.cycles} cycles at {found.desks} desks"

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> QueueDetail:
        return QueueDetail.from_json(point, document)

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        del engine
        return DesignPoint("queue.hall", DESK, complete_parameters(find_algorithm("queue.hall"), {}))

    def explain(self, point: DesignPoint) -> QueueExplanation:
        desks = dict(point.parameters)["desks"]
        more = tuple((name, 2 * desks if name == "desks" else value) for name, value in point.parameters)
        now, then = self.evaluate(point).cycles, self.evaluate(replace(point, parameters=more)).cycles
        return QueueExplanation(point, (Lever("desks", desks, 2 * desks, now, then),), now)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        return f"its {of_kind(QueueDetail, detail).desks} desks"

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        yield "Desks", str(of_kind(QueueDetail, detail).desks)


@metric("queue.per_desk", "token", "customers per desk", goal="min", family="queue")
def per_desk(evaluation: QueueEvaluation) -> Scalar:
    return evaluation.point.attending.q_len / evaluation.desks


@section("queue-desks", "At the desks", order=57, family="queue", lead="Cycles of all desks of the selected halls.")
def desks(points: Points) -> Iterable[Block]:
    """A bar per hall."""

    def bars(detail: QueueDetail) -> Iterable[Bar]:
        yield Bar("desks", "served", "served", detail.cycles * detail.desks)

    yield breakdown({"served": "serving"}, "cycle", "desk cycles", points.per_point(QueueDetail, bars))
