"""Metrics of KV policies: what they keep and move, and what attention over it is worth.

Qualities are filled in by `studies.quality.table`, which runs the same policies on streams of known quality; a single
run of ``decode.policy`` has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.families.metrics import metric
from studies.points.point import Scalar

if TYPE_CHECKING:
    from studies.families.chip.evaluate import ChipEvaluation

QUALITIES = {
    "heavy_hitter": "output error on the heavy-hitter stream, between random (0) and oracle (1)",
    "drift": "output error on the drift stream, between random (0) and oracle (1)",
    "captured": "output error on tensors captured from a trained model, or on a user's, between random and oracle",
    "passkey_aware": "passkeys found when the question is known while the prompt is compressed",
    "passkey_agnostic": "passkeys found when the question comes after the prompt was compressed",
}
"""Streams of known quality, as the ends of the names of metrics, and what the metrics mean."""


def _held(evaluation: ChipEvaluation, near: bool) -> Scalar:
    memory = evaluation.chip.accelerator.memory.name
    kept = {
        name.partition(".")[2]: float(value)
        for name, value in evaluation.details.items()
        if name.startswith("kept_bytes.")
    }
    if not kept:
        return None
    return kept.get(memory, 0.0) if near else sum(size for tier, size in kept.items() if tier != memory)


def _detail(evaluation: ChipEvaluation, name: str) -> Scalar:
    return evaluation.details.get(name)


@metric("kv.near_bytes", "B", "keys and values kept in the main memory, all layers", goal="min", subject="chip")
def _near_bytes(evaluation: ChipEvaluation) -> Scalar:
    return _held(evaluation, near=True)


@metric("kv.far_bytes", "B", "keys and values kept in farther tiers, all layers", subject="chip")
def _far_bytes(evaluation: ChipEvaluation) -> Scalar:
    return _held(evaluation, near=False)


@metric("kv.attended", "token", "keys that attention reads per KV head, mean over heads and layers", subject="chip")
def _attended(evaluation: ChipEvaluation) -> Scalar:
    return _detail(evaluation, "attended")


@metric("kv.score_macs", "", "multiply-adds that the policy spends on deciding, all layers", subject="chip")
def _score_macs(evaluation: ChipEvaluation) -> Scalar:
    return _detail(evaluation, "score_macs")


@metric("kv.score_bytes", "B", "metadata, scores and exported probabilities of the policy, all layers", subject="chip")
def _score_bytes(evaluation: ChipEvaluation) -> Scalar:
    details = evaluation.details
    parts = [details[name] for name in ("score_bytes", "exported_bytes") if name in details]
    return sum(float(part) for part in parts) if parts else None


@metric("kv.hit_rate", "", "share of fetched blocks that were in the main memory", subject="chip")
def _hit_rate(evaluation: ChipEvaluation) -> Scalar:
    return _detail(evaluation, "hit_rate")


@metric("kv.exposed_s", "s", "waiting for transfers between memory tiers", subject="chip")
def _exposed(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.exchange.exposed_s if evaluation.plan.transfers else None


def _not_in_a_single_run(evaluation: ChipEvaluation) -> Scalar:
    del evaluation
    return None


for _name, _meaning in QUALITIES.items():
    metric(f"quality.{_name}", "", _meaning, goal="max", subject="chip")(_not_in_a_single_run)
