"""Costs of one step of a KV policy: work, gathers, writes, copies, transfers and barriers, as data.

A `StepCost` is written by the same run that produces the attention output, so quality and cost can never
come from different selections. It says *what* has to happen, not how long it takes: a graph builder turns it
into requests to tiers and into work on units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from algorithms.kv.run.runs import Runs
from algorithms.workload.shape import Workload

Moment = Literal["before", "fused", "after"]
"""Moment of work relative to the attention it belongs to; ``fused`` rides inside the attention kernel."""

Barrier = Literal["none", "group", "layer", "model", "host"]
"""Who must have finished before the work can end: nobody, the query heads of one KV head, all heads of a
layer, all layers, or the host (a decision that leaves the accelerator)."""

BARRIERS: tuple[Barrier, ...] = ("none", "group", "layer", "model", "host")
SCORE_BYTES = 4
"""Scores, sums and counters of a policy are kept in 32-bit words."""


@dataclass(frozen=True)
class CacheShape:
    """The part of a model that a KV cache sees.

    Parameters
    ----------
    query_heads, kv_heads
        Heads per layer; query head `h` reads KV head `h // (query_heads // kv_heads)`.
    head_dim, value_dim
        Width of a key and of a value head; `value_dim` 0 stands for `head_dim`.
    layers
        Attention layers.
    element_bytes
        Storage of one cached element; a fraction for sub-byte formats.
    """

    query_heads: int
    kv_heads: int
    head_dim: int
    value_dim: int = 0
    layers: int = 1
    element_bytes: float = 2

    def __post_init__(self) -> None:
        if self.value_dim == 0:
            object.__setattr__(self, "value_dim", self.head_dim)

    @classmethod
    def of(cls, workload: Workload) -> CacheShape:
        """The cache shape of one sequence of `workload`."""
        return cls(
            workload.heads,
            workload.kv_heads,
            workload.head_dim,
            workload.v_head_dim,
            workload.layers or 1,
            workload.dtype_bytes,
        )

    @property
    def group(self) -> int:
        """Query heads per KV head."""
        return self.query_heads // self.kv_heads

    @property
    def key_bytes(self) -> float:
        """Bytes of one key of one KV head."""
        return self.head_dim * self.element_bytes

    @property
    def token_bytes(self) -> float:
        """Bytes of one token's key and value in one KV head."""
        return (self.head_dim + self.value_dim) * self.element_bytes


@dataclass(frozen=True)
class Work:
    """Arithmetic a policy spends on deciding, in one layer and one step, over all its heads.

    Parameters
    ----------
    what
        Short name, e.g. ``"page scores"``.
    macs, exps, adds, compares
        Number of operations.
    read_bytes, write_bytes
        Metadata and scores moved (not the keys and values that attention reads anyway).
    serial_depth
        Longest chain of dependent operations; what limits wide hardware.
    moment, barrier
        Moment at which it happens, and who has to wait for it.
    """

    what: str
    macs: int = 0
    exps: int = 0
    adds: int = 0
    compares: int = 0
    read_bytes: float = 0
    write_bytes: float = 0
    serial_depth: int = 0
    moment: Moment = "after"
    barrier: Barrier = "none"


def ranking_work(what: str, rows: int, length: int, kept: int, moment: Moment, barrier: Barrier) -> Work:
    """Choosing `kept` of `length` scores in each of `rows` rows.

    One score decides a single eviction by a tree of `length - 1` compares and depth `ceil(log2 length)`.
    A longer list is counted as a bitonic partial sort: `length * p` compares at depth `p (p + 1) / 2` with
    `p = ceil(log2 min(kept, length - kept))` (Knuth, TAOCP volume 3, section 5.3.4).
    """
    if length <= 1 or kept >= length:
        return Work(what, moment=moment, barrier=barrier)
    smaller = max(1, min(kept, length - kept))
    read = rows * length * SCORE_BYTES
    tree_depth = (length - 1).bit_length()
    if smaller == 1:
        return Work(what, 0, 0, 0, rows * (length - 1), read, 0, tree_depth, moment, barrier)
    levels = (smaller - 1).bit_length() + 1
    depth = levels * (levels + 1) // 2 + tree_depth
    return Work(what, 0, 0, 0, rows * length * levels, read, 0, depth, moment, barrier)


@dataclass(frozen=True, eq=False)
class Read:
    """A gather from one tier; `token_bytes` per slot of `runs`."""

    what: str
    tier: str
    runs: Runs
    token_bytes: float

    @property
    def bytes(self) -> float:
        """Bytes read."""
        return self.runs.tokens * self.token_bytes


@dataclass(frozen=True, eq=False)
class Write:
    """New rows written to one tier; `token_bytes` per slot of `runs`."""

    what: str
    tier: str
    runs: Runs
    token_bytes: float

    @property
    def bytes(self) -> float:
        """Bytes written."""
        return self.runs.tokens * self.token_bytes


@dataclass(frozen=True)
class Copy:
    """Rows moved inside a tier by compaction: `bytes` are read once and written once."""

    what: str
    tier: str
    tokens: int
    bytes: float


@dataclass(frozen=True)
class Transfer:
    """Bytes between tiers.

    Parameters
    ----------
    what, source, target
        Name and tiers.
    pieces, bytes
        Separate pieces and bytes in all.
    needed_at
        Step whose attention (in `needed_by_layer`) has to wait for it; later than the present step for a
        prefetch.
    needed_by_layer
        Layer that waits; -1 when nothing waits (a write-back).
    speculative
        Whether it is fetched on a guess.
    """

    what: str
    source: str
    target: str
    pieces: int
    bytes: float
    needed_at: int
    needed_by_layer: int
    speculative: bool = False


