"""Whether a model keeps up with a stream, for how long and at what memory, under its own policy and under others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from algorithms.live.requests import NANOSECONDS
from algorithms.live.streams.metrics import Trend
from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.families.explanation import Explanation, LeftOut, Lever
from studies.families.stream.evaluate import evaluate_stream
from studies.families.stream.evaluation import StreamEvaluation
from studies.families.stream.text import stream_title
from studies.points.point import DesignPoint, Json
from studies.tables import table
from studies.words import quantity, span

WINDOW_FRAMES = 32
"""Frames that policies with a window keep."""
REKV_LOCAL = 15_000
"""Keys that ReKV keeps near (arXiv:2503.00540, n_local of its code)."""


@dataclass(frozen=True)
class StreamExplanation(Explanation):
    """A stream under its own policy, under others that were tried, and those that cannot run on it."""

    evaluations: tuple[StreamEvaluation, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def sentence(self) -> str:
        """Whether it keeps up, and the policy that does so for longest, in the least memory."""
        own, *others = self.evaluations
        text = f"{_policy(own)}: {_lasts(own)}"
        better = [each for each in others if _order(each) < _order(own)]
        if not better:
            return f"{text}; nothing that was tried does so for longer or in less memory."
        best = min(better, key=_order)
        return f"{text}; {_policy(best)}: {_lasts(best)}, at {quantity(best.judged.peak_bytes, 'B')}."

    def text(self) -> str:
        """The stream, a line per policy, the sentence."""
        heading = ("policy", "keeps up", "work on a frame, 99 %", "first token of an answer", "memory at most")
        own = self.evaluations[0].found
        policies = f"{table(heading, map(_row, self.evaluations))}\nof {quantity(own.usable_bytes, 'B')}"
        left_out = "".join(f"\n{each.text()}" for each in self.left_out)
        return f"{stream_title(own)}\n\n{policies}{left_out}\n\n{self.sentence}"

    def describe(self) -> dict[str, Json]:
        """How long it keeps up under each policy, and at what memory."""
        return {
            "algorithm": self.point.algorithm,
            "policies": [
                {
                    "policy": _policy(each),
                    "keeps_up": each.judged.keeps_up,
                    "keeps_up_s": None if math.isinf(lasts_s(each)) else lasts_s(each),
                    "work_p99_s": each.judged.work.p99_s,
                    "peak_bytes": each.judged.peak_bytes,
                }
                for each in self.evaluations
            ],
            "left_out": [each.describe() for each in self.left_out],
            "sentence": self.sentence,
        }


def explain_stream(point: DesignPoint) -> StreamExplanation:
    """Watch `point`, and the same stream under other policies; raises as `evaluate_stream`."""
    own = evaluate_stream(point)
    tried = tuple(_others(point, own))
    others = tuple(each for each in tried if isinstance(each, StreamEvaluation))
    left_out = tuple(each for each in tried if isinstance(each, LeftOut))
    cost = own.judged.work.p99_s
    levers = (Lever("policy", _policy(own), _policy(each), cost, each.judged.work.p99_s) for each in others)
    return StreamExplanation(point, tuple(sorted(levers, key=lambda lever: -lever.gain)), (own, *others), left_out)


def _others(point: DesignPoint, own: StreamEvaluation) -> Iterator[StreamEvaluation | LeftOut]:
    """The same stream under each other policy, or why it cannot run."""
    tokens = own.found.scenario.text.frames.tokens
    window = WINDOW_FRAMES * tokens
    tried = (
        "full",
        f"streaming_llm(sink=64,recent={max(window - 64, 1)})",
        f"streaming_vlm(vision_window={window})",
        f"infinipot_v(frames={WINDOW_FRAMES * 3 // 4},frame={tokens})",
        f"rekv(local={REKV_LOCAL})",
    )
    for policy in tried:
        if policy != _policy(own):
            parameters = tuple(sorted({**dict(point.parameters), "policy": policy, "budget": 0}.items()))
            try:
                yield evaluate_stream(dataclasses.replace(point, parameters=parameters))
            except (InputError, SimulatorError) as error:
                yield LeftOut.refused("policy", policy, error)


def lasts_s(evaluation: StreamEvaluation) -> float:
    """Seconds until frames wait longer than they are apart or the memory is full; infinite where nothing grows.

    What lies behind the end of the stream follows from the straight lines through work and memory of its second half.
    """
    found, judged = evaluation.found, evaluation.judged
    apart_s = 1 / found.scenario.text.frames.rate
    late = [each.came_ns for each in found.frames if each.began_ns - each.came_ns > apart_s * NANOSECONDS]
    if not judged.keeps_up:
        full_s = math.inf if judged.full_s is None else judged.full_s
        return min(full_s, late[0] / NANOSECONDS if late else 0.0)
    near = [each.near_bytes for each in found.frames]
    room = found.usable_bytes - found.fixed_bytes - (near[-1] if near else 0.0)
    work_s = [(each.ended_ns - each.began_ns) / NANOSECONDS for each in found.frames]
    slack_s = apart_s - max(work_s[len(work_s) // 2 :], default=0.0)
    left = min(_frames_until(room, Trend.of(near)), _frames_until(slack_s, Trend.of(work_s)))
    return found.scenario.text.frames.seconds + left * apart_s


def _frames_until(room: float, trend: Trend) -> float:
    """Frames until a figure that grows has taken up all room that is left."""
    if trend.constant is not False or trend.per_frame <= 0:
        return math.inf
    return max(room, 0.0) / trend.per_frame


def _order(evaluation: StreamEvaluation) -> tuple[float, float]:
    return -lasts_s(evaluation), evaluation.judged.peak_bytes


def _policy(evaluation: StreamEvaluation) -> str:
    return evaluation.found.scenario.text.policy


def _lasts(evaluation: StreamEvaluation) -> str:
    """For how long it keeps up, in words."""
    lasts = lasts_s(evaluation)
    if math.isinf(lasts):
        return "keeps up for as long as the camera runs"
    if evaluation.judged.keeps_up:
        return f"keeps up for about {span(lasts)}"
    return f"keeps up for {span(lasts)} only" if lasts > 0 else "does not keep up"


def _row(evaluation: StreamEvaluation) -> tuple[str, ...]:
    judged, lasts = evaluation.judged, lasts_s(evaluation)
    how_long = "for good" if math.isinf(lasts) else f"{'about ' if judged.keeps_up else ''}{span(lasts)}"
    first = quantity(judged.first_token.mean_s, "s") if judged.first_token.count else ""
    return _policy(evaluation), how_long, quantity(judged.work.p99_s, "s"), first, quantity(judged.peak_bytes, "B")
