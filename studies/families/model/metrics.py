"""Metrics of a step of a model: rate, energy, work, bytes, memory, and what binds."""

from __future__ import annotations

from functools import partial

from studies.families import metrics
from studies.families.model.evaluation import ModelEvaluation
from studies.points.point import Scalar

metric = partial(metrics.metric, family="model", order=600)


@metric(
    "model.tokens_per_second",
    "token/s",
    "new tokens of the whole model in a second",
    goal="max",
    title="Tokens per second",
)
def _rate(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.tokens_per_second


@metric(
    "model.tokens_per_second_per_chip",
    "token/s",
    "new tokens of the whole model in a second, per chip of the mapping",
    goal="max",
    title="Tokens per second per chip",
)
def _rate_per_chip(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.tokens_per_second / evaluation.step.mapping.chips


@metric(
    "model.energy_j",
    "J",
    "energy of a whole step, of all chips that work on it together",
    goal="min",
    title="Energy per step",
)
def _energy(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.energy_j


@metric(
    "model.energy_j_per_token",
    "J/token",
    "energy of a whole step for each of its new tokens",
    goal="min",
    title="Energy per token",
)
def _energy_per_token(evaluation: ModelEvaluation) -> Scalar:
    step = evaluation.step
    return step.energy_j / step.tokens if step.tokens else None


@metric(
    "model.flops",
    "FLOP",
    "useful floating-point operations of a step, of one chip of every stage",
    title="Useful operations",
)
def _flops(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.flops


@metric(
    "model.weight_bytes", "B", "bytes of weights that one chip of every stage reads in a step", title="Weights read"
)
def _weights(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.weight_bytes


@metric("model.launches", "", "launches of a step, of one chip of every stage", title="Launches")
def _launches(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.launches


@metric(
    "model.held_bytes",
    "B",
    "weights, keys and values, activations and workspace of the fullest chip",
    goal="min",
    title="Memory held",
)
def _held(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.ledger.total_bytes


@metric("model.kv_bytes", "B", "cached keys and values of the fullest chip", title="KV cache")
def _cached(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.ledger.of("kv")


@metric("model.chips", "", "chips that the mapping takes", title="Chips")
def _chips(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.mapping.chips


@metric(
    "model.usd_per_million_tokens",
    "USD",
    "cost of a million new tokens by the system's published price by the hour",
    goal="min",
    title="Price per million tokens",
)
def _price(evaluation: ModelEvaluation) -> Scalar:
    step = evaluation.step
    hourly = step.system.usd_per_hour
    if hourly is None or not step.tokens_per_second:
        return None
    return 1e6 * hourly / 3600 / step.tokens_per_second


@metric("model.binding", "", "what most of the time of a step waits for", title="Largest wait")
def _binding(evaluation: ModelEvaluation) -> Scalar:
    return evaluation.step.binding
