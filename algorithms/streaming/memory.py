"""Streaming SDPA whose keys and values come from a memory tier instead of being there when they are needed.

The sources of K and V become ``load`` units: each firing asks the tier for a run of rows and fills the FIFO that holds
them. Keys and values of all KV heads lie one after the other, K before V; every query row streams those of its head
anew, as in the paper's graphs (arXiv:2404.16629). Queries and outputs are ``d / N`` of that traffic and stay on chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from algorithms.memory.binding import dram_description
from algorithms.memory.capacity import Capacity, check_fits
from algorithms.streaming.parameters import StreamingParameters
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.reading.errors import InputError, Problem
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier
from simulator import DramServer, Graph, Unit, simulate
from simulator.firing import Block, FiringTable, Segment, uniform

CLOCK_DENOMINATOR_LIMIT = 10_000
"""Clocks per cycle are rounded to a fraction with at most this denominator: an error below 1e-8 of the ratio."""


@dataclass(frozen=True)
class MemoryBounds:
    """Cycles that a graph on a memory tier cannot beat, and cycles that it takes when nothing overlaps.

    Parameters
    ----------
    compute_cycles
        Cycles of the same graph with K and V at hand.
    transfer_cycles
        Cycles of all bytes over the tier's buses, at their peak rate. Loads of the same keys that are under way at
        the same time count once, since a controller may answer them together.
    serial_cycles
        Cycles of the same requests one at a time, with nothing else going on.
    """

    compute_cycles: int
    transfer_cycles: int
    serial_cycles: int

    def to_dict(self) -> dict[str, int]:
        """JSON form."""
        return {**vars(self), "lower_cycles": self.lower_cycles, "upper_cycles": self.upper_cycles}

    @property
    def lower_cycles(self) -> int:
        """The larger of compute and transfer."""
        return max(self.compute_cycles, self.transfer_cycles)

    @property
    def upper_cycles(self) -> int:
        """Upper bound: every load alone, then all the computing."""
        return self.compute_cycles + self.serial_cycles


def on_memory(graph: Graph, workload: Workload, parameters: StreamingParameters, clock_hz: float) -> Graph:
    """`graph` with its K and V loaded from ``parameters.kv_tier``; as it is if that is empty.

    Raises
    ------
    InputError
        An unknown tier or one without banks, scalar granularity, or loads that do not fit rows or buffer.
    CapacityError
        If the keys and values do not fit into the tier.
    """
    if not parameters.kv_tier:
        return graph
    rows = _rows_per_load(workload, parameters)
    shapes = {"keys": workload.k_shape, "values": workload.v_shape}
    sizes = [(name, math.prod(shape) * DTYPE_BYTES[workload.dtype]) for name, shape in shapes.items()]
    check_fits(Capacity.of_tier(_tier(parameters.kv_tier)), sizes, workload.dtype)
    server = _server(parameters, clock_hz)
    tables = _tables(workload, rows, parameters.queries_per_pass)
    buffer = parameters.kv_buffer_rows or parameters.kv_outstanding * rows
    if buffer < rows:
        raise InputError(Problem(f"must hold a load of {rows} rows (got {buffer})", field="kv_buffer_rows"))
    units = [
        replace(unit, kind="load", table=tables[unit.name], server=server.name) if unit.name in tables else unit
        for unit in graph.units
    ]
    loaded = replace(graph, units=units, servers=[*graph.servers, server])
    named = parameters.named_depths()
    return loaded.with_depths({c.name: buffer for c in graph.channels if c.producer in tables and c.name not in named})


def memory_bounds(graph: Graph, workload: Workload, parameters: StreamingParameters, clock_hz: float) -> MemoryBounds:
    """Bounds on the cycles of `on_memory`'s graph, given the `graph` it starts from."""
    compute = simulate(graph, timing_only=True, digest=False, explain=False).cycles
    tables = _tables(workload, _rows_per_load(workload, parameters), parameters.queries_per_pass)
    moved = sum(_distinct_bytes(table, parameters.kv_outstanding) for table in tables.values())
    tier = _tier(parameters.kv_tier)
    transfer = Fraction(moved) / Fraction(tier.peak_bytes_per_second) * Fraction(clock_hz)
    serial = sum(_alone(replace(_server(parameters, clock_hz), outstanding=1), table) for table in tables.values())
    return MemoryBounds(compute, int(-(-transfer // 1)), serial)


def _distinct_bytes(table: FiringTable, outstanding: int) -> int:
    """Bytes of loads that no other load of the same data can be under way beside.

    The same keys are loaded again one row later; both loads can only be under way if a row has fewer of them.
    """
    total, per_ramp = 0, table.ramp_length or table.iterations
    for row in range(min(per_ramp, table.iterations)):
        rows = (table.iterations - row - 1) // per_ramp + 1
        segments = [(s, s.count + s.growth * row) for block in table.blocks for s in block.segments]
        copies = 1 if sum(count for _, count in segments) >= outstanding else outstanding
        total += rows * sum(s.request_bytes * count for s, count in segments) // copies
    return total


def _alone(server: DramServer, table: FiringTable) -> int:
    """Cycles of one load unit into a consumer that is always ready."""
    graph = Graph("loads")
    graph.add_server(server)
    largest = max(segment.make[0] for block in table.blocks for segment in block.segments)
    load = graph.add(Unit("load", "load", table, server=server.name))
    tokens = table.made(0)
    sink = graph.add(Unit("sink", "sink", uniform(tokens, take=(1,))))
    graph.connect(load, sink, depth=2 * largest)
    return simulate(graph, timing_only=True, digest=False, explain=False).cycles


def _tier(name: str) -> DramTier:
    try:
        tier = load_tier(name)
    except InputError as error:
        raise InputError([replace(problem, field="kv_tier") for problem in error.problems]) from None
    if not isinstance(tier, DramTier):
        raise InputError(Problem(f"{name} is a {tier.kind} tier: K and V stream from DRAM", field="kv_tier"))
    return tier


def _server(parameters: StreamingParameters, clock_hz: float) -> DramServer:
    tier = _tier(parameters.kv_tier)
    clocks = 1 / (Fraction(clock_hz) * Fraction(tier.standard.tick_s))
    clocks = clocks.limit_denominator(CLOCK_DENOMINATOR_LIMIT)
    return DramServer(parameters.kv_tier, dram_description(tier), clocks, parameters.kv_outstanding)


def _rows_per_load(workload: Workload, parameters: StreamingParameters) -> int:
    if parameters.granularity != "row":
        raise InputError(Problem("K and V are loaded in rows: needs granularity row", field="kv_tier"))
    if workload.mask == "causal":
        if parameters.kv_rows_per_load > 1:
            raise InputError(
                Problem("rows that grow by one key are loaded key by key (must be 0 or 1)", field="kv_rows_per_load")
            )
        return 1
    return min(parameters.kv_rows_per_load or 16, workload.kv_len)


def _tables(workload: Workload, rows: int, queries: int) -> dict[str, FiringTable]:
    """Firing tables of the load units: every pass loads the keys its queries see, ``rows`` of them at a time."""
    first, growth = (workload.kv_len - workload.q_len + 1, 1) if workload.mask == "causal" else (workload.kv_len, 0)
    passes = workload.q_len // queries
    iterations = workload.batch * workload.heads * passes
    heads = workload.batch * workload.kv_heads
    element = DTYPE_BYTES[workload.dtype]
    sizes = {"k": workload.head_dim * element, "v": workload.v_head_dim * element}
    base = {"k": 0, "v": heads * workload.kv_len * sizes["k"]}
    tables = {}
    for name, row_bytes in sizes.items():
        full, rest = divmod(first, rows)
        counts = [(full, rows, 0, growth)] + ([(1, rest, full * rows * row_bytes, 0)] if rest else [])
        segments = tuple(
            Segment(
                count,
                (),
                (size,),
                growth=grows,
                request_bytes=size * row_bytes,
                address=base[name] + offset,
                address_step=size * row_bytes,
                address_iteration_step=workload.kv_len * row_bytes,
                iterations_per_address=passes * workload.group_size,
            )
            for count, size, offset, grows in counts
        )
        tables[name] = FiringTable((Block(segments),), iterations, passes)
    return tables
