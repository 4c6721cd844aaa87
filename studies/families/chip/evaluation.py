"""What came out of a design on a chip: its plan and times, energy, figures, errors; and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.timing.bounds import Bounds
from algorithms.chip.timing.mapping import ChipRun
from hwmodels.chips.chip import Accelerator
from studies.families.detail import Detail, Stored
from studies.families.deviation import Deviation
from studies.families.family import Evaluation
from studies.families.metrics import measure
from studies.points.point import ChipSetting, DesignPoint, Json, Scalar

BOUNDS = ("memory", "matrix", "exp", "vector")
"""Resources whose lower bounds are told apart."""


@dataclass(frozen=True)
class ChipEvaluation(Evaluation):
    """A design on a chip, and what came out.

    Parameters
    ----------
    accelerator
        The chip, equal to that of the point.
    decided
        Parameters with everything automatic decided for the chip.
    plan, run
        What cores had to do, and when they did it.
    energy_j
        Energy by component.
    tokens
        Tokens by which the run advances all sequences.
    layers
        Layers of the model that the run goes through.
    details
        Further figures of this algorithm, for people.
    own
        Figures that the algorithm declares, by name.
    note
        Why no values were computed; empty if they were.
    """

    accelerator: Accelerator
    decided: Mapping[str, Scalar]
    plan: TilePlan
    run: ChipRun
    energy_j: Mapping[str, float]
    tokens: float
    layers: int
    details: Mapping[str, float | str]
    own: Mapping[str, Scalar]
    note: str

    @property
    def cycles(self) -> int:
        """Cycles of the cores' sustained clock."""
        return round(self.run.cycles)

    @property
    def seconds(self) -> float:
        """All launches and the gaps before them."""
        return self.run.seconds

    @property
    def figures(self) -> Mapping[str, Scalar]:
        """What the algorithm declares of itself."""
        return self.own

    @property
    def idle_cores(self) -> int:
        """Cores that have nothing to do in the launch that takes longest."""
        longest = max(self.run.launches, key=lambda launch: launch.seconds, default=None)
        return self.chip.accelerator.cores - (longest.cores if longest else 0)

    @property
    def chip(self) -> ChipSetting:
        """What it ran on."""
        return self.point.on_chip

    @property
    def detail(self) -> ChipDetail:
        """All of it but plans and schedules."""
        return ChipDetail(
            point=self.point,
            parameters=self.decided,
            cycles=self.cycles,
            seconds=self.seconds,
            clock_hz=self.run.clock_hz,
            bounds=FoundBounds.of(self.run.bounds),
            launches=tuple(self._launches()),
            tier_bytes=dict(self.run.tier_bytes),
            energy_j=self.energy_j,
            layers=self.layers,
            details=self.details,
            metrics=measure(self),
            deviation=self.deviation,
            note=self.note,
            wall_s=self.wall_s,
        )

    def _launches(self) -> list[FoundLaunch]:
        """All launches; those of layers that are alike are one entry, with the sum of their times, bytes and work."""
        alike: dict[tuple[str, float, int], list[int]] = {}
        for number, run in enumerate(self.run.launches):
            alike.setdefault((run.name, run.seconds, run.items), []).append(number)
        return [self._launch(numbers) for numbers in alike.values()]

    def _launch(self, numbers: Sequence[int]) -> FoundLaunch:
        runs = [self.run.launches[number] for number in numbers]
        planned = [self.plan.launches[number] for number in numbers]
        return FoundLaunch(
            name=runs[0].name,
            times=len(numbers),
            seconds=sum(run.seconds for run in runs),
            gap_s=sum(run.gap_s for run in runs),
            cycles=sum(run.cycles for run in runs),
            items=runs[0].items,
            steps=sum(item.step_count * times for item, times in planned[0].items),
            cores=runs[0].cores,
            waves=runs[0].waves,
            busy=dict(runs[0].busy),
            stalled=dict(runs[0].stalled),
            load_bytes=sum(launch.total("load_bytes") for launch in planned),
            store_bytes=sum(launch.total("store_bytes") for launch in planned),
            flops=sum(launch.total("flops") for launch in planned),
            exps=sum(launch.total("exps") for launch in planned),
            vector_ops=sum(launch.total("vector_ops") for launch in planned),
            firings=sum(run.firings for run in runs),
            skipped_firings=sum(run.skipped_firings for run in runs),
        )


