"""Ways to search: what proposes designs of a question, by the name that the command line has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.search.samplers import NSGA2, QMC, RANDOM, TPE, Proposer, Proposes, SamplerKind
from studies.search.two_stage import TwoStage
from studies.study.question import Question


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
        Begins a search for a question, a seed and a number of evaluations.
    """

    name: str
    summary: str
    open: Callable[[Question, int, int], Proposes]


def _sampled(kind: SamplerKind) -> Callable[[Question, int, int], Proposer]:
    """A sampler over the whole space of a question."""

    def begin(question: Question, seed: int, evaluations: int) -> Proposer:
        return Proposer(question.space, len(question.objectives), kind, seed, evaluations)

    return begin


def _two_stage(question: Question, seed: int, evaluations: int) -> TwoStage:
    return TwoStage(question.space, question.blocks, seed, evaluations)


STRATEGIES = {
    each.name: each
    for each in (
        Strategy("nsga2", "evolution towards the front (NSGA-II)", _sampled(NSGA2)),
        Strategy("tpe", "densities of good and bad designs (TPE)", _sampled(TPE)),
        Strategy("qmc", "even coverage (scrambled Halton sequence)", _sampled(QMC)),
        Strategy("random", "independent draws", _sampled(RANDOM)),
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
