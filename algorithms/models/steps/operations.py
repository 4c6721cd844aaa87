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
        Bytes of the tensor on one chip.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class Communication:
    """What chips exchange.

    Parameters
    ----------
    collective
        Collective by which the chips exchange data.
    chips
        How many take part.
    bytes
        Bytes of the exchange as `hwmodels.systems.collectives.exchange_on` counts them.
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
        Name for people, and kind by which times are summed.
    launches
        Launches in their order; empty for an exchange.
    profile
        Profile of the kernels.
    flops
        Useful ones on one chip.
    weight_bytes
        Bytes of weights that are read on one chip.
    cache_bytes
        Bytes of keys and values that are read and written on one chip.
    takes, makes
        Names of tensors that are alive until here, and those that come to be.
    communication
        Present for an exchange.
    gap_s
        Time before it, where that was fitted for the call it is a part of; None for what a launch of a graph costs.
    attends
        Whether it is done for each part of the batch by itself and depends on what that part attends to; everything
        else depends on numbers of tokens and sequences alone.
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
    gap_s: float | None = None
    attends: bool = False


@dataclass(frozen=True)
class Layer:
    """Operations of layers that are alike.

    Parameters
    ----------
    name
        ``text.0-31``, ``text.inputs``...
    operations
        Operations in their order.
    times
        How many such layers one chip goes through, stages one after the other.
    tower
        Tower to which the layer belongs.
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
