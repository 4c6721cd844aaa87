"""Operations of a step: launches or an exchange, the work in them, and the tensors they take and make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algorithms.chip.plan.plan import Launch
from algorithms.chip.plan.profile import KernelProfile
from hwmodels.systems.collectives import Collective

Way = Literal["simulated", "closed form", "measured table"]
"""How a time is made."""
Kind = Literal["product", "experts", "attention", "norm", "pass", "lookup", "head", "exchange"]


@dataclass(frozen=True)
class Tensor:
    """Something alive between operations.

    Parameters
    ----------
    name
        Unique within a layer.
    bytes
        On one chip.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Communication:
    """What chips exchange.

    Parameters
    ----------
    collective
        How.
    chips
        How many take part.
    bytes
        As `hwmodels.systems.collectives.exchange_on` counts.
    """

    collective: Collective
    chips: int
    bytes: int


@dataclass(frozen=True)
class Operation:
    """One thing that a layer does on every chip of a stage.

    Parameters
    ----------
    name, kind
        For people and for sums by kind.
    launches
        In order; empty for an exchange.
    profile
        Of the kernels.
    flops
        Useful ones on one chip.
    weight_bytes
        Of weights that are read on one chip.
    cache_bytes
        Of keys and values that are read and written on one chip.
    takes, makes
        Names of tensors that are alive until here, and those that come to be.
    communication
        Present for an exchange.
    """

    name: str
    kind: Kind
    launches: tuple[Launch, ...] = ()
    profile: KernelProfile | None = None
    flops: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0
    takes: tuple[str, ...] = ()
    makes: tuple[Tensor, ...] = ()
    communication: Communication | None = None


@dataclass(frozen=True)
class Layer:
    """Operations of layers that are alike.

    Parameters
    ----------
    name
        ``text.0-31``, ``text.inputs``...
    operations
        In order.
    times
        How many such layers one chip goes through, stages one after the other.
    tower
        To which it belongs.
    """

    name: str
    operations: tuple[Operation, ...]
    times: int
    tower: str


def total_flops(layers: tuple[Layer, ...]) -> int:
    """Useful ones of one chip of every stage."""
    return sum(layer.times * operation.flops for layer in layers for operation in layer.operations)


def total_weight_bytes(layers: tuple[Layer, ...]) -> int:
    """Read by one chip of every stage."""
    return sum(layer.times * operation.weight_bytes for layer in layers for operation in layer.operations)