@dataclass(frozen=True)
class ScoreExport:
    """Probabilities a policy needs and a fused attention kernel does not keep.

    Hardware chooses the cheaper of a second QK pass (`macs`, `key_bytes`) and exported sums (`column_bytes`).

    Parameters
    ----------
    rows
        Query rows whose probabilities are needed.
    macs, key_bytes
        Cost of the second pass: `rows * keys * head_dim` per query head, and one more read of the keys.
    column_bytes
        One 32-bit sum per query head and key.
    """

    rows: int
    macs: int
    key_bytes: float
    column_bytes: float


@dataclass(frozen=True)
class Occupancy:
    """Bytes a layer holds in one tier.

    Parameters
    ----------
    tier
        Tier that holds the bytes.
    logical_bytes
        Bytes of the keys and values that are alive.
    physical_bytes
        Bytes of the pages that cannot be given back because something in them is alive.
    state_bytes
        Scores, representatives and other policy state.
    """

    tier: str
    logical_bytes: float
    physical_bytes: float
    state_bytes: float = 0.0


@dataclass(frozen=True, eq=False)
class StepCost:
    """Everything one layer does in one step.

    Parameters
    ----------
    layer, step
        Layer and step that the cost is of.
    queries
        Query rows answered.
    appended
        Tokens appended.
    attended, resident
        Keys read by attention, and keys kept after the step, per KV head.
    attention_macs, attention_exps
        Multiply-adds of `q k^T` and `p v`, exponentials of the softmax, over all query heads and summary entries.
    work
        Work of the policy itself.
    reads, writes, copies, transfers
        Reads, writes, copies and transfers between tiers.
    export
        Probabilities that had to leave the kernel, or None.
    occupancy
        Bytes held per tier after the step.
    hits, misses
        Blocks found in, and absent from, the fast tier.
    """

    layer: int
    step: int
    queries: int
    appended: int
    attended: tuple[int, ...]
    resident: tuple[int, ...]
    attention_macs: int
    attention_exps: int
    work: tuple[Work, ...] = ()
    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    copies: tuple[Copy, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    export: ScoreExport | None = None
    occupancy: tuple[Occupancy, ...] = ()
    hits: int = 0
    misses: int = 0

    @property
    def read_bytes(self) -> float:
        """Bytes gathered for attention, over all tiers."""
        return sum(read.bytes for read in self.reads)

    @property
    def policy_macs(self) -> int:
        """Multiply-accumulates spent on deciding, a second QK pass not counted."""
        return sum(work.macs for work in self.work)

    @property
    def metadata_bytes(self) -> float:
        """Metadata and scores read and written by the policy."""
        return sum(work.read_bytes + work.write_bytes for work in self.work)

    @property
    def serial_depth(self) -> int:
        """Dependent operations in a row before and after attention; fused work is hidden by it."""
        return sum(work.serial_depth for work in self.work if work.moment != "fused")

    @property
    def barrier(self) -> Barrier:
        """The widest barrier of the step."""
        return max((work.barrier for work in self.work), key=BARRIERS.index, default="none")

    def of_layer(self, layer: int) -> StepCost:
        """This cost in another layer."""
        transfers = tuple(
            replace(moved, needed_by_layer=layer) if moved.needed_by_layer >= 0 else moved for moved in self.transfers
        )
        return replace(self, layer=layer, transfers=transfers)

    def in_tiers(self, names: Mapping[str, str]) -> StepCost:
        """This cost with other names for the tiers."""
        return replace(
            self,
            reads=tuple(replace(read, tier=names[read.tier]) for read in self.reads),
            writes=tuple(replace(write, tier=names[write.tier]) for write in self.writes),
            copies=tuple(replace(copy, tier=names[copy.tier]) for copy in self.copies),
            transfers=tuple(
                replace(moved, source=names[moved.source], target=names[moved.target]) for moved in self.transfers
            ),
            occupancy=tuple(replace(held, tier=names[held.tier]) for held in self.occupancy),
        )

    def held(self, tier: str) -> Occupancy:
        """Bytes that the layer holds in `tier` after the step."""
        for occupancy in self.occupancy:
            if occupancy.tier == tier:
                return occupancy
        return Occupancy(tier, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class StackCost:
    """The layers of one step."""

    layers: tuple[StepCost, ...] = field(repr=False)

    def __iter__(self) -> Iterator[StepCost]:
        return iter(self.layers)

    def standing_for(self, layers: int) -> StackCost:
        """The costs of `layers` layers, these ones in turn."""
        if layers == len(self.layers):
            return self
        return StackCost(tuple(self.layers[layer % len(self.layers)].of_layer(layer) for layer in range(layers)))

    @property
    def read_bytes(self) -> float:
        """Bytes gathered for attention by all layers."""
        return sum(cost.read_bytes for cost in self.layers)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers that hold anything, in order of appearance."""
        return tuple(dict.fromkeys(held.tier for cost in self.layers for held in cost.occupancy))

    def held(self, tier: str) -> Occupancy:
        """Bytes that all layers hold in `tier`."""
        parts = [cost.held(tier) for cost in self.layers]
        return Occupancy(
            tier,
            sum(part.logical_bytes for part in parts),
            sum(part.physical_bytes for part in parts),
            sum(part.state_bytes for part in parts),
        )

    @property
    def hit_rate(self) -> float | None:
        """Share of looked-up blocks found in the fast tier; None when nothing was looked up."""
        return rate(self.layers)


def rate(costs: Iterable[StepCost]) -> float | None:
    """Hits over look-ups of several steps; None without look-ups."""
    hits = misses = 0
    for cost in costs:
        hits += cost.hits
        misses += cost.misses
    return hits / (hits + misses) if hits + misses else None
