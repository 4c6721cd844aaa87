"""Who proposes designs to a search: optuna's samplers, asked in batches and told what came of it.

A batch has a fixed size, whatever the number of workers, so that a search proposes the same designs on any computer;
each sampler has a seed of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.points.point import Json, Scalar
from studies.study.axes import Axis, Choice, Space

if TYPE_CHECKING:
    import optuna

    from studies.api import Study

Proposal = TypeVar("Proposal")

INFEASIBLE = 1e300
"""Violation (and cost) of a design that has no result: larger than that of any that has one."""
_BATCH = 32
_TPE_BATCH = 8
_POPULATIONS = 8
_SMALLEST_POPULATION, _LARGEST_POPULATION = 8, 50


@dataclass(frozen=True)
class Verdict:
    """What became of a proposal: costs (less is better; None without result), violations of constraints, metrics."""

    costs: tuple[float, ...] | None
    violations: tuple[float, ...] = ()
    metrics: Mapping[str, Json] = field(default_factory=dict)


class Proposes(Protocol[Proposal]):
    """Who proposes designs: asked for a batch of them, and told what became of each before it is asked again."""

    batch: int

    def ask(self) -> list[tuple[Proposal, Choice]]:
        """A batch of proposals, each with what to call it in `tell`; empty when there is nothing more to propose."""

    def tell(self, proposal: Proposal, verdict: Verdict) -> None:
        """What became of a proposal."""


@dataclass(frozen=True)
class SamplerKind:
    """A sampler of optuna.

    Parameters
    ----------
    make
        The sampler for a seed and a number of evaluations.
    batch
        Proposals per round for a number of evaluations.
    """

    make: Callable[[int, int], optuna.samplers.BaseSampler]
    batch: Callable[[int], int]

    def __call__(self, study: Study, seed: int, evaluations: int) -> Proposer:
        """The sampler over the space of a study."""
        return Proposer(study.space, len(study.objectives), self, seed, evaluations)


@dataclass(frozen=True)
class Strategy:
    """A way to search.

    Parameters
    ----------
    name
        As on the command line.
    summary
        One line.
    open
        Begins a search of a study, for a seed and a number of evaluations.
    """

    name: str
    summary: str
    open: Callable[[Study, int, int], Proposes]


def population(evaluations: int) -> int:
    """Designs of a generation: about `_POPULATIONS` generations, none too small or too large."""
    return min(max(evaluations // _POPULATIONS, _SMALLEST_POPULATION), _LARGEST_POPULATION)


def _nsga2(seed: int, evaluations: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=population(evaluations), seed=seed)


def _tpe(seed: int, evaluations: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=max(_TPE_BATCH, evaluations // 10), constant_liar=True)


def _qmc(seed: int, evaluations: int) -> optuna.samplers.BaseSampler:
    from studies.search.halton import HaltonSampler

    del evaluations
    return HaltonSampler(seed)


def _random(seed: int, evaluations: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import RandomSampler

    del evaluations
    return RandomSampler(seed=seed)


def _two_stage(study: Study, seed: int, evaluations: int) -> Proposes:
    from studies.search.two_stage import TwoStage

    return TwoStage(study, seed, evaluations)


NSGA2 = SamplerKind(_nsga2, population)
STRATEGIES = {
    each.name: each
    for each in (
        Strategy("nsga2", "evolution towards the front (NSGA-II)", NSGA2),
        Strategy("tpe", "densities of good and bad designs (TPE)", SamplerKind(_tpe, lambda evaluations: _TPE_BATCH)),
        Strategy("qmc", "even coverage (scrambled Halton sequence)", SamplerKind(_qmc, lambda evaluations: _BATCH)),
        Strategy("random", "independent draws", SamplerKind(_random, lambda evaluations: _BATCH)),
        Strategy("two_stage", "two blocks that share a budget, one after the other (UbiMoE)", _two_stage),
    )
}


def find_strategy(name: str) -> Strategy:
    """The strategy called `name`; raises InputError with the nearest name."""
    if name not in STRATEGIES:
        raise InputError(
            Problem(f"no sampler is called {name!r}", field="--sampler", hint=did_you_mean(name, STRATEGIES))
        )
    return STRATEGIES[name]


class Proposer:
    """Proposes choices of a space and learns from verdicts.

    Parameters
    ----------
    space
        What to choose from. Axes that hold under a condition are always proposed and left out where they do not
        hold: samplers work best on a space that keeps its shape.
    objectives
        Number of costs.
    kind, seed, evaluations
        The sampler, and what it is made for.
    """

    def __init__(self, space: Space, objectives: int, kind: SamplerKind, seed: int, evaluations: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in a notebook, its progress bars ask for widgets that nothing here uses
            import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._objectives = objectives
        self._study = optuna.create_study(sampler=kind.make(seed, evaluations), directions=["minimize"] * objectives)
        self.batch = kind.batch(evaluations)

    def ask(self) -> list[tuple[optuna.Trial, Choice]]:
        """A batch of proposals, each with what to say it was in `tell`."""
        trials = [self._study.ask() for _ in range(self.batch)]
        return [(trial, self._choice(trial)) for trial in trials]

    def _choice(self, trial: optuna.Trial) -> Choice:
        chosen: dict[str, Scalar] = {}
        for axis in self._space.axes:
            value = axis.values[_suggest(trial, axis)]
            if axis.holds(chosen):
                chosen[axis.name] = value
        return chosen

    def tell(self, trial: optuna.Trial, verdict: Verdict) -> None:
        """What became of a proposal."""
        costs = verdict.costs or (INFEASIBLE,) * self._objectives
        violations = verdict.violations if verdict.costs else (INFEASIBLE,)
        for i, violation in enumerate(violations):
            trial.set_constraint(str(i), min(violation, INFEASIBLE))
        self._study.tell(trial, costs)


def _suggest(trial: optuna.Trial, axis: Axis) -> int:
    """Number of a value: of an ordered axis as a number, so that neighbours are known to be similar."""
    if _ordered(axis.values):
        return trial.suggest_int(axis.name, 0, len(axis.values) - 1)
    return int(trial.suggest_categorical(axis.name, list(range(len(axis.values)))))


def _ordered(values: Sequence[object]) -> bool:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    finite = len(numbers) == len(values) and all(math.isfinite(number) for number in numbers)
    return finite and (numbers == sorted(numbers) or numbers == sorted(numbers, reverse=True))
