"""Scores of steps and layers of models against published rates and measured tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from studies.validate.models.cases import SILICON, SPLITWISE, Case, gpt_fast, sampled, silicon_points, splitwise
from studies.validate.models.layers import SERVING, VIDUR, serving_layers, vidur_layers
from studies.validate.models.score import ModelsReport, predicted

TABLES: dict[str, Callable[[Path], Iterator[Case]]] = {
    SILICON: silicon_points,
    SPLITWISE: splitwise,
    VIDUR: vidur_layers,
    SERVING: serving_layers,
}
"""Readers by the files of a folder of tables."""


def model_cases(folder: Path | None, sample: int | None, seed: int) -> list[Case]:
    """Published rates, and of every group of every table in a folder all cases, or ``sample`` of them at random.

    Raises
    ------
    InputError
        A table that cannot be read.
    """
    cases: list[Case] = list(gpt_fast())
    for file, read in TABLES.items():
        if folder is None or not (folder / file).is_file():
            continue
        found = list(read(folder))
        for group in dict.fromkeys(case.group for case in found):
            own = [case for case in found if case.group == group]
            cases += own if sample is None else sampled(own, sample, seed)
    return cases


def validate_models(cases: list[Case], progress: Callable[[int], None] = lambda done: None) -> ModelsReport:
    """Score ``cases``; ``progress`` hears how many are done."""
    scores = []
    for number, case in enumerate(cases, start=1):
        scores.append(predicted(case))
        progress(number)
    return ModelsReport(tuple(scores))
