"""What came out of a step of a model: time by layer and operation, memory, how each time was made; and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from algorithms.models.steps.step import Made, Step, TimedLayer
from studies.families.detail import Detail, Stored, plain
from studies.families.family import Evaluation
from studies.families.metrics import measure
from studies.points.point import DesignPoint, Json, Scalar


@dataclass(frozen=True)
class OperationRow:
    """An operation of a layer on one chip; fields are those of `algorithms.models.steps.step.TimedOperation`."""

    name: str
    kind: str
    seconds: float
    gap_s: float
    launches: int
    way: str
    bound: str
    flops: int
    weight_bytes: int
    cache_bytes: int
    memory_bytes: int
    link_bytes: float
    energy_j: float


@dataclass(frozen=True)
class LayerRow:
    """Layers that are alike.

    Parameters
    ----------
    name, times
        What they are called, and how many one chip of every stage goes through.
    seconds
        Of one of them.
    operations
        In order.
    """

    name: str
    times: int
    seconds: float
    operations: tuple[OperationRow, ...]


@dataclass(frozen=True)
class LedgerRow:
    """Something in the memory of the fullest chip."""

    name: str
    tier: str
    bytes: int


@dataclass(frozen=True)
class ModelEvaluation(Evaluation):
    """A step of a model, and what came out.

    Parameters
    ----------
    step
        All of it.
    """

    step: Step

    @property
    def cycles(self) -> None:
        """None: launches, links and hosts have no clock in common."""
        return None

    @property
    def seconds(self) -> float:
        """From the first launch to the last result."""
        return self.step.seconds

    @property
    def detail(self) -> ModelDetail:
        """Layers, ledger, and how the time was made."""
        step = self.step
        return ModelDetail(
            point=self.point,
            seconds=step.seconds,
            tokens_per_second=step.tokens_per_second,
            energy_j=step.energy_j,
            parameters_count=step.model.parameters,
            binding=step.binding,
            layers=tuple(_layer_row(layer) for layer in step.layers),
            ledger=tuple(LedgerRow(entry.name, entry.tier, entry.bytes) for entry in step.ledger.entries),
            usable_bytes=step.ledger.usable_bytes,
            how=step.made(),
            metrics=measure(self),
            wall_s=self.wall_s,
        )


def _layer_row(layer: TimedLayer) -> LayerRow:
    rows = tuple(OperationRow(**dataclasses.asdict(each)) for each in layer.operations)
    return LayerRow(layer.name, layer.times, layer.seconds, rows)


@dataclass(frozen=True)
class ModelDetail(Detail):
    """What is kept of a step of a model.

    Parameters
    ----------
    seconds, tokens_per_second, energy_j
        Of the whole step, all chips together.
    parameters_count
        Of the model.
    binding
        What most of the time waits for.
    layers, ledger, usable_bytes, how
        Time by layer and operation; memory of the fullest chip and what it has; how the time was made.
    metrics
        All metrics by name.
    wall_s
        Time the evaluation took on the computer that made it.
    """

    seconds: float
    tokens_per_second: float
    energy_j: float
    parameters_count: int
    binding: str
    layers: tuple[LayerRow, ...]
    ledger: tuple[LedgerRow, ...]
    usable_bytes: int
    how: tuple[Made, ...]
    metrics: Mapping[str, Scalar]
    wall_s: float

    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""
        return self.metrics

    def content(self) -> dict[str, Json]:
        """Figures of the step, layers, ledger, how it was made, metrics."""
        return {
            "algorithm": self.point.algorithm,
            "parameters": dict(self.point.parameters),
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
            "energy_j": self.energy_j,
            "parameters_count": self.parameters_count,
            "binding": self.binding,
            "layers": [plain(dataclasses.asdict(row)) for row in self.layers],
            "ledger": [plain(dataclasses.asdict(row)) for row in self.ledger],
            "usable_bytes": self.usable_bytes,
            "how": [plain(dataclasses.asdict(row)) for row in self.how],
            "metrics": dict(self.metrics),
            "wall_s": self.wall_s,
        }

    @classmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back."""
        return cls(
            point,
            stored.read(float, "seconds"),
            stored.read(float, "tokens_per_second"),
            stored.read(float, "energy_j"),
            stored.read(int, "parameters_count"),
            stored.read(str, "binding"),
            stored.read(tuple[LayerRow, ...], "layers"),
            stored.read(tuple[LedgerRow, ...], "ledger"),
            stored.read(int, "usable_bytes"),
            stored.read(tuple[Made, ...], "how"),
            stored.read(dict[str, Scalar], "metrics"),
            stored.read(float, "wall_s"),
        )
