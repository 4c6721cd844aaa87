"""Settings of a probe of a memory tier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from algorithms.memory.tier_report import Fidelity
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.shipped import is_path
from hwmodels.tiers.text import tier_names

Pattern = Literal["sequential", "random", "stride", "gather", "streams"]

GENERATORS: dict[Pattern, str] = {
    "sequential": "seq_read",
    "random": "gather",
    "stride": "stride",
    "gather": "gather",
    "streams": "streams",
}


@dataclass(frozen=True)
class ProbeParameters:
    """Traffic to ask of a tier, and how; 0 or an empty text leaves a setting to the tier."""

    tier: str = field(default="hbm2", metadata={"help": "preset name or YAML file of a tier"})
    count: int = field(default=0, metadata={"help": "stacks or channels; 0: as in the preset"})
    pattern: Pattern = field(
        default="sequential",
        metadata={
            "help": "order of addresses; random: single transactions, gather: runs at random places, streams: in turn"
        },
    )
    transactions: int = field(
        default=100_000, metadata={"help": "number of reads and writes, each of the tier's smallest size"}
    )
    run_bytes: int = field(default=256, metadata={"help": "length of a run (gather, streams)", "unit": "B"})
    stride_bytes: int = field(default=4096, metadata={"help": "distance of a stride", "unit": "B"})
    streams: int = field(default=2, metadata={"help": "sequential streams that take turns; 2: keys and values"})
    read_fraction: float = field(default=1.0, metadata={"help": "share of reads; the rest are writes, drawn at random"})
    load: float = field(default=0.0, metadata={"help": "offered rate as a share of the peak; 0: as fast as accepted"})
    mapping: str = field(
        default="",
        metadata={"help": "coordinates of an address, least significant first, e.g. 'group column bank rank row'"},
    )
    accepts_per_clock: int = field(
        default=0,
        metadata={"help": "transactions that a channel (or shared source) accepts per clock; 0: as in the preset"},
    )
    shared_source: bool = field(default=False, metadata={"help": "whether one in-order source feeds all channels"})
    queue_depth: int = field(
        default=0, metadata={"help": "reads, and writes, that a channel can queue; 0: as in the preset"}
    )
    outstanding: int = field(default=0, metadata={"help": "transactions a source may have under way; 0: no limit"})
    refresh: bool = field(default=True, metadata={"help": "whether the tier is refreshed"})
    sample_channels: int = field(
        default=1, metadata={"help": "channels that one simulated channel stands for; 1: all are simulated"}
    )
    fidelity: Fidelity = field(
        default="cycle", metadata={"help": "cycle: simulation, bank by bank; analytic: closed forms instead"}
    )
    seed: int = field(default=1, metadata={"help": "seed of random addresses and directions"})

    def __post_init__(self) -> None:
        at_least = {"count": 0, "transactions": 1, "run_bytes": 1, "stride_bytes": 1, "streams": 1, "seed": 0}
        at_least |= {"accepts_per_clock": 0, "queue_depth": 0, "outstanding": 0, "sample_channels": 1}
        problems = [
            Problem(f"must be at least {low} (got {getattr(self, name)})", field=name)
            for name, low in at_least.items()
            if getattr(self, name) < low
        ]
        if not is_path(self.tier) and self.tier not in tier_names():
            hint = did_you_mean(self.tier, tier_names())
            problems.append(Problem(f"unknown tier {self.tier!r}", field="tier", hint=hint))
        for name in ("read_fraction", "load"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(Problem(f"must be from 0 to 1 (got {getattr(self, name)})", field=name))
        if self.sample_channels > 1 and self.shared_source:
            problems.append(Problem("channels behind one source depend on each other", field="sample_channels"))
        if problems:
            raise InputError(problems)