@dataclass(frozen=True)
class FoundBounds:
    """Lower bounds of a run in seconds, by resource and of the classic roofline; `binding` is the largest resource."""

    binding: str
    memory_s: float
    matrix_s: float
    exp_s: float
    vector_s: float
    roofline_s: float
    compulsory_s: float
    useful_matrix_s: float

    @classmethod
    def of(cls, bounds: Bounds) -> Self:
        """Those of a plan."""
        seconds = bounds.by_name()
        return cls(
            bounds.binding,
            seconds["memory"],
            seconds["matrix"],
            seconds["exp"],
            seconds["vector"],
            bounds.roofline_s,
            bounds.compulsory_s,
            bounds.useful_matrix_s,
        )

    def by_name(self) -> dict[str, float]:
        """The bounds by resource."""
        return {"memory": self.memory_s, "matrix": self.matrix_s, "exp": self.exp_s, "vector": self.vector_s}

    @property
    def seconds(self) -> float:
        """What the binding one allows."""
        return self.by_name().get(self.binding, 0.0)


@dataclass(frozen=True)
class FoundLaunch:
    """Launches that are alike: how often, sums of their times, bytes and work, and shares of the time by unit."""

    name: str
    times: int
    seconds: float
    gap_s: float
    cycles: float
    items: int
    steps: int
    cores: int
    waves: int
    busy: Mapping[str, float]
    stalled: Mapping[str, float]
    load_bytes: int | float
    store_bytes: int | float
    flops: int | float
    exps: int | float
    vector_ops: int | float
    firings: int
    skipped_firings: int

    def content(self) -> dict[str, Json]:
        """As plain JSON values."""
        return {**vars(self), "busy": dict(self.busy), "stalled": dict(self.stalled)}


@dataclass(frozen=True)
class ChipDetail(Detail):
    """What is kept of a run on a chip; see `ChipEvaluation` for the parameters."""

    parameters: Mapping[str, Scalar]
    cycles: int
    seconds: float
    clock_hz: float
    bounds: FoundBounds
    launches: tuple[FoundLaunch, ...]
    tier_bytes: Mapping[str, int | float]
    energy_j: Mapping[str, float]
    layers: int
    details: Mapping[str, int | float | str]
    metrics: Mapping[str, Scalar]
    deviation: Deviation | None
    note: str
    wall_s: float

    @property
    def uses(self) -> Mapping[str, Mapping[str, int]]:
        """Cycles in which each unit works, by launch."""
        return {
            f"{launch.name}: {unit}": {"busy": round(share * launch.cycles)}
            for launch in self.launches
            for unit, share in launch.busy.items()
        }

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.metrics

    def content(self) -> dict[str, Json]:
        """Times, bounds and launches first, then traffic, energy, metrics and errors."""
        return {
            "parameters": dict(self.parameters),
            "cycles": self.cycles,
            "seconds": self.seconds,
            "clock_hz": self.clock_hz,
            "bounds": dict(vars(self.bounds)),
            "launches": [launch.content() for launch in self.launches],
            "tier_bytes": dict(self.tier_bytes),
            "energy_j": dict(self.energy_j),
            "layers": self.layers,
            "details": dict(self.details),
            "metrics": dict(self.metrics),
            "error": self.deviation.describe() if self.deviation else None,
            "note": self.note,
            "wall_s": self.wall_s,
        }

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back."""
        return cls(
            point=point,
            parameters=stored.read(dict[str, Scalar], "parameters"),
            cycles=stored.read(int, "cycles"),
            seconds=stored.read(float, "seconds"),
            clock_hz=stored.read(float, "clock_hz"),
            bounds=stored.read(FoundBounds, "bounds"),
            launches=stored.read(tuple[FoundLaunch, ...], "launches"),
            tier_bytes=stored.read(dict[str, int | float], "tier_bytes"),
            energy_j=stored.read(dict[str, float], "energy_j"),
            layers=stored.read(int, "layers"),
            details=stored.read(dict[str, int | float | str], "details"),
            metrics=stored.read(dict[str, Scalar], "metrics"),
            deviation=stored.read_optional(Deviation, "error"),
            note=stored.read(str, "note"),
            wall_s=stored.read(float, "wall_s"),
        )
