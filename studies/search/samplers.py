"""Optuna's samplers behind one interface: asked for designs in batches, and told what became of them.

A batch has a fixed size, whatever the number of workers, so that a search proposes the same designs on any computer;
each sampler has a seed of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from studies.points.point import Json, Scalar
from studies.study.axes import Axis, Choice, Space

if TYPE_CHECKING:
    import optuna

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


class Proposes(Protocol):
    """Proposes designs: asked for a batch of them, and told what became of each before it is asked again."""

    batch: int

    def ask(self) -> list[tuple[int, Choice]]:
        """A batch of proposals, each with its number for `tell`; empty when there is nothing more to propose."""

    def tell(self, number: int, verdict: Verdict) -> None:
        """Take note of what became of a proposal."""


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


NSGA2 = SamplerKind(_nsga2, population)
TPE = SamplerKind(_tpe, lambda evaluations: _TPE_BATCH)
QMC = SamplerKind(_qmc, lambda evaluations: _BATCH)
RANDOM = SamplerKind(_random, lambda evaluations: _BATCH)


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
        self._trials: dict[int, optuna.Trial] = {}
        self._study = optuna.create_study(sampler=kind.make(seed, evaluations), directions=["minimize"] * objectives)
        self.batch = kind.batch(evaluations)

    def ask(self) -> list[tuple[int, Choice]]:
        """A batch of proposals, each with its number for `tell`."""
        trials = [self._study.ask() for _ in range(self.batch)]
        self._trials |= {trial.number: trial for trial in trials}
        return [(trial.number, self._choice(trial)) for trial in trials]

    def _choice(self, trial: optuna.Trial) -> Choice:
        chosen: dict[str, Scalar] = {}
        for axis in self._space.axes:
            value = axis.values[_suggest(trial, axis)]
            if axis.holds(chosen):
                chosen[axis.name] = value
        return chosen

    def tell(self, number: int, verdict: Verdict) -> None:
        """Let the sampler learn what became of a proposal."""
        trial = self._trials.pop(number)
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
