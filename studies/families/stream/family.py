"""Streams of frames, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from algorithms.live.streams.algorithm import StreamAlgorithm
from hwmodels.chips.accelerator import load_accelerator
from studies.families.compiled import ENGINE, MEMORY, Compiled
from studies.families.detail import Detail
from studies.families.family import Evaluation, Family, family, of_kind
from studies.families.path import TracedPath
from studies.families.stream.evaluate import evaluate_stream
from studies.families.stream.evaluation import StreamDetail, StreamEvaluation
from studies.families.stream.text import stream_text
from studies.points.chips import chip_setting
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Json, Scalar
from studies.words import percent, quantity

REHEARSED: tuple[str, Mapping[str, Scalar]] = ("live.stream", {"seconds": 0.2, "tokens": 4})
REHEARSED_ON = "jetson_agx_orin_64g"


@family
class StreamFamily(Family):
    """Frames of a camera, taken in by a model under a KV policy."""

    name = "stream"
    entry = StreamAlgorithm
    objective = "stream.work_p99_s"

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

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """Two small frames."""
        del engine
        name, chosen = REHEARSED
        setting = chip_setting(load_accelerator(REHEARSED_ON), {}, {})
        return DesignPoint(name, None, complete_parameters(find_algorithm(name), chosen), chip=setting)

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """The engine, and memory models where the main memory is simulated bank by bank."""
        return (ENGINE, MEMORY) if point.on_chip.memory == "cycle" else (ENGINE,)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """The verdict."""
        del path
        return of_kind(StreamDetail, detail).verdict

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """How full the memory is at the end of the stream."""
        found = of_kind(StreamDetail, detail)
        held = found.fixed_bytes + (found.course[-1].near_bytes if found.course else 0)
        yield "Memory at the end", f"{quantity(held, 'B')}, {percent(held / found.usable_bytes)}"
