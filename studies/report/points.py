"""The points of a report: columns, workloads, objectives, the best of each and the front."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from hwmodels.reading.errors import InputError
from studies.families.detail import Detail
from studies.families.explanation import Explanation
from studies.families.family import Family, family_of
from studies.families.path import TracedPath
from studies.points.command import command_of
from studies.points.knobs import AUTO
from studies.points.outcome import Row
from studies.points.point import Json, Scalar
from studies.report.census import Census
from studies.report.columns import Column, Role, State, metric_columns, proportional, setting_columns, state_of
from studies.report.paths import Tracer
from studies.search.pareto import clear_front
from studies.study.goals import Goals
from studies.words import count, number, setting

D = TypeVar("D")
T = TypeVar("T")
_NAMES_ALONE = ("study", "algorithm", "workload", "engine")
_FEW = 4
"""Points that are all shown in detail if there are no more of them."""
_MOST_SHOWN = 5
"""Points shown in detail to begin with if there are more."""
_TIMES = ("cycles", "seconds")


@dataclass(frozen=True)
class Best:
    """The best design by one objective.

    A design is a set of settings other than the workload; it is judged on every workload of the report.

    Parameters
    ----------
    objective
        Column it is best in.
    point
        Its number on the largest workload, the one that takes most of the first objective at its best.
    ties
        Points of that workload that are as good, within the tolerance.
    wins, workloads
        Workloads on which this design is best (or as good), and workloads that have any result.
    """

    objective: Column
    point: int
    ties: int
    wins: int
    workloads: int


@dataclass(frozen=True)
class Points:
    """Everything that sections of a report are made of; point numbers are positions in `rows`.

    Parameters
    ----------
    rows
        As stored.
    states
        What became of each.
    columns
        Settings, then metrics.
    goals
        What the studies are after.
    validations
        What ``attnflow validate --json`` said of the models.
    census
        What is said of all points where `rows` are a part of them; None where they are all.
    """

    rows: tuple[Row, ...]
    states: tuple[State, ...]
    columns: tuple[Column, ...]
    goals: Goals = field(default_factory=Goals)
    validations: tuple[Mapping[str, Json], ...] = ()
    census: Census | None = None

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        goals: Goals | None = None,
        validations: Sequence[Mapping[str, Json]] = (),
        *,
        distinct: bool = False,
    ) -> Points:
        """The points of `rows`; with `distinct`, a point that several studies share is one point of all of them."""
        kept = tuple(rows)
        studies = [row.study for row in kept]
        if distinct:
            members = _shared(kept, goals)
            kept = tuple(kept[numbers[0]] for numbers in members)
            studies = [", ".join(studies[i] for i in numbers) for numbers in members]
        states = tuple(state_of(row, goals) for row in kept)
        columns = (*setting_columns(kept, studies), *metric_columns(kept, states, goals))
        return cls(kept, states, columns, goals or Goals(), tuple(validations))

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Column | None:
        """The column called `name`, if there is one."""
        return next((column for column in self.columns if column.name == name), None)

    def of_role(self, *roles: Role) -> list[Column]:
        """Columns of some roles."""
        return [column for column in self.columns if column.role in roles]

    @cached_property
    def axes(self) -> tuple[Column, ...]:
        """Settings in which points differ, each independent of the others."""
        return tuple(c for c in self.of_role("design", "workload", "run") if c.varied and not c.implied)

    @cached_property
    def done(self) -> tuple[int, ...]:
        """Numbers of the points that have a result and keep the constraints."""
        return self.in_state("done")

    @property
    def total(self) -> int:
        """Number of all points, shown or not."""
        return self.census.total if self.census else len(self)

    def tally(self, state: State) -> int:
        """Number of all points of a state, shown or not."""
        return self.census.states[state] if self.census else len(self.in_state(state))

    def in_state(self, state: State) -> tuple[int, ...]:
        """Numbers of the points of a state."""
        return tuple(i for i, each in enumerate(self.states) if each == state)

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Why points failed, or which constraints they break."""
        failed = {i: self.rows[i].outcome.error or "no reason stored" for i in self.in_state("failed")}
        return failed | {i: self._broken(i) for i in self.in_state("infeasible")}

    def _broken(self, point: int) -> str:
        row = self.rows[point]
        broken = self.goals.broken(row.study, row.outcome.metrics)
        return "; ".join(f"not {each}: {number(_known(row.outcome.metrics.get(each.metric)))}" for each in broken)

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """The command that reproduces each point."""
        return tuple(command_of(row.point) for row in self.rows)

    @cached_property
    def objectives(self) -> tuple[Column, ...]:
        """What the study wants, else numeric metrics with a goal that do not repeat another in another unit.

        Families whose metrics are many say themselves which of them matter.
        """
        wanted = [self.column(objective.metric) for objective in self.goals.objectives]
        if wanted and all(column is not None and column.numeric for column in wanted):
            return tuple(column for column in wanted if column is not None)
        usual = {family.objectives if family else () for family in self._family_of.values()}
        offered = [self.column(name) for name in usual.pop()] if len(usual) == 1 else []
        chosen: list[Column] = []
        for column in [column for column in offered if column is not None] or self.of_role("metric"):
            if column.name == "cycles" and self.column("chip"):
                continue  # of clocks that differ
            if column.goal and column.numeric and not proportional(column, chosen):
                chosen.append(column)
        return tuple(chosen)

    # --- workloads --------------------------------------------------------------------------------------

    @cached_property
    def workload_labels(self) -> tuple[str, ...]:
        """A name for each different workload, by the settings in which they differ."""
        return tuple(self._workloads)

    @cached_property
    def workload_of(self) -> tuple[int, ...]:
        """Index in `workload_labels` of each point."""
        numbers = {label: i for i, label in enumerate(self._workloads)}
        return tuple(numbers[name] for name in self._workload_names)

    @cached_property
    def mixed_layers(self) -> dict[int, tuple[str, ...]]:
        """Numbers of layers that metrics of one workload are of, and whose; empty where points agree in them.

        Some algorithms run one layer of a model, others all of them: their times, bytes and energies do not compare.
        """
        mixed = {i: layers for layers in self._layers.values() if len(set(layers.values())) > 1 for i in layers}
        found: dict[int, dict[str, None]] = defaultdict(dict)
        for point in mixed:
            found[mixed[point][point]][self.rows[point].point.algorithm] = None
        return {layers: tuple(found[layers]) for layers in sorted(found)}

    @cached_property
    def _layers(self) -> dict[str, dict[int, int]]:
        """Layers that the metrics of points are of, by the settings of their workload."""
        # some algorithms have a parameter of that name, too
        column = next((column for column in self.of_role("metric") if column.name == "layers"), None)
        found: dict[str, dict[int, int]] = defaultdict(dict)
        for i, layers in enumerate(column.values if column else ()):
            if isinstance(layers, int):
                found[self.label(i, "workload")][i] = layers
        return found

    @cached_property
    def _workload_names(self) -> tuple[str, ...]:
        """The workload of each point; layers are part of it where points differ in nothing else but them."""
        names = [self.label(i, "workload") for i in range(len(self))]
        for name, layers in self._layers.items():
            if len(set(layers.values())) > 1:
                for i, many in layers.items():
                    names[i] = ", ".join(filter(None, (name, count(many, "layer"))))
        return tuple(names)

    @cached_property
    def _workloads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._workload_names))

    def label(self, point: int, *roles: Role) -> str:
        """The settings of a point that vary, in words; all roles but seeds and metrics if none are given."""
        wanted = roles or ("design", "workload", "run")
        parts = [_setting(column, column.values[point]) for column in self.axes if column.role in wanted]
        return ", ".join(part for part in parts if part)

    # --- the best ---------------------------------------------------------------------------------------

    @cached_property
    def front(self) -> tuple[bool, ...]:
        """Whether each point is on the Pareto front of all objectives, among the points of its workload.

        Members of the front that another one all but equals everywhere, and clearly beats somewhere, are left out.
        """
        marked = np.zeros(len(self), dtype=bool)
        if not self.objectives:  # the metrics of the study may all be gone, or no numbers
            return tuple(bool(mark) for mark in marked)
        members = defaultdict(list)
        for i in self.done:
            if all(column.values[i] is not None for column in self.objectives):
                members[self.workload_of[i]].append(i)
        for numbers in members.values():
            costs = [[_cost(column, i) for column in self.objectives] for i in numbers]
            marked[numbers] = clear_front(np.array(costs, dtype=float).reshape(len(numbers), -1), self.goals.tolerance)
        return tuple(bool(mark) for mark in marked)

    @cached_property
    def best(self) -> tuple[Best, ...]:
        """The best design by every objective."""
        found = (self._best_by(objective) for objective in self.objectives)
        return tuple(best for best in found if best is not None)

    @cached_property
    def slowest(self) -> int | None:
        """The point that is worst by the first objective on the largest workload; the cheapest of several."""
        if not self.best:
            return None
        objective, others = self.objectives[0], self.objectives[1:]
        rivals = [i for i in self.done if self.workload_of[i] == self._largest_workload]
        rivals = [i for i in rivals if objective.values[i] is not None]
        return min(rivals, key=lambda i: (-_cost(objective, i), self._costs(others, i), i))

    @cached_property
    def knee(self) -> int | None:
        """The point of the front that gives up least in all objectives together, on the largest workload.

        Each objective is scaled from its best (0) to its worst (1) value on the front; the sum is least at the point
        that lies farthest from the plane through the ends of the front (Das, Structural Optimization 18, 1999,
        doi:10.1007/BF01195985). None where the front has no point between its ends, or all of it lies beyond the plane.
        """
        front = [i for i in self.done if self.front[i] and self.workload_of[i] == self._largest_workload]
        if len(self.objectives) < 2 or len(front) < 3:
            return None
        costs = np.array([self._costs(self.objectives, i) for i in front])
        least, extent = costs.min(axis=0), np.ptp(costs, axis=0)
        scaled = ((costs - least) / np.where(extent > 0, extent, 1.0)).sum(axis=1)
        place = int(scaled.argmin())
        return front[place] if scaled[place] < 1 else None

    @cached_property
    def roles(self) -> dict[int, str]:
        """Why points are shown in detail to begin with, in words; the best, the knee and the slowest in this order."""
        told: dict[int, list[str]] = {}
        for best in self.best:
            extreme = "highest" if best.objective.goal == "max" else "lowest"
            told.setdefault(best.point, []).append(f"{extreme} {best.objective.spoken}")
        if self.knee is not None:
            told.setdefault(self.knee, []).append("knee of the front")
        if self.slowest is not None:
            objective = self.objectives[0]
            worst = "slowest" if objective.name in _TIMES else f"worst {objective.spoken}"
            told.setdefault(self.slowest, []).append(worst)
        return {point: ", ".join(texts) for point, texts in told.items()}

    @cached_property
    def selected_first(self) -> tuple[int, ...]:
        """The points that the page shows in detail to begin with: the best, the knee and, for contrast, the slowest."""
        runs = [i for i, state in enumerate(self.states) if state in ("done", "infeasible", "deadlock")]
        if len(runs) <= _FEW:
            return tuple(runs)
        return tuple(dict.fromkeys([*self.roles, *self.in_state("deadlock")[:1]]))[:_MOST_SHOWN]

    @cached_property
    def paths(self) -> dict[int, TracedPath]:
        """The critical path, or why there is none, of each point of `selected_first` whose family has paths."""
        tracer = Tracer()
        found = {i: tracer.trace(self.rows[i]) for i in self.selected_first}
        return {i: path for i, path in found.items() if path is not None}

    # --- families ---------------------------------------------------------------------------------------

    @cached_property
    def families(self) -> dict[str, Family]:
        """Families of the points by name, in order of appearance."""
        return {family.name: family for family in self._family_of.values()}

    @cached_property
    def _family_of(self) -> dict[str, Family]:
        """The family of each algorithm that is still registered: a store may outlive the plug-in that wrote it."""
        found: dict[str, Family] = {}
        for name in dict.fromkeys(row.point.algorithm for row in self.rows):
            with suppress(InputError):
                found[name] = family_of(name)
        return found

    def per_point(self, kind: type[D], made: Callable[[D], Iterable[T]]) -> list[list[T]]:
        """For each point what `made` makes of its detail, if that is of a kind; nothing for all others."""
        details = [row.outcome.detail for row in self.rows]
        return [list(made(detail)) if isinstance(detail, kind) else [] for detail in details]

    def binding(self, point: int) -> str:
        """What holds a design back, as a clause; empty where nothing is known of it."""
        row = self.rows[point]
        family, detail = self._family_of.get(row.point.algorithm), row.outcome.detail
        if family is None or not isinstance(detail, Detail):
            return ""
        return family.binding(detail, self.paths.get(point))

    def explainable(self, point: int) -> bool:
        """Whether the family of a point has explanations."""
        family = self._family_of.get(self.rows[point].point.algorithm)
        return family is not None and type(family).explain is not Family.explain

    def explain(self, point: int) -> Explanation | None:
        """What binds a point and what was tried to make it faster; raises as `Family.explain`."""
        family = self._family_of.get(self.rows[point].point.algorithm)
        return family.explain(self.rows[point].point) if family is not None else None

    def facts(self, point: int) -> Iterable[tuple[str, str]]:
        """Further facts of a design that its family tells."""
        row = self.rows[point]
        family, detail = self._family_of.get(row.point.algorithm), row.outcome.detail
        return family.facts(detail) if family is not None and isinstance(detail, Detail) else ()

    def estimate(self, point: int, metric: str) -> str:
        """What a metric of a point rests on that nobody has published; empty if it rests on nothing like that."""
        return self.estimates(point).get(metric, "")

    def estimates(self, point: int) -> Mapping[str, str]:
        """All metrics of a point that rest on something like that, each with what it is."""
        return self._estimates.get(point, {})

    @cached_property
    def _estimates(self) -> dict[int, Mapping[str, str]]:
        """Estimated metrics of the points that have any."""
        found: dict[int, Mapping[str, str]] = {}
        for i in self.done:
            family = self._family_of.get(self.rows[i].point.algorithm)
            estimated = family.estimates(self.rows[i].point) if family is not None else {}
            if estimated:
                found[i] = estimated
        return found

    def best_published(self, best: Best) -> int | None:
        """The best point of the same workload whose value rests on no estimate; None if there is none, or `best` is it.

        Where all values are estimates, none of them is better founded than another: None.
        """
        name, workload = best.objective.name, self.workload_of[best.point]
        if not self.estimate(best.point, name):
            return None
        rivals = [
            i
            for i in self.done
            if self.workload_of[i] == workload and best.objective.values[i] is not None and not self.estimate(i, name)
        ]
        others = [other for other in self.objectives if other is not best.objective]
        return min(rivals, key=lambda i: (_cost(best.objective, i), self._costs(others, i), i), default=None)

    def _best_by(self, objective: Column) -> Best | None:
        winners = self._winners(objective)
        if not winners:
            return None
        wins = Counter(design for tied in winners.values() for design in {self.label(i, "design") for i in tied})
        largest = winners.get(self._largest_workload) or next(iter(winners.values()))
        others = [other for other in self.objectives if other is not objective]
        point = min(
            largest, key=lambda i: (-wins[self.label(i, "design")], self._costs(others, i), _cost(objective, i), i)
        )
        ties = self.census.ties.get(objective.name, len(largest)) if self.census else len(largest)
        return Best(objective, point, ties, wins[self.label(point, "design")], len(winners))

    @cached_property
    def _largest_workload(self) -> int:
        """The workload whose best value by the first objective is worst."""
        objective = self.objectives[0]
        winners = self._winners(objective)
        return max(winners, key=lambda workload: abs(_cost(objective, winners[workload][0])))

    def _winners(self, objective: Column) -> dict[int, list[int]]:
        """The best points of each workload that has any, those within the tolerance among them."""
        members: dict[int, list[int]] = defaultdict(list)
        for i in self.done:
            if objective.values[i] is not None:
                members[self.workload_of[i]].append(i)
        winners: dict[int, list[int]] = {}
        for workload, rivals in members.items():
            least = min(_cost(objective, i) for i in rivals)
            limit = least + self.goals.tolerance * abs(least)
            winners[workload] = [i for i in rivals if _cost(objective, i) <= limit]
        return winners

    def _costs(self, objectives: Sequence[Column], point: int) -> tuple[float, ...]:
        return tuple(
            _cost(column, point) if column.values[point] is not None else float("inf") for column in objectives
        )


def _shared(rows: Sequence[Row], goals: Goals | None) -> list[list[int]]:
    """Numbers of rows, those together that are one point of several studies and mean the same to each of them."""
    found: dict[tuple[str, State], list[int]] = {}
    alone: list[list[int]] = []
    for i, row in enumerate(rows):
        members = found.setdefault((row.outcome.key, state_of(row, goals)), [])
        if any(rows[j].study == row.study for j in members):
            alone.append([i])
        else:
            members.append(i)
    return sorted([*found.values(), *alone])


def _known(value: object) -> Scalar:
    return value if isinstance(value, str | int | float) else None


def _cost(column: Column, point: int) -> float:
    """Value of an objective, turned so that less is better."""
    value = column.values[point]
    if not isinstance(value, int | float):
        raise TypeError(f"{column.name} of point {point} is no number")
    return -float(value) if column.goal == "max" else float(value)


def _setting(column: Column, value: Scalar) -> str:
    """A setting in a label; what a name alone makes clear goes without the name of the column."""
    if value is None or value == "":
        return ""
    shown = AUTO if column.automatic and value == 0 else setting(value, column.unit)
    return shown if column.name in _NAMES_ALONE else f"{column.name} {shown}"
