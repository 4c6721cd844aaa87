"""Design points as a table: one column per setting and per metric, each with its unit and meaning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

from algorithms.figures import Goal
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from studies.families.metrics import metrics_of
from studies.families.naming import display_name, is_share, spoken
from studies.points.find import find_algorithm
from studies.points.knobs import AUTO, USE_KNOBS, WORKLOAD_KNOBS, Knob, parameter_knobs
from studies.points.outcome import Row
from studies.points.point import ChipSetting, DesignPoint, Scalar
from studies.study.goals import Goals
from studies.words import number, percent, quantity

Role = Literal["workload", "design", "run", "metric"]
State = Literal["done", "infeasible", "deadlock", "failed", "pending"]
Settings = dict[str, tuple[Role, Scalar]]
"""Settings by name, with their roles."""

_CLOCK = "clock"
_RUN_FIELDS = ("seed", "timing_only", "skip")
_UNSHOWN_FIELDS = ("layers", "hidden", "source", "citations")
_MINOR_METRICS = ("deadlock", "schedule_digest", "wall_s", "compile_s", "firings", "error.max_abs", "seconds")
_MERGED = (("kv_len", "q_len", "seq_len"), ("head_dim", "v_head_dim", "head_dim"))
"""Two settings that become one column where all points agree in them, and the name of that column."""


@dataclass(frozen=True)
class Column:
    """One setting or metric of all points.

    Parameters
    ----------
    name
        What the page calls it; unique.
    role
        What it belongs to: ``workload`` (what attends), ``design`` (algorithm and parameters), ``run`` (engine,
        clock, seed: how it was computed), ``metric`` (what came out).
    values
        One per point; None where it does not apply, or did not come out.
    varied
        Whether points differ in it; a parameter that only some algorithms have counts where it applies.
    unit, meaning
        For people; may be empty.
    goal
        Which way is better.
    static
        Holds for a design that deadlocks, too.
    implied
        Follows from another setting in which points differ, so that it is no axis of its own.
    minor
        Left out of the table until asked for.
    title
        What people read in place of the name; settings are read as they are typed.
    share
        A part of a whole, read in per cent.
    automatic
        A value of 0 leaves it to the algorithm, and is read ``auto``.
    """

    name: str
    role: Role
    values: tuple[Scalar, ...]
    varied: bool
    unit: str = ""
    meaning: str = ""
    goal: Goal | None = None
    static: bool = False
    implied: bool = False
    minor: bool = False
    title: str = ""
    share: bool = False
    automatic: bool = False

    @property
    def shown(self) -> str:
        """What people read."""
        return self.title or self.name

    @property
    def spoken(self) -> str:
        """The same inside a sentence."""
        return spoken(self.title) if self.title else self.name

    def words(self, value: Scalar) -> str:
        """A value with its unit, as people read it."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return number(value)
        if self.automatic and value == 0:
            return AUTO
        return percent(value) if self.share and 0 <= value <= 1 else quantity(value, self.unit)

    @cached_property
    def distinct(self) -> tuple[Scalar, ...]:
        """Different values in order of appearance, None left out."""
        return tuple(dict.fromkeys(value for value in self.values if value is not None))

    @cached_property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return bool(self.distinct) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.distinct
        )


def state_of(row: Row, goals: Goals | None = None) -> State:
    """What became of a point: for the store all is done that has a result, but not every design is one to choose."""
    if row.outcome.status != "done":
        return row.outcome.status
    if row.outcome.metrics.get("deadlock"):
        return "deadlock"
    return "infeasible" if goals and goals.broken(row.study, row.outcome.metrics) else "done"


def flat_settings(point: DesignPoint, chips: dict[int, Settings] | None = None) -> Settings:
    """Every setting of `point` by name, with its role; a parameter named like a workload's field gets a prefix.

    Parameters
    ----------
    chips
        What is known of the chips of other points, by identity: points of a grid share theirs.
    """
    flat: Settings = {"algorithm": ("design", point.algorithm)}
    workload, setting = point.workload, point.chip
    if workload:
        flat |= _of_workload(workload)
        flat["tensors"] = ("workload", point.tensors.path if point.tensors else None)
    for name, value in point.parameters:
        flat[f"parameters.{name}" if name in flat else name] = ("design", value)
    if setting:
        known = chips if chips is not None else {}
        flat |= known.get(id(setting)) or known.setdefault(id(setting), _of_chip(setting))
    if workload:
        run = {"engine": point.engine, _CLOCK: point.clock_hz, "timing_only": point.timing_only, "skip": point.skip}
        flat |= {name: ("run", value) for name, value in run.items()}
    return flat


def _of_workload(workload: Workload) -> Settings:
    flat: Settings = {"workload": ("workload", workload.name)}
    for field in fields(Workload):
        if field.name not in ("name", *_UNSHOWN_FIELDS):
            value = getattr(workload, field.name)
            known = value is None or isinstance(value, str | int | float)
            text = value if known else json.dumps(vars(value), sort_keys=True)
            flat[field.name] = ("run" if field.name in _RUN_FIELDS else "workload", text)
    return flat


def _of_chip(setting: ChipSetting) -> Settings:
    flat: Settings = {"chip": ("design", setting.accelerator.name)}
    numbers = setting.accelerator.values()
    for path, text in setting.accelerator.changes:
        flat[f"chip.{path}"] = ("design", numbers.get(path, text))
    flat["mapping"] = ("run", setting.mapping)
    flat["memory"] = ("run", setting.memory)
    flat["kernel"] = ("design", setting.profile.name if setting.profile else None)
    return flat


