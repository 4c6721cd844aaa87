"""What a stored point says about its units and FIFOs, read out of its JSON detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.points.point import Json
from studies.store.store import Outcome


@dataclass(frozen=True)
class UnitUse:
    """Where the cycles of a unit went; `stalled_cycles` by cause, as in `simulator.result.UnitResult`."""

    name: str
    kind: str
    busy_cycles: int
    stalled_cycles: dict[str, int]
    idle_cycles: int

    @property
    def total_cycles(self) -> int:
        """Cycles of the run."""
        return self.busy_cycles + sum(self.stalled_cycles.values()) + self.idle_cycles


@dataclass(frozen=True)
class FifoUse:
    """Depth and use of a FIFO in tokens; depth and capacity are None for an unbounded one."""

    name: str
    producer: str
    consumer: str
    depth: int | None
    peak_occupancy: int
    tokens: int
    capacity_bytes: int | None


@dataclass(frozen=True)
class Wait:
    """A unit that waits for data or space of a FIFO."""

    unit: str
    reason: str
    channel: str
    occupancy: int
    depth: int | None

    def __str__(self) -> str:
        slots = "any number" if self.depth is None else f"{self.depth:,}"
        return f"{self.unit} waits for {self.reason}: {self.channel} holds {self.occupancy:,} of {slots}"


@dataclass(frozen=True)
class Halt:
    """A deadlock: when, who waits for whom, and the single depths that would free it."""

    cycle: int
    waits: tuple[Wait, ...]
    remedy: dict[str, int]


@dataclass(frozen=True)
class LaunchUse:
    """How long a launch on a chip took, and the share of that in which each unit works."""

    name: str
    seconds: float
    busy: dict[str, float]


@dataclass(frozen=True)
class ChipUse:
    """What a run on a chip took, what bounds it (`binding` is the largest of `bounds_s`), and its energy."""

    seconds: float
    binding: str
    bounds_s: dict[str, float]
    energy_j: dict[str, float]
    launches: tuple[LaunchUse, ...]


CHIP_BOUNDS = ("memory", "matrix", "exp", "vector")


def chip_run_of(outcome: Outcome) -> ChipUse | None:
    """The run of a point on a chip; None for a graph of FIFOs or a failed point."""
    bounds = outcome.detail.get("bounds")
    if not isinstance(bounds, Mapping):
        return None
    found = _numbers(bounds)
    return ChipUse(
        seconds=_number(outcome.detail.get("seconds")),
        binding=str(bounds.get("binding")),
        bounds_s={name: found[f"{name}_s"] for name in CHIP_BOUNDS if f"{name}_s" in found},
        energy_j=_numbers(outcome.detail.get("energy_j")),
        launches=tuple(
            LaunchUse(str(launch["name"]), _number(launch.get("seconds")), _numbers(launch.get("busy")))
            for launch in _mappings(outcome.detail.get("launches"))
        ),
    )


def units_of(outcome: Outcome) -> tuple[UnitUse, ...]:
    """The units of a point, in the order of its graph; none for a failed point."""
    return tuple(
        UnitUse(
            name=str(unit["name"]),
            kind=str(unit["kind"]),
            busy_cycles=_whole(unit["busy_cycles"]),
            stalled_cycles=_wholes(unit["stalled_cycles"]),
            idle_cycles=_whole(unit["idle_cycles"]),
        )
        for unit in _mappings(outcome.detail.get("units"))
    )


@dataclass(frozen=True)
class TierUse:
    """Clocks of all data buses of a memory tier: moving data, and lost by cause."""

    name: str
    busy_clocks: float
    lost_clocks: dict[str, float]


def tiers_of(outcome: Outcome) -> tuple[TierUse, ...]:
    """The memory tiers of a pipeline that were simulated bank by bank; none for other points."""
    found = []
    for server in _mappings(outcome.detail.get("servers")):
        tier = server.get("tier")
        if isinstance(tier, Mapping):
            found.append(TierUse(str(server["name"]), _number(tier.get("busy_clocks")), _numbers(tier["lost_clocks"])))
    return tuple(found)


def fifos_of(outcome: Outcome) -> tuple[FifoUse, ...]:
    """The FIFOs of a point, in the order of its graph; none for a failed point."""
    return tuple(
        FifoUse(
            name=str(channel["name"]),
            producer=str(channel["producer"]),
            consumer=str(channel["consumer"]),
            depth=_whole_or_none(channel["depth"]),
            peak_occupancy=_whole(channel["peak_occupancy"]),
            tokens=_whole(channel["tokens"]),
            capacity_bytes=_whole_or_none(channel["capacity_bytes"]),
        )
        for channel in _mappings(outcome.detail.get("channels"))
    )


def halt_of(outcome: Outcome) -> Halt | None:
    """The deadlock of a point, if it has one."""
    deadlock = outcome.detail.get("deadlock")
    if not isinstance(deadlock, Mapping):
        return None
    waits = tuple(
        Wait(
            unit=str(wait["unit"]),
            reason=str(wait["reason"]),
            channel=str(wait["channel"]),
            occupancy=_whole(wait["occupancy"]),
            depth=_whole_or_none(wait["depth"]),
        )
        for wait in _mappings(deadlock.get("waits"))
    )
    return Halt(_whole(deadlock.get("cycle")), waits, _wholes(deadlock.get("smallest_depth")))


def lints_of(outcome: Outcome) -> tuple[str, ...]:
    """Remarks about the design of a point."""
    lints = outcome.detail.get("lints")
    return tuple(str(lint) for lint in lints) if isinstance(lints, Sequence) and not isinstance(lints, str) else ()


def _mappings(value: Json) -> list[Mapping[str, Json]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _numbers(value: Json) -> dict[str, float]:
    """The numbers of a mapping; texts are left out."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(number) for name, number in value.items() if isinstance(number, int | float)}


def _whole(value: Json) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _whole_or_none(value: Json) -> int | None:
    return None if value is None else _whole(value)


def _wholes(value: Json) -> dict[str, int]:
    return {str(name): _whole(number) for name, number in value.items()} if isinstance(value, Mapping) else {}
