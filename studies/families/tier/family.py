"""Memory tiers under streams of requests, as the rest of `studies` knows them."""

from __future__ import annotations

from collections.abc import Mapping

from algorithms.memory.algorithm import TierAlgorithm
from studies.families.compiled import MEMORY, Compiled
from studies.families.detail import Detail
from studies.families.family import Evaluation, Family, family, of_kind
from studies.families.path import TracedPath
from studies.families.text import changed_parameters
from studies.families.tier.evaluate import evaluate_tier
from studies.families.tier.evaluation import TierDetail, TierEvaluation
from studies.points.find import find_algorithm
from studies.points.knobs import complete_parameters
from studies.points.point import DesignPoint, Engine, Json, Scalar
from studies.tables import table
from studies.words import percent

REHEARSED: tuple[str, Mapping[str, Scalar]] = ("tier.probe", {"transactions": 256})


@family
class TierFamily(Family):
    """Traffic on a memory tier that nothing else uses."""

    name = "tier"
    entry = TierAlgorithm
    objective = "tier.bytes_per_second"

    def evaluate(self, point: DesignPoint) -> TierEvaluation:
        """Send the traffic; see `evaluate_tier`."""
        return evaluate_tier(point)

    def text(self, evaluation: Evaluation) -> str:
        """What the tier sustained, and where the rest of its peak went."""
        found = of_kind(TierEvaluation, evaluation)
        report = found.report
        title = f"{report.tier}, {report.channels} channels, {report.fidelity}: {changed_parameters(found.point)}"
        return "\n\n".join((title, table(("figure", "value", "remark"), report.rows())))

    def read(self, point: DesignPoint, document: Mapping[str, Json]) -> TierDetail:
        """The report and metrics."""
        return TierDetail.from_json(point, document)

    def rehearsal(self, engine: Engine = "compiled") -> DesignPoint:
        """A short stream of reads."""
        del engine
        name, chosen = REHEARSED
        return DesignPoint(name, None, complete_parameters(find_algorithm(name), chosen))

    def kernels(self, point: DesignPoint) -> tuple[Compiled, ...]:
        """The memory models."""
        del point
        return (MEMORY,)

    def binding(self, detail: Detail, path: TracedPath | None = None) -> str:
        """What costs the tier most of its peak; empty where nothing is lost."""
        del path
        report = of_kind(TierDetail, detail).report
        if report.limiter is None:
            return ""
        share = percent(report.lost_shares[report.limiter])
        return f"{report.limiter.replace('_', ' ')}, which costs {share} of the peak"
