"""The points of a page from a store: all rows of a small study, of a large one its front, a sample and a census."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np

from algorithms.workload.shape import Workload
from simulator.engines.progress import is_heard, report
from studies.points.outcome import Row
from studies.points.point import Json, Scalar
from studies.report.census import STATES, Arrays, AxisCodes, Census, Indices, Numbers, census_of
from studies.report.columns import Column, flat_settings
from studies.report.points import Points
from studies.store.store import Store
from studies.study.goals import Goals, Objective

MOST_WHOLE = 20_000
"""Points of a study up to which a page holds all of them."""
SAMPLE = 2_000
"""Points that a page about more of them shows."""
LOOKED_AT = 400
"""Points from which it is learnt what a large study varies and wants."""
MOST_VALUES = 1_000
"""Different values of an axis up to which effects are taken from all points."""
TOLD_EVERY = 500
_NAMED = {
    "algorithm": "$.algorithm",
    "workload": "$.workload.name",
    "tensors": "$.tensors.path",
    "chip": "$.chip.accelerator.name",
    "mapping": "$.chip.mapping",
    "memory": "$.chip.memory",
    "kernel": "$.chip.profile.name",
    "engine": "$.engine",
    "timing_only": "$.timing_only",
    "skip": "$.skip",
    "clock": "$.clock_hz",
    "seq_len": "$.workload.kv_len",
}
"""Where the descriptions of points have settings whose columns are called otherwise."""
_ATTENDING = frozenset(each.name for each in fields(Workload))


def read_points(
    store: Store,
    study: str | None = None,
    goals: Goals | None = None,
    validations: Sequence[Mapping[str, Json]] = (),
    *,
    most_whole: int = MOST_WHOLE,
    sample: int = SAMPLE,
) -> Points:
    """The points of `study`, or of all studies of a store, as a page shows them.

    Parameters
    ----------
    goals
        What the studies are after; what the store says of that if not given.
    validations
        As `studies.report.points.Points` has them.
    most_whole, sample
        Points of one study up to which all are there, and how many of a larger one are.

    Raises
    ------
    InputError
        As `Store.rows`.
    """
    studies = store.studies() if study is None else [study]
    chosen = goals or Goals.of({name: store.description(name) for name in studies})
    if len(studies) != 1 or store.size(studies[0]) <= most_whole:
        rows = _counted(store.rows(study), sum(map(store.size, studies)))
        return Points.of(rows, chosen, validations, distinct=True)
    census, objectives = _take(store, studies[0], chosen, sample)
    shown = store.rows(studies[0], census.shown)
    points = Points.of(shown, replace(chosen, objectives=objectives), validations)
    return replace(points, census=census)


Read = TypeVar("Read")


def _counted(rows: Iterable[Read], total: int) -> Iterator[Read]:
    """The same rows, whoever listens told now and then how many have been read."""
    for number, row in enumerate(rows):
        if number % TOLD_EVERY == 0 and is_heard():
            report("points read", number, total)
        yield row


@dataclass
class _Words:
    """Texts by number, in order of appearance, with the row where each came first."""

    numbers: dict[str, int] = field(default_factory=dict)
    firsts: list[int] = field(default_factory=list)

    def number(self, text: str, row: int) -> int:
        """The number of a text."""
        found = self.numbers.setdefault(text, len(self.firsts))
        if found == len(self.firsts):
            self.firsts.append(row)
        return found


def _take(store: Store, study: str, goals: Goals, sample: int) -> tuple[Census, tuple[Objective, ...]]:
    """The census of a study, and its objectives; rows go by one at a time, and leave some numbers in arrays."""
    size = store.size(study)
    drawn = np.random.default_rng(0).choice(size, min(size, LOOKED_AT), replace=False)
    seen = Points.of(store.rows(study, sorted(drawn.tolist())), goals)
    objectives = tuple(Objective(each.name, each.goal, each.unit) for each in seen.objectives if each.goal)
    axes = [axis for axis in seen.axes if axis.numeric or len(axis.distinct) <= MOST_VALUES]
    paths = [_path(axis) for axis in axes]
    constraints = goals.constraints.get(study, ())
    wanted = list(
        dict.fromkeys(
            [*(each.metric for each in objectives), *(each.metric for each in constraints), "deadlock", "layers"]
        )
    )
    positions, ranks, states, workloads, layers = array("q"), array("q"), array("b"), array("q"), array("d")
    values = [array("d") for _ in objectives]
    codes = [array("q") for _ in axes]
    words, attending = [_Words() for _ in axes], _Words()
    broken: Counter[str] = Counter()
    extracts = _counted(store.extracts(study, paths, wanted), size)
    for row, (position, key, status, workload, parts, told) in enumerate(extracts):
        metrics: dict[str, Scalar] = dict(zip(wanted, json.loads(told), strict=False))
        state = status if status != "done" else "deadlock" if metrics["deadlock"] else "done"
        beyond = goals.broken(study, metrics) if state == "done" else []
        broken.update(str(each) for each in beyond)
        positions.append(position)
        ranks.append(int(key[:15], 16))
        states.append(STATES.index("infeasible" if beyond else state))
        workloads.append(attending.number(workload, row))
        layers.append(_known(metrics["layers"]) if state == "done" else np.nan)
        for column, objective in zip(values, objectives, strict=True):
            column.append(_known(metrics[objective.metric]) if state == "done" else np.nan)
        for i, (axis, setting) in enumerate(zip(axes, json.loads(parts), strict=False)):
            codes[i].append(words[i].number(_text(axis, setting), row))
    where = np.asarray(positions, dtype=np.int64)
    coded = [
        _axis(store, study, axis, np.asarray(numbers, dtype=np.int64), where[known.firsts])
        for axis, numbers, known in zip(axes, codes, words, strict=True)
        if len(known.firsts) <= MOST_VALUES
    ]
    of_workload = _same_workloads(store, study, where[attending.firsts])[np.asarray(workloads, dtype=np.int64)]
    arrays = Arrays(
        positions=where,
        ranks=np.asarray(ranks, dtype=np.int64),
        states=np.asarray(states, dtype=np.int64),
        workloads=_with_layers(of_workload, np.asarray(layers)),
        objectives=objectives,
        values=np.array([np.asarray(column) for column in values]).reshape(len(objectives), len(where)),
        axes=tuple(coded),
        broken=dict(broken),
    )
    return census_of(arrays, goals.tolerance, sample), objectives


def _path(axis: Column) -> str:
    """Where the description of a point has a setting; changes of a chip stand together, `_text` finds one of them."""
    if axis.name in _NAMED:
        return _NAMED[axis.name]
    if axis.name.startswith("chip."):
        return "$.chip.accelerator.changes"
    if axis.role != "design" and axis.name in _ATTENDING:
        return f"$.workload.{json.dumps(axis.name)}"
    return f"$.parameters.{json.dumps(axis.name.removeprefix('parameters.'))}"


def _text(axis: Column, setting: Json) -> str:
    """A setting as a text that is the same wherever the setting is."""
    if axis.name.startswith("chip.") and isinstance(setting, list):
        return str([text for path, text in setting if f"chip.{path}" == axis.name])
    return setting if isinstance(setting, str) else json.dumps(setting)


def _known(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _axis(store: Store, study: str, axis: Column, codes: Indices, firsts: Indices) -> AxisCodes:
    """An axis with its values as columns have them, from the first point of each."""
    name = "kv_len" if axis.name == "seq_len" else axis.name
    found = [flat_settings(row.point).get(name, ("design", None))[1] for row in _rows_at(store, study, firsts)]
    return AxisCodes(axis.name, axis.role == "workload", axis.numeric, codes, tuple(found))


def _rows_at(store: Store, study: str, positions: Iterable[int]) -> Iterator[Row]:
    return store.rows(study, [int(each) for each in positions])


def _same_workloads(store: Store, study: str, firsts: Indices) -> Indices:
    """A number for each described workload: the same for those that differ in what is no setting of a workload."""
    numbers: dict[tuple[tuple[str, Scalar], ...], int] = {}
    found = []
    for row in _rows_at(store, study, firsts):
        flat = flat_settings(row.point)
        settings = tuple((name, value) for name, (role, value) in flat.items() if role == "workload")
        found.append(numbers.setdefault(settings, len(numbers)))
    return np.array(found, dtype=np.int64)


def _with_layers(workloads: Indices, layers: Numbers) -> Indices:
    """Numbers of workloads that are apart where their metrics are of different numbers of layers."""
    told = np.where(np.isnan(layers), -1, layers).astype(np.int64)
    found = workloads.copy()
    for workload in np.unique(workloads):
        members = np.flatnonzero(workloads == workload)
        if len(np.unique(told[members][told[members] >= 0])) > 1:
            found[members] = workload + (told[members] + 1) * (workloads.max() + 1)
    _, first, codes = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]
