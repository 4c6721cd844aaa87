"""Confirms the best designs of a study: they are evaluated again with the main memory in more detail.

The front of a study that was swept or searched with a cheap model of the memory is evaluated once more with a better
one, and with it a sample of other designs, so that the order of designs under both models can be compared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from algorithms.chip.timing.fidelity import MemoryFidelity
from hwmodels.reading.errors import InputError, Problem
from studies.families.attempt import attempt
from studies.points.outcome import Outcome, Row
from studies.points.point import DesignPoint, Json
from studies.running.progress import Progress
from studies.running.runner import Evaluate, OpenExecutor, open_processes, run_points
from studies.search.pareto import Costs
from studies.search.search import costs_of, front_of
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.goals import Goals, Objective

SAMPLE = 24
"""Designs beside the front, evenly spaced by the first objective."""


@dataclass(frozen=True)
class Agreement:
    """How two fidelities agree in one objective.

    Parameters
    ----------
    rank_correlation
        Spearman's, over all designs that have a result in both; None if it is not defined.
    largest_change_pct, mean_change_pct
        Of the confirmed value from the screened one, without sign.
    """

    metric: str
    rank_correlation: float | None
    largest_change_pct: float
    mean_change_pct: float


@dataclass(frozen=True)
class Confirmation:
    """The front of a study under a better model of the memory.

    Parameters
    ----------
    study, store
        Name under which the store has the confirmed points, and its file.
    screened, confirmed
        The two fidelities.
    front, sample
        Designs of the screened front, and others.
    kept
        Keys (as screened) of front designs that are on the front of the confirmed ones, too.
    agreements
        By objective.
    """

    study: str
    store: str
    screened: str
    confirmed: str
    front: int
    sample: int
    kept: tuple[str, ...]
    agreements: tuple[Agreement, ...]

    def describe(self) -> dict[str, Json]:
        """As plain JSON values."""
        return {**asdict(self), "kept": list(self.kept), "agreements": [asdict(each) for each in self.agreements]}


def confirm_front(
    store_path: Path | str,
    study: str,
    fidelity: MemoryFidelity,
    *,
    workers: int,
    quiet: bool = False,
    evaluate: Evaluate = attempt,
    open_executor: OpenExecutor = open_processes,
) -> Confirmation:
    """Evaluate the front of `study` again with another fidelity of the main memory.

    Raises
    ------
    InputError
        No such study, no objectives, no front, or designs that do not run on a chip.
    """
    with Store(store_path, write=True) as store:
        told = store.description(study)
        rows = [row for row in store.rows(study) if row.outcome.status == "done"]
        goals = Goals.of({study: told})
        if not goals.objectives:
            raise InputError(Problem(f"{study} says no objectives", str(store_path)))
        pairs = [(row, _at(row.point, fidelity)) for row in _chosen(rows, goals, study)]
        name = f"{study}/{fidelity}"
        described = {**told, "name": name, "title": f"{told.get('title') or study}, confirmed with memory {fidelity}"}
        keys = store.enter_grid(name, [point for _, point in pairs], described)
        known = store.outcomes(keys)
        pending = [point for key, (_, point) in zip(keys, pairs, strict=True) if key not in known]
        run = store.begin_run(provenance(described))
        with Progress(len(pending), quiet=quiet) as progress:
            run_points(
                pending,
                evaluate,
                lambda outcomes: store.record(run, outcomes),
                workers=workers,
                open_executor=open_executor,
                observer=progress,
            )
        again = store.outcomes(keys)
    return _compare(name, str(store_path), fidelity, goals, pairs, [again[key] for key in keys])


def _chosen(rows: Sequence[Row], goals: Goals, study: str) -> list[Row]:
    """The front, then a sample of the other feasible designs."""
    feasible = {row.outcome.key: row for row in rows if not goals.broken(study, row.outcome.metrics)}
    front = front_of(goals.objectives, (), [row.outcome for row in feasible.values()])
    if not front:
        raise InputError(Problem(f"{study} has no design with a result that keeps the constraints"))
    first = goals.objectives[0]
    rest = [row for key, row in feasible.items() if key not in set(front)]
    rest.sort(key=lambda row: first.cost(row.outcome.metrics) or 0.0)
    places = np.unique(np.linspace(0, len(rest) - 1, min(SAMPLE, len(rest))).round().astype(int)).tolist()
    return [feasible[key] for key in front] + [rest[i] for i in places]


def _at(point: DesignPoint, fidelity: MemoryFidelity) -> DesignPoint:
    if "memory" not in point.keyed:
        raise InputError(Problem(f"{point.algorithm} runs on no chip: there is no other model of its memory"))
    return dataclasses.replace(point, chip=dataclasses.replace(point.on_chip, memory=fidelity))


def _compare(
    name: str,
    store: str,
    fidelity: str,
    goals: Goals,
    pairs: Sequence[tuple[Row, DesignPoint]],
    again: Sequence[Outcome],
) -> Confirmation:
    before = [row.outcome for row, _ in pairs]
    front = set(front_of(goals.objectives, (), before))
    confirmed = set(front_of(goals.objectives, (), again))
    kept = [one.key for one, other in zip(before, again, strict=True) if one.key in front and other.key in confirmed]
    both = [
        (costs_of(goals.objectives, one), costs_of(goals.objectives, other))
        for one, other in zip(before, again, strict=True)
    ]
    costs = np.array([(a, b) for a, b in both if a is not None and b is not None], dtype=float)
    return Confirmation(
        study=name,
        store=store,
        screened=pairs[0][0].point.on_chip.memory,
        confirmed=fidelity,
        front=len(front),
        sample=len(pairs) - len(front),
        kept=tuple(kept),
        agreements=tuple(_agreement(each, costs[:, :, i]) for i, each in enumerate(goals.objectives) if len(costs)),
    )


def _agreement(objective: Objective, costs: Costs) -> Agreement:
    """Agreement of two columns: costs as screened, and as confirmed."""
    screened, confirmed = costs[:, 0], costs[:, 1]
    scale = np.where(screened == 0, 1.0, np.abs(screened))
    changes = 100 * np.abs(confirmed - screened) / scale
    return Agreement(
        objective.metric, rank_correlation(screened, confirmed), float(changes.max()), float(changes.mean())
    )


def rank_correlation(a: Costs, b: Costs) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None if one of them is constant.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    ranks = [_ranks(values) for values in (a, b)]
    spread = [float(((each - each.mean()) ** 2).sum()) for each in ranks]
    if not all(spread):
        return None
    together = float(((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).sum())
    return together / math.sqrt(spread[0] * spread[1])


def _ranks(values: Costs) -> Costs:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]
