"""Graphs of FIFOs, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from algorithms.registry import Algorithm
from algorithms.workload.one_head import ONE_HEAD
from simulator import Graph
from studies.families.compiled import ENGINE, ENGINE_WITH_MEMORY, Compiled
from studies.families.detail import Detail
from studies.families.family import Evaluation, Family, family, of_kind
from studies.families.graph.binding import fifo_needs, what_binds
from studies.families.graph.evaluate import build_graph, evaluate_graph, memory_parameters
from studies.families.graph.evaluation import GraphDetail, GraphEvaluation
from studies.families.graph.explain import GraphExplanation, explain_graph
from studies.families.graph.text import summary
from studies.families.path import StartTimes, TracedPath, merged, parts_of
from studies.families.value_pass import values_of
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Json

REHEARSED = "sdpa.naive"


@family
class GraphFamily(Family):
    """Units and FIFOs, cycle by cycle."""

    name = "graph"
    entry = Algorithm
    traced = True

    def listed(self, summary: str) -> str:
        """Nothing in front: most algorithms are graphs."""
        return summary

    def evaluate(self, point: DesignPoint) -> GraphEvaluation:
        """Simulate the graph; see `evaluate_graph`."""
        return evaluate_graph(point)

    def text(self, evaluation: Evaluation) -> str:
        """Cycles, units, FIFOs and memory tiers."""
        return summary(of_kind(GraphEvaluation, evaluation))

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> GraphDetail:
        """The simulator's result, errors and bounds."""
        return GraphDetail.from_json(point, document)

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """Four queries and keys on the same engine."""
        parameters = complete_parameters(find_algorithm(REHEARSED), {})
        return DesignPoint(REHEARSED, ONE_HEAD.with_(q_len=4, kv_len=4), parameters, engine)

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """The engine, in its form with memory models where keys and values come from a memory tier."""
        return (ENGINE,) if memory_parameters(point) is None else (ENGINE_WITH_MEMORY,)

    def explain(self, point: DesignPoint) -> GraphExplanation:
        """Stalls, the critical path and the lever that helps."""
        return explain_graph(point)

    def path(self, point: DesignPoint, starts: StartTimes) -> TracedPath:
        """From the last firing back to the first."""
        graph = build_graph(point)
        if not point.timing_only:
            graph = graph.with_tables(values_of(point, graph).tables)  # timing may depend on data
        frozen = graph.freeze()
        path = starts.path(frozen)
        return merged(parts_of(frozen, path), path.note)

    def graph(self, point: DesignPoint) -> Graph:
        """The graph as it is simulated."""
        return build_graph(point)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """The units that limit it, or the wait that keeps its busiest unit from work."""
        del path
        return what_binds(of_kind(GraphDetail, detail).result)

    def facts(self, detail: Detail) -> Iterable[tuple[str, str]]:
        """What its FIFOs take."""
        yield "FIFOs", fifo_needs(of_kind(GraphDetail, detail).result)
