"""Metrics of streams; what each means is defined in `algorithms.live.streams.metrics`."""

from __future__ import annotations

import math
from functools import partial

from studies.families import metrics
from studies.families.stream.evaluation import StreamEvaluation
from studies.points.point import Scalar

metric = partial(metrics.metric, family="stream", order=720)


def _told(value: float) -> Scalar:
    """A number; None where there is none."""
    return None if math.isnan(value) else value


@metric("stream.frames_per_second", "frame/s", "frames that were taken in", goal="max")
def _rate(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.frames_per_second


@metric("stream.keeps_up", "", "whether every frame is taken in as it comes, to the end")
def _keeps_up(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.keeps_up


@metric("stream.frames", "", "frames that came")
def _came(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.came


@metric("stream.dropped", "", "frames that nobody looked at", goal="min")
def _dropped(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.dropped


@metric("stream.energy_j", "J", "of all chips until the camera stops, waiting included", goal="min")
def _energy(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.energy_j


@metric("stream.joules_per_frame", "J", "the same over the frames that were taken in", goal="min")
def _energy_per_frame(evaluation: StreamEvaluation) -> Scalar:
    judged = evaluation.judged
    return judged.energy_j / judged.taken_in if judged.taken_in else None


@metric("stream.backlog", "", "frames that waited at most", goal="min")
def _backlog(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.most_waiting


@metric("stream.latency_p50_s", "s", "median from the moment a frame comes until it is taken in", goal="min")
def _latency(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.latency.p50_s)


@metric("stream.latency_p99_s", "s", "99 of 100 frames are taken in so long after they came", goal="min")
def _latency_p99(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.latency.p99_s)


@metric("stream.work_p99_s", "s", "99 of 100 frames are worked on no longer", goal="min")
def _work_p99(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.work.p99_s)


@metric("stream.first_token_mean_s", "s", "mean from a question to the first token of its answer", goal="min")
def _first(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.first_token.mean_s)


@metric("stream.answer_mean_s", "s", "mean from a question to the last token of its answer", goal="min")
def _answer(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.answer.mean_s)


@metric("stream.peak_bytes", "B", "weights, activations and what is kept, in the memory of a chip, at most", goal="min")
def _peak(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.peak_bytes


@metric("stream.kept_bytes", "B", "keys, values and the policy's state in the memory of a chip, at the end", goal="min")
def _kept(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.kept_bytes


@metric("stream.far_bytes", "B", "keys and values in farther tiers, at the end")
def _far(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.far_bytes


@metric("stream.kept_tokens", "token", "keys that the last frame attended per KV head")
def _tokens(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.kept_tokens


@metric("stream.busy_share", "", "share of the time in which the model works", goal="min")
def _busy(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.busy_share


@metric("stream.work_change", "", "change of the work per frame over the second half of the frames, over its mean")
def _work_change(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.work_trend.change)


@metric("stream.memory_change", "", "change of the memory over the second half of the frames, over its mean")
def _memory_change(evaluation: StreamEvaluation) -> Scalar:
    return _told(evaluation.judged.memory_trend.change)


@metric("stream.full_s", "s", "when the memory was full", goal="max")
def _full(evaluation: StreamEvaluation) -> Scalar:
    return evaluation.judged.full_s
