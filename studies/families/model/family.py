"""Steps of whole models, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from algorithms.models.steps.algorithm import ModelAlgorithm
from hwmodels.costs.area import estimates_of
from studies.families.detail import Detail
from studies.families.family import Evaluation, family, of_kind
from studies.families.model.evaluate import evaluate_model
from studies.families.model.evaluation import ModelDetail, ModelEvaluation
from studies.families.model.explain import ModelExplanation, explain_model
from studies.families.model.text import step_text
from studies.families.path import TracedPath
from studies.families.rehearsed import LaunchFamily
from studies.points.point import DesignPoint, Json
from studies.words import percent, quantity

ENERGIES = ("model.energy_j", "model.energy_j_per_token")
"""Metrics of energy and power."""


@family
class ModelFamily(LaunchFamily):
    """Steps of whole models on one chip or several: launches, exchanges, memory."""

    name = "model"
    entry = ModelAlgorithm
    objective = "model.tokens_per_second"
    rehearsed = ("model.step", {"model": "gpt2", "batch": "decode 1 of 16"})
    rehearsed_on = "h100"

    def evaluate(self, point: DesignPoint) -> ModelEvaluation:
        """Time the step; see `evaluate_model`."""
        return evaluate_model(point)

    def text(self, evaluation: Evaluation) -> str:
        """Time by layer and kind, the ledger, and how times were made."""
        return step_text(of_kind(ModelEvaluation, evaluation).step)

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> ModelDetail:
        """Layers, ledger, how it was made, metrics."""
        return ModelDetail.from_json(point, document)

    def explain(self, point: DesignPoint) -> ModelExplanation:
        """What binds, and levers of the chip, of its number and of formats, tried one by one."""
        return explain_model(point)

    def estimates(self, point: DesignPoint) -> Mapping[str, str]:
        """Energies on chips whose die or node is not published."""
        return estimates_of(point.on_chip.accelerator, ENERGIES)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """What most of the time waits for."""
        del path
        return of_kind(ModelDetail, detail).binding

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """Parameters, and how full the memory is."""
        found = of_kind(ModelDetail, detail)
        held = sum(row.bytes for row in found.ledger)
        yield "Parameters", f"{found.parameters_count:,}"
        yield "Memory of the fullest chip", f"{quantity(held, 'B')}, {percent(held / found.usable_bytes)}"
