"""Parameters that all streaming variants share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from algorithms.workload.levers import knob
from hwmodels.reading.errors import InputError, Problem

Granularity = Literal["row", "scalar"]


@dataclass(frozen=True)
class StreamingParameters:
    """Settings of a streaming pipeline.

    Row granularity moves whole rows of Q, K and V (`head_dim` elements) in one token and scores one by one; scalar
    granularity moves single elements and does one multiply-add per cycle.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    value_parameters: ClassVar[tuple[str, ...]] = ("granularity",)
    """Parameters that change what is computed; all others only change when."""

    granularity: Granularity = field(default="row", metadata=knob("tokens of Q, K and V: row or scalar"))
    fifo_depth: int = field(default=16, metadata=knob("depth of every short FIFO, in tokens", depth=True))
    long_depth: int = field(
        default=0, metadata=knob("depth of the row-long FIFOs, in tokens; 0: what full rate needs", depth=True)
    )
    depths: str = field(default="", metadata=knob("depths of single FIFOs: NAME=DEPTH,NAME=DEPTH"))
    qk_latency: int = field(default=1, metadata=knob("latency of the QK dot product", "cycles"))
    pv_latency: int = field(default=1, metadata=knob("latency of the PV accumulation", "cycles"))
    exp_latency: int = field(default=1, metadata=knob("latency of the exponential", "cycles"))
    div_latency: int = field(default=1, metadata=knob("latency of the division", "cycles"))
    reduce_latency: int = field(default=1, metadata=knob("latency of row sums, maxima and scans", "cycles"))
    mac_lanes: int = field(
        default=0,
        metadata=knob("multiply-add lanes of each matrix unit, rows only; 0: one per element", speeds=("qk", "pv")),
    )
    exp_cycles: int = field(default=1, metadata=knob("cycles one lane spends on an exponential", "cycles"))
    exp_lanes: int = field(default=1, metadata=knob("lanes of the exponential unit", speeds=("exp", "online_max")))
    div_cycles: int = field(default=1, metadata=knob("cycles one lane spends on a division", "cycles"))
    div_lanes: int = field(default=1, metadata=knob("lanes of the division unit for scalars", speeds=("div",)))
    row_div_cycles: int = field(default=1, metadata=knob("cycles between two divisions of output rows", "cycles"))
    kv_tier: str = field(
        default="", metadata=knob("DRAM tier that K and V are loaded from; empty: they are always at hand")
    )
    kv_rows_per_load: int = field(default=0, metadata=knob("rows of one load; 0: 16, or 1 under a causal mask"))
    kv_outstanding: int = field(default=8, metadata=knob("loads of K, and of V, under way at a time"))
    kv_buffer_rows: int = field(
        default=0, metadata=knob("depth of the FIFOs that loads fill, in rows; 0: as deep as all loads under way")
    )

    def __post_init__(self) -> None:
        lowest = {"long_depth": 0, "mac_lanes": 0, "kv_rows_per_load": 0, "kv_buffer_rows": 0}
        problems = [
            Problem(f"must be at least {lowest.get(name, 1)} (got {value})", field=name)
            for name, value in vars(self).items()
            if isinstance(value, int) and not isinstance(value, bool) and value < lowest.get(name, 1)
        ]
        if self.granularity not in ("row", "scalar"):
            problems.append(Problem(f"must be row or scalar (got {self.granularity!r})", field="granularity"))
        if self.mac_lanes and self.granularity == "scalar":
            problems.append(Problem("scalar granularity does one multiply-add per cycle", field="mac_lanes"))
        try:
            self.named_depths()
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)

    @property
    def exp_ii(self) -> int:
        """Cycles between two exponentials."""
        return -(-self.exp_cycles // self.exp_lanes)

    @property
    def div_ii(self) -> int:
        """Cycles between two divisions of scalars."""
        return -(-self.div_cycles // self.div_lanes)

    @property
    def queries_per_pass(self) -> int:
        """Queries that share one pass over keys and values."""
        return 1

    def mac_ii(self, elements: int) -> int:
        """Cycles between two dot products (or row updates) of ``elements`` multiply-adds."""
        return -(-elements // self.mac_lanes) if self.mac_lanes else 1

    def named_depths(self) -> dict[str, int]:
        """``depths`` as a mapping from channel name to depth."""
        named: dict[str, int] = {}
        for item in filter(None, (part.strip() for part in self.depths.split(","))):
            name, _, depth = item.rpartition("=")
            if not name or not depth.strip().isdigit() or int(depth) < 1:
                raise InputError(
                    Problem(f"must read NAME=DEPTH,... with depths of at least 1 (got {item!r})", field="depths")
                )
            named[name.strip()] = int(depth)
        return named
