"""Streams of frames, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from algorithms.live.streams.algorithm import StreamAlgorithm
from hwmodels.costs.area import estimates_of
from studies.families.detail import Detail
from studies.families.family import Evaluation, family, of_kind
from studies.families.path import TracedPath
from studies.families.rehearsed import LaunchFamily
from studies.families.stream.evaluate import evaluate_stream
from studies.families.stream.evaluation import StreamDetail, StreamEvaluation
from studies.families.stream.explain import StreamExplanation, explain_stream
from studies.families.stream.text import stream_text
from studies.points.point import DesignPoint, Json
from studies.words import percent, quantity

ENERGIES = ("stream.energy_j", "stream.joules_per_frame")
"""Metrics of energy and power."""


@family
class StreamFamily(LaunchFamily):
    """Frames of a camera, taken in by a model under a KV policy."""

    name = "stream"
    entry = StreamAlgorithm
    objective = "stream.work_p99_s"
    rehearsed = ("live.stream", {"seconds": 0.2, "tokens": 4})
    rehearsed_on = "jetson_agx_orin_64g"

    def evaluate(self, point: DesignPoint) -> StreamEvaluation:
        """Watch the stream; see `evaluate_stream`."""
        return evaluate_stream(point)

    def text(self, evaluation: Evaluation) -> str:
        """The verdict, frames, answers, memory."""
        found = of_kind(StreamEvaluation, evaluation)
        return stream_text(found.found, found.judged)

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> StreamDetail:
        """The course, memory, verdicts, metrics."""
        return StreamDetail.from_json(point, document)

    def explain(self, point: DesignPoint) -> StreamExplanation:
        """For how long the model keeps up and at what memory, under its policy and under others."""
        return explain_stream(point)

    def estimates(self, point: DesignPoint) -> Mapping[str, str]:
        """Energies on chips whose die or node is not published."""
        return estimates_of(point.on_chip.accelerator, ENERGIES)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """The verdict."""
        del path
        return of_kind(StreamDetail, detail).verdict

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """How full the memory is at the end of the stream."""
        found = of_kind(StreamDetail, detail)
        held = found.fixed_bytes + (found.course[-1].near_bytes if found.course else 0)
        yield "Memory at the end", f"{quantity(held, 'B')}, {percent(held / found.usable_bytes)}"
