"""Qualities of KV policies: what attention over what they keep is worth.

They are filled in by `studies.quality.table`, which runs the same policies on streams of known quality; a single run of
``decode.policy`` has none.
"""

from __future__ import annotations

from studies.families.chip.evaluation import ChipEvaluation
from studies.families.metrics import metric
from studies.points.point import Scalar

QUALITIES = {
    "heavy_hitter": "output error on the heavy-hitter stream, between random (0) and oracle (1)",
    "drift": "output error on the drift stream, between random (0) and oracle (1)",
    "captured": "output error on tensors captured from a trained model, or on a user's, between random and oracle",
    "passkey_aware": "passkeys found when the question is known while the prompt is compressed",
    "passkey_agnostic": "passkeys found when the question comes after the prompt was compressed",
}
"""Streams of known quality, as the ends of the names of metrics, and what the metrics mean."""


def _not_in_a_single_run(evaluation: ChipEvaluation) -> Scalar:
    del evaluation
    return None


for _name, _meaning in QUALITIES.items():
    metric(f"quality.{_name}", "", _meaning, goal="max", family="chip", order=400)(_not_in_a_single_run)
