"""Plans of tiles: the contract between algorithms, which say what a chip does, and the mapping, which says when.

A `TilePlan` is a list of launches in order; a launch is a set of work items that no order binds, each of which one
core works through from its first tile step to its last. Equal items and equal steps are run-length coded, so that a
plan of a million tiles is a handful of records. Counts are integers and include the waste of ragged and diagonal tiles;
the useful counts stand beside them. Values are computed elsewhere, by the same tile loops, and never see timing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, TypeVar, get_args

from algorithms.chip.plan.exchange import TierTransfer

TileOrder = Literal["static", "longest_first"]
Overlap = Literal["serial", "ping_pong"]
Count = Literal["load_bytes", "store_bytes", "exps", "vector_ops", "flops", "exchange_bytes", "rearranged_bytes"]
"""Counts that can be added up over a plan."""
COUNTS: tuple[Count, ...] = get_args(Count)
Equal = TypeVar("Equal")


@dataclass(frozen=True)
class Matmul:
    """One matrix product of a tile step: ``rows x depth`` times ``depth x columns``.

    Parameters
    ----------
    rows, columns, depth
        Sizes as issued to the matrix array, before it pads them to its own granularity.
    """

    rows: int
    columns: int
    depth: int

    @property
    def flops(self) -> int:
        """FLOPs as issued, 2 per multiply-add."""
        return 2 * self.rows * self.columns * self.depth


@dataclass(frozen=True)
class TileStep:
    """One pass over one tile of keys and values: load, first products, softmax, second products, store.

    Parameters
    ----------
    load_bytes
        Bytes fetched from the shared tiers for this step (the K and V tiles, or an operand tile).
    scores
        Products that must be done before the softmax part.
    exps
        Exponentials evaluated.
    vector_ops
        Other elementwise operations on the vector lanes (scale, max, sum, rescale, convert).
    values
        Products that need the softmax part.
    store_bytes
        Bytes written to the shared tiers in this step (0 for a query-outer loop).
    exchange_bytes
        Bytes that warps of the core pass to each other through its local memory, writes and reads together; the next
        step waits for it.
    exchanges
        Times that all warps wait for each other on the way.
    rearranged_bytes
        Bytes of the loaded tile written to local memory again in another order, writes and reads together, before it is
        handed to the products.
    """

    load_bytes: int = 0
    scores: tuple[Matmul, ...] = ()
    exps: int = 0
    vector_ops: int = 0
    values: tuple[Matmul, ...] = ()
    store_bytes: int = 0
    exchange_bytes: int = 0
    exchanges: int = 0
    rearranged_bytes: int = 0

    @property
    def flops(self) -> int:
        """FLOPs of all products, as issued."""
        return sum(product.flops for product in (*self.scores, *self.values))


@dataclass(frozen=True)
class WorkItem:
    """Work of one core from start to end without help (a thread block, a query tile, a split of the keys).

    Parameters
    ----------
    steps
        Pairs (step, times), in order.
    first_load_bytes
        Bytes needed before the first step (the query tile).
    last_vector_ops
        Vector operations after the last step (normalisation).
    last_store_bytes
        Bytes written at the end (the output tile, log-sum-exps, partial results).
    """

    steps: tuple[tuple[TileStep, int], ...]
    first_load_bytes: int = 0
    last_vector_ops: int = 0
    last_store_bytes: int = 0

    def total(self, name: Count) -> int:
        """Sum of one count over all steps, what comes first and last included."""
        extra = {
            "load_bytes": self.first_load_bytes,
            "store_bytes": self.last_store_bytes,
            "vector_ops": self.last_vector_ops,
        }
        of_steps: int = extra.get(name, 0) + sum(getattr(step, name) * times for step, times in self.steps)
        return of_steps

    @property
    def step_count(self) -> int:
        """Number of tile steps."""
        return sum(times for _, times in self.steps)


@dataclass(frozen=True)
class Launch:
    """Work items that may run in any order on any core; the next launch starts when all are done.

    Parameters
    ----------
    name
        Name for people: ``attention``, ``merge``, ``softmax``.
    items
        Pairs (item, times), in the order in which they are handed out.
    unique_load_bytes
        Bytes of distinct data among all that items load: what the farthest tier must deliver at least once. The rest is
        reuse that a shared cache can serve.
    reused_bytes
        Distinct bytes, intermediate results in a cache included, that more than one item
        loads: what a cache has to hold. None counts all that comes from the farthest tier.
    shared_by
        Items handed out next to each other that read the same bytes at the same time, so that a shared cache of any
        size serves all of them but one.
    reread_bytes
        Bytes that pass through a shared cache between two reads of the same ones, where items read in turns: a cache
        that replaces what was used least recently serves the second read if it holds all of them, and nothing
        otherwise. None: what is read again is spread evenly, see ``reused_bytes``.
    kept_store_bytes
        Stored bytes that stay in a shared cache until a later launch has read them.
    gather_bytes
        Length of the pieces that items read at scattered addresses; 0 where they read on from where they are.
    order
        How items are handed to cores: in the given order, or longest first.
    matrix_format, vector_format
        Number formats of the products' operands and of the elementwise part, keys of
        `algorithms.workload.shape.DTYPE_BYTES`.
    overlap
        ``serial``: a core does the scores, the softmax and the value products of a step one after the other.
        ``ping_pong``: the rows of an item are shared by `row_groups` that take turns, so that products of one group
        run beside the softmax of another (FlashAttention-3, arXiv:2407.08608, section 3.1).
    row_groups
        Groups of rows ("warp groups") of an item.
    """

    name: str
    items: tuple[tuple[WorkItem, int], ...]
    unique_load_bytes: int
    order: TileOrder = "static"
    matrix_format: str = "float16"
    vector_format: str = "float32"
    overlap: Overlap = "serial"
    row_groups: int = 1
    reused_bytes: int | None = None
    shared_by: int = 1
    kept_store_bytes: int = 0
    gather_bytes: int = 0
    reread_bytes: int | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept, since a launch is looked up again and again; never travels, as hashes are those of a process."""
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_hash"}

    def total(self, name: Count) -> int:
        """Sum of one count over all items."""
        return self._totals[name]

    @cached_property
    def _totals(self) -> dict[str, int]:
        return {name: sum(item.total(name) * times for item, times in self.items) for name in COUNTS}

    @cached_property
    def item_count(self) -> int:
        """Number of work items."""
        return sum(times for _, times in self.items)


