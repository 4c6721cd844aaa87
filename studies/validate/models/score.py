"""How far predicted steps are from measured ones: one page of errors by model, GPU, batch and number of chips."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model
from hwmodels.reading.errors import InputError
from hwmodels.systems.text import load_system
from simulator.errors import SimulatorError
from studies.tables import table
from studies.validate.models.cases import Case


@dataclass(frozen=True)
class Score:
    """A case and what was predicted.

    Parameters
    ----------
    case
        The measured one.
    seconds
        Predicted; None where it cannot be.
    why
        Why it cannot be.
    """

    case: Case
    seconds: float | None
    why: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over measured, minus 1."""
        return None if self.seconds is None else self.seconds / self.case.seconds - 1


def predicted(case: Case) -> Score:
    """The time of a case."""
    try:
        model, system = load_model(case.model), load_system(case.system)
        seconds = sum(
            work.times * model_step(model, parse_batch(work.batch), system, case.mapping, case.options).seconds
            for work in case.work
        )
    except (InputError, SimulatorError) as error:
        return Score(case, None, str(error).splitlines()[0])
    return Score(case, seconds)


def page(scores: Sequence[Score]) -> str:
    """Errors of every group, and within it by each label."""
    header = ("what", "rows", "median off", "nine of ten within", "bias")
    parts = []
    for group in dict.fromkeys(score.case.group for score in scores):
        own = [score for score in scores if score.case.group == group]
        rows = [row for row in (_row("all", own), *_by_label(own)) if row]
        without = sum(score.seconds is None for score in own)
        note = f"\n{without} could not be predicted" if without else ""
        parts.append(f"{group}\n{table(header, rows)}{note}")
    return "\n\n".join(parts)


def _by_label(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    names = [name for name, _ in scores[0].case.labels]
    for name in names:
        values = sorted({dict(score.case.labels)[name] for score in scores})
        for value in values if len(values) > 1 else ():
            row = _row(f"{name} {value}", [score for score in scores if dict(score.case.labels)[name] == value])
            if row:
                yield row


def _row(what: str, scores: Iterable[Score]) -> tuple[str, ...]:
    errors = [score.error for score in scores if score.error is not None]
    if not errors:
        return ()
    sizes = sorted(map(abs, errors))
    ninth = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    return (
        what,
        str(len(errors)),
        f"{statistics.median(sizes):.1%}",
        f"{ninth:.1%}",
        f"{statistics.median(errors):+.1%}",
    )
