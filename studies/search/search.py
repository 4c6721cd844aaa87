"""A search: a sampler proposes designs of a study, the best of which are wanted, and learns from their results.

Results are stored under the same keys as those of a sweep: neither evaluates again what the other has. A search is
decided by its sampler, its seed and the results alone; the same command therefore proposes the same designs again,
finds their results in the store, and goes on where it was stopped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hwmodels.reading.errors import InputError, Problem
from studies.families.attempt import attempt
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint, Json
from studies.running.limits import Limits
from studies.running.progress import Progress
from studies.running.runner import Evaluate, OpenExecutor, Runner, open_processes
from studies.search.pareto import non_dominated
from studies.search.samplers import INFEASIBLE, Proposes, Verdict
from studies.search.strategies import find_strategy
from studies.store.provenance import provenance
from studies.store.store import Store
from studies.study.axes import Choice
from studies.study.goals import Constraint, Objective
from studies.study.question import Question

MOST_PROPOSALS = 4
"""A search gives up after this many proposals per evaluation: the sampler then only repeats itself."""


@dataclass(frozen=True)
class SearchSummary:
    """What a search found.

    Parameters
    ----------
    study, store, title
        Name under which the store has its points, its file, and what reports call it.
    sampler, seed
        Of the search.
    space
        Designs there were to choose from.
    proposals
        Designs that the sampler proposed, repetitions counted.
    points
        Different designs among them.
    evaluated, reused
        Points evaluated by this call, and points whose results the store had.
    failed, infeasible
        Points that failed or deadlock, and points with a result that break a constraint.
    front
        Keys of the feasible designs that no other one beats, in the order of the first objective.
    wall_s, points_per_s
        Of this call.
    value_passes_reused
        Share of value passes that were taken from an earlier point of this call; None if there were none.
    """

    study: str
    store: str
    title: str
    sampler: str
    seed: int
    space: int
    proposals: int
    points: int
    evaluated: int
    reused: int
    failed: int
    infeasible: int
    front: tuple[str, ...]
    wall_s: float
    points_per_s: float
    value_passes_reused: float | None

    def describe(self) -> dict[str, Json]:
        """As plain JSON values."""
        return {**asdict(self), "front": list(self.front)}


def run_search(
    study: Question,
    store_path: Path | str,
    *,
    sampler: str,
    evaluations: int,
    seed: int = 0,
    workers: int,
    quiet: bool = False,
    evaluate: Evaluate = attempt,
    open_executor: OpenExecutor = open_processes,
    limits: Limits | None = None,
) -> SearchSummary:
    """Look for the best designs of `study` with at most `evaluations` different designs.

    Parameters
    ----------
    store_path
        SQLite file; created when missing.
    sampler, seed
        One of `studies.search.strategies.STRATEGIES`, and where its random numbers start.
    workers, quiet, evaluate, open_executor, limits
        As for `studies.search.sweep.run_sweep`; they do not change what is found.

    Raises
    ------
    InputError
        Unknown sampler, a study without objectives, or a store that cannot be used.
    """
    strategy = find_strategy(sampler)
    if not study.objectives:
        raise InputError(Problem("says no objectives to search for: add, for example, 'objectives: [cycles]'"))
    if evaluations < 1:
        raise InputError(Problem(f"must be at least 1 (got {evaluations})", field="--evaluations"))
    started = time.monotonic()
    name = f"{study.name}/{sampler}-{seed}"
    title = _title(study, evaluations, sampler, seed)
    told: Mapping[str, Json] = {"sampler": sampler, "seed": seed, "evaluations": evaluations}
    description = {**study.describe(), "name": name, "title": title, "search": told}
    wanted = min(evaluations, study.space.size)
    proposer = strategy.open(study, seed, evaluations)
    with (
        Store(store_path, write=True) as store,
        Progress(wanted, quiet=quiet) as progress,
        Runner(evaluate, workers=workers, open_executor=open_executor, limits=limits) as runner,
    ):
        store.describe_study(name, description)
        loop = _Search(study, store, name, proposer, runner, progress, store.begin_run(provenance(description)))
        proposals = loop.until(wanted)
        title = _title(study, len(loop.found), sampler, seed)  # what it was allowed may not be what there was to find
        store.describe_study(name, {**description, "title": title}, length=len(loop.found))
    states = Counter(_state(study.constraints, outcome) for outcome in loop.found.values())
    return SearchSummary(
        study=name,
        store=str(store_path),
        title=title,
        sampler=sampler,
        seed=seed,
        space=study.space.size,
        proposals=proposals,
        points=len(loop.found),
        evaluated=loop.evaluated,
        reused=len(loop.found) - loop.evaluated,
        failed=states["failed"],
        infeasible=states["infeasible"],
        front=tuple(front_of(study.objectives, study.constraints, loop.found.values())),
        wall_s=time.monotonic() - started,
        points_per_s=loop.evaluated / max(progress.elapsed_s, 1e-9),
        value_passes_reused=progress.value_passes_reused,
    )


def _title(study: Question, evaluations: int, sampler: str, seed: int) -> str:
    return f"{study.title or study.name}: {evaluations} evaluations by {sampler}, seed {seed}"


@dataclass
class _Search:
    """The loop: ask for a batch, have what is new evaluated, tell."""

    study: Question
    store: Store
    name: str
    proposer: Proposes
    runner: Runner
    progress: Progress
    run: int
    evaluated: int = 0

    def __post_init__(self) -> None:
        self.found: dict[str, Outcome] = {}

    def until(self, wanted: int) -> int:
        """Search until that many designs have been looked at; returns the number of proposals."""
        proposals = 0
        while len(self.found) < wanted and proposals < MOST_PROPOSALS * max(wanted, self.proposer.batch):
            batch = self.proposer.ask()
            if not batch:
                break
            proposals += len(batch)
            points = [self._point(choice) for _, choice in batch]
            self._look_at([point for point in points if point is not None], wanted)
            for (trial, _), point in zip(batch, points, strict=True):
                outcome = self.found.get(point.key) if point is not None else None
                self.proposer.tell(trial, self._verdict(outcome))
        return proposals

    def _point(self, choice: Choice) -> DesignPoint | None:
        """The design of a choice; None where its values do not fit together."""
        try:
            return self.study.point(choice)
        except InputError:
            return None

    def _look_at(self, points: Sequence[DesignPoint], wanted: int) -> None:
        """Get the outcomes of designs that are new, from the store or by evaluation, but never more than wanted."""
        new = {point.key: point for point in points if point.key not in self.found}
        chosen = list(new.items())[: wanted - len(self.found)]
        self.store.extend_grid(self.name, len(self.found), [point for _, point in chosen])
        known = self.store.outcomes([key for key, _ in chosen])
        fresh: dict[str, Outcome] = {}

        def record(outcomes: Sequence[Outcome]) -> None:
            self.store.record(self.run, outcomes)
            fresh.update((outcome.key, outcome) for outcome in outcomes)

        self.progress.advance(list(known.values()))
        self.runner.run([point for key, point in chosen if key not in known], record, self.progress)
        self.evaluated += len(fresh)
        self.found.update((key, known.get(key) or fresh[key]) for key, _ in chosen)

    def _verdict(self, outcome: Outcome | None) -> Verdict:
        """What the sampler learns; nothing but that it was no good about a design without result."""
        costs = costs_of(self.study.objectives, outcome) if outcome is not None else None
        if outcome is None or costs is None:
            return Verdict(None)
        violations = tuple(each.violation(outcome.metrics) for each in self.study.constraints)
        return Verdict(costs, violations, outcome.metrics)


def costs_of(objectives: Sequence[Objective], outcome: Outcome) -> tuple[float, ...] | None:
    """Costs of a design, less is better; None where it has no result, deadlocks, or lacks a metric."""
    if outcome.status != "done" or outcome.metrics.get("deadlock"):
        return None
    costs = [objective.cost(outcome.metrics) for objective in objectives]
    known = [cost for cost in costs if cost is not None and abs(cost) < INFEASIBLE]
    return tuple(known) if len(known) == len(objectives) else None


def front_of(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], outcomes: Iterable[Outcome]
) -> list[str]:
    """Keys of the feasible designs that no other one beats, in the order of the first objective."""
    costs: dict[str, tuple[float, ...]] = {}
    for outcome in outcomes:
        cost = costs_of(objectives, outcome)
        if cost is not None and all(constraint.keeps(outcome.metrics) for constraint in constraints):
            costs[outcome.key] = cost
    if not costs:
        return []
    marks = non_dominated(np.array(list(costs.values())))
    return sorted((key for key, mark in zip(costs, marks, strict=True) if mark), key=lambda key: costs[key])


def _state(constraints: Sequence[Constraint], outcome: Outcome) -> str:
    if outcome.status != "done" or outcome.metrics.get("deadlock"):
        return "failed"
    return "done" if all(constraint.keeps(outcome.metrics) for constraint in constraints) else "infeasible"