@dataclass(frozen=True)
class TilePlan:
    """The launches of an algorithm on a workload, with the useful work they contain.

    Parameters
    ----------
    algorithm
        Registered name.
    launches
        Launches in order; each ends before the next begins.
    useful_flops, useful_exps
        FLOPs and exponentials without padding and waste, by the conventions of `algorithms.workload.shape`.
    compulsory_bytes
        Bytes of inputs read once and outputs written once: no order of work moves less.
    capacity_bytes
        Largest footprint in the tier that holds the tensors.
    core_bytes
        Largest footprint in a core's local memory (tiles and accumulators).
    transfers
        Transfers between memory tiers, beside the launches.
    """

    algorithm: str
    launches: tuple[Launch, ...]
    useful_flops: int
    useful_exps: int
    compulsory_bytes: int
    capacity_bytes: int
    core_bytes: int
    transfers: tuple[TierTransfer, ...] = ()

    def total(self, name: Count) -> int:
        """Sum of one count over all launches."""
        return sum(launch.total(name) for launch in self.launches)


def run_lengths(sequence: Iterable[Equal]) -> tuple[tuple[Equal, int], ...]:
    """Neighbours that are equal, counted: the form that `Launch.items` and `WorkItem.steps` take."""
    return joined_runs((each, 1) for each in sequence)


def joined_runs(runs: Iterable[tuple[Equal, int]]) -> tuple[tuple[Equal, int], ...]:
    """Runs whose neighbours are equal as one, and none that are empty."""
    joined: list[tuple[Equal, int]] = []
    for each, times in runs:
        if joined and (joined[-1][0] is each or joined[-1][0] == each):
            joined[-1] = (joined[-1][0], joined[-1][1] + times)
        elif times:
            joined.append((each, times))
    return tuple(joined)