def setting_columns(rows: Sequence[Row], studies: Sequence[str]) -> list[Column]:
    """Columns of all settings, and of the studies of rows; lengths and widths that always agree share one column."""
    if not rows:
        return []
    chips: dict[int, Settings] = {}
    flat = [flat_settings(row.point, chips) for row in rows]
    roles: dict[str, Role] = {name: role for each in flat for name, (role, _) in each.items()}
    values = {name: tuple(each[name][1] if name in each else None for each in flat) for name in roles}
    varied = {name: len({each[name][1] for each in flat if name in each}) > 1 for name in roles}
    for kept, dropped, merged in _MERGED:
        if kept in values and values[kept] == values[dropped]:
            del values[dropped]
            values = {merged if name == kept else name: column for name, column in values.items()}
            roles[merged], varied[merged] = roles[kept], varied[kept]
    own = _own_knobs(rows)
    columns = []
    for name, column in values.items():
        knob = own.get(name) if roles[name] == "design" else _COMMON_KNOBS.get(name)
        unit, meaning = (knob.unit or "", knob.help) if knob else (_unit_in(name), "")
        decided = varied[name] and any(_decides(values[other], column) for other in _deciders(name, varied))
        automatic = knob is not None and knob.automatic
        told = Column(name, roles[name], column, varied[name], unit, meaning, implied=decided, minor=decided)
        columns.append(replace(told, automatic=automatic))
    if len(set(studies)) > 1:
        columns.insert(0, Column("study", "run", tuple(studies), varied=True, implied=True))
    return columns


def _deciders(name: str, varied: Mapping[str, bool]) -> list[str]:
    """Settings from which another may follow: a preset brings its shape along, an algorithm its defaults."""
    deciders = ["workload", "algorithm", "chip", *(("chip.clock_hz",) if name == _CLOCK else ())]
    return [other for other in deciders if other != name and varied.get(other)]


def _decides(decider: Sequence[Scalar], values: Sequence[Scalar]) -> bool:
    """Whether points that agree in one setting always agree in the other."""
    known: dict[Scalar, Scalar] = {}
    return all(known.setdefault(a, b) == b for a, b in zip(decider, values, strict=True))


def _unit_in(name: str) -> str:
    """The unit that the name of a field of a chip ends with."""
    if not name.startswith("chip."):
        return ""
    units = {"bytes_per_second": "B/s", "_bytes": "B", "_hz": "Hz", "_mm2": "mm2", "_w": "W", "_s": "s"}
    return next((unit for ending, unit in units.items() if name.endswith(ending)), "")


_COMMON_KNOBS = WORKLOAD_KNOBS | USE_KNOBS
"""Knobs of what attends and of how it is run, which are the same whatever the algorithm is."""


def _own_knobs(rows: Sequence[Row]) -> dict[str, Knob]:
    """Parameters of every algorithm that is still registered; of those with a name, the first one's."""
    knobs: dict[str, Knob] = {}
    for name in dict.fromkeys(row.point.algorithm for row in rows):
        try:
            knobs = parameter_knobs(find_algorithm(name)) | knobs
        except InputError:
            continue  # a store may outlive the plug-in that wrote it
    return knobs


def metric_columns(rows: Sequence[Row], states: Sequence[State], goals: Goals | None = None) -> list[Column]:
    """Columns of all metrics that any point has, the registered ones first; objectives have the goal of the study."""
    wanted = {objective.metric: objective.goal for objective in goals.objectives} if goals else {}
    registered = {metric.name: metric for metric in metrics_of(row.point.algorithm for row in rows)}
    present = dict.fromkeys(name for row in rows for name in row.outcome.metrics)
    names = [name for name in registered if name in present] + [name for name in present if name not in registered]
    columns = []
    for name in names:
        metric = registered.get(name)
        static = metric is not None and metric.static
        shown = ("done", "infeasible", "deadlock") if static else ("done", "infeasible")
        values = tuple(
            _scalar(row.outcome.metrics.get(name)) if state in shown else None
            for row, state in zip(rows, states, strict=True)
        )
        columns.append(
            Column(
                name=name,
                role="metric",
                values=values,
                varied=len(set(values)) > 1,
                unit=metric.unit if metric else "",
                meaning=metric.meaning if metric else "",
                goal=wanted.get(name) or (metric.goal if metric else None),
                static=static,
                minor=name in _MINOR_METRICS and name not in wanted,
                title=metric.shown if metric else display_name(name),
                share=metric.share if metric else is_share(name),
            )
        )
    return _told_apart([column for column in columns if column.distinct])


def _told_apart(columns: list[Column]) -> list[Column]:
    """Columns whose titles are different: where two metrics are called alike, their names are added."""
    counted = Counter(column.title for column in columns)
    return [
        replace(column, title=f"{column.title} ({column.name})") if counted[column.title] > 1 else column
        for column in columns
    ]


def _scalar(value: object) -> Scalar:
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def proportional(column: Column, others: Iterable[Column]) -> bool:
    """Whether a numeric column says the same as one of `others`, but for a factor."""
    return any(_factor(column, other) is not None for other in others)


def _factor(column: Column, other: Column) -> float | None:
    factor: float | None = None
    for a, b in zip(column.values, other.values, strict=True):
        if a is None and b is None:
            continue
        if not isinstance(a, int | float) or not isinstance(b, int | float) or not a or not b:
            return None
        factor = a / b if factor is None else factor
        if abs(a / b - factor) > 1e-9 * abs(factor):
            return None
    return factor
