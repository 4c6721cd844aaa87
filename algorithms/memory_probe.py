"""Probe of a memory tier: a traffic generator on an idle tier, and a report of what limits it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from algorithms.memory_binding import dram_description, dram_energy_j
from algorithms.memory_patterns import AddressSpace, Stream, make_stream, random_below
from algorithms.tier_report import Fidelity, TierReport
from hwmodels.errors import InputError, Problem
from hwmodels.standards.checks import check_standard
from hwmodels.standards.standard import DramMapping
from hwmodels.tiers.dram_analytic import NINE_IN_TEN_ERROR_PCT, TYPICAL_ERROR_PCT, DramTraffic, estimate_dram
from hwmodels.tiers.text import load_tier
from hwmodels.tiers.tier import DramTier
from simulator.servers.dram import Requests, run_dram
from simulator.servers.dram_mapping import channels_of

PROBE = "tier.probe"
LARGEST_ASYMMETRY = 0.05
"""Difference of load up to which one of N channels may stand for all of them."""
Pattern = Literal["sequential", "random", "stride", "gather", "streams"]

_GENERATORS: dict[Pattern, str] = {
    "sequential": "seq_read",
    "random": "gather",
    "stride": "stride",
    "gather": "gather",
    "streams": "streams",
}


@dataclass(frozen=True)
class ProbeParameters:
    """What to ask of a tier, and how; 0 or an empty text leaves a setting to the tier."""

    tier: str = field(default="hbm2", metadata={"help": "preset name or YAML file of a DRAM tier"})
    count: int = field(default=0, metadata={"help": "stacks or channels; 0: as in the preset"})
    pattern: Pattern = field(
        default="sequential",
        metadata={"help": "random: single transactions; gather: runs at random places; streams: e.g. K and V in turn"},
    )
    transactions: int = field(default=100_000, metadata={"help": "reads and writes of the tier's smallest size"})
    run_bytes: int = field(default=256, metadata={"help": "length of a run (gather, streams)", "unit": "B"})
    stride_bytes: int = field(default=4096, metadata={"help": "distance of a stride", "unit": "B"})
    streams: int = field(default=2, metadata={"help": "sequential streams that take turns; 2: keys and values"})
    read_fraction: float = field(default=1.0, metadata={"help": "share of reads; the rest are writes, drawn at random"})
    load: float = field(default=0.0, metadata={"help": "offered rate as a share of the peak; 0: as fast as accepted"})
    mapping: str = field(
        default="",
        metadata={"help": "coordinates of an address, least significant first, e.g. 'group column bank rank row'"},
    )
    accepts_per_clock: int = field(default=0, metadata={"help": "transactions a channel (or shared source) accepts"})
    shared_source: bool = field(default=False, metadata={"help": "one in-order source feeds all channels"})
    queue_depth: int = field(default=0, metadata={"help": "reads, and writes, a channel can queue"})
    outstanding: int = field(default=0, metadata={"help": "transactions a source may have under way; 0: no limit"})
    refresh: bool = field(default=True, metadata={"help": "false: the tier is never refreshed"})
    sample_channels: int = field(
        default=1, metadata={"help": "simulate one of so many channels and let it stand for all; 1: all of them"}
    )
    fidelity: Fidelity = field(default="cycle", metadata={"help": "analytic: closed forms instead of simulation"})
    seed: int = field(default=1, metadata={"help": "of random addresses and directions"})

    def __post_init__(self) -> None:
        at_least = {"count": 0, "transactions": 1, "run_bytes": 1, "stride_bytes": 1, "streams": 1, "seed": 0}
        at_least |= {"accepts_per_clock": 0, "queue_depth": 0, "outstanding": 0, "sample_channels": 1}
        problems = [
            Problem(f"must be at least {low} (got {getattr(self, name)})", field=name)
            for name, low in at_least.items()
            if getattr(self, name) < low
        ]
        for name in ("read_fraction", "load"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(Problem(f"must be from 0 to 1 (got {getattr(self, name)})", field=name))
        if self.sample_channels > 1 and self.shared_source:
            problems.append(Problem("channels behind one source depend on each other", field="sample_channels"))
        if problems:
            raise InputError(problems)


def probe(parameters: ProbeParameters) -> TierReport:
    """Send the traffic to the tier.

    Raises
    ------
    InputError
        Unknown tier, one without banks, or a mapping that does not fit it.
    simulator.errors.GraphError
        Settings beyond the limits of the DRAM kernels.
    """
    tier = probed_tier(parameters)
    return _estimated(tier, parameters) if parameters.fidelity == "analytic" else _simulated(tier, parameters)


def probed_tier(parameters: ProbeParameters) -> DramTier:
    """The tier of a probe, with mapping, controller and refresh as the probe asks for."""
    tier = load_tier(parameters.tier, parameters.count or None)
    if not isinstance(tier, DramTier):
        raise InputError(Problem(f"{tier.name} is a tier of kind {tier.kind}; only DRAM can be probed", field="tier"))
    standard = tier.standard
    changes: dict[str, int | bool | str] = {"shared_source": parameters.shared_source}
    if parameters.accepts_per_clock:
        changes["width"] = parameters.accepts_per_clock
    if parameters.queue_depth:
        factor = parameters.queue_depth / standard.controller.write_depth
        changes["read_depth"] = changes["write_depth"] = parameters.queue_depth
        changes["drain_high"] = max(1, round(standard.controller.drain_high * factor))
        changes["drain_low"] = round(standard.controller.drain_low * factor)
    if parameters.outstanding:
        changes["outstanding"] = parameters.outstanding
    if not parameters.refresh:
        changes["refresh"] = "none"
    standard = replace(standard, controller=replace(standard.controller, **changes))
    if parameters.mapping:
        standard = replace(standard, mapping=DramMapping(tuple(parameters.mapping.replace(",", " ").split())))
    problems = [Problem(message, field="mapping", hint=hint) for _, message, hint in check_standard(standard)]
    if problems:
        raise InputError(problems)
    return replace(tier, standard=standard)


def traffic(tier: DramTier, parameters: ProbeParameters, transactions: int) -> Stream:
    """The first transactions of a probe's traffic."""
    unit = tier.organisation.transaction_bytes
    fields = tuple((part.coordinate, part.size) for part in tier.fields)
    space = AddressSpace(unit, tier.capacity_bytes, fields, tier.standard.tick_s * 1e9)
    settings = {
        "seed": parameters.seed,
        "block": unit if parameters.pattern == "random" else parameters.run_bytes,
        "stride": parameters.stride_bytes,
        "k": parameters.streams,
        "chunk": parameters.run_bytes,
    }
    stream = make_stream(_GENERATORS[parameters.pattern], space, transactions, settings)
    index = np.arange(transactions)
    if parameters.read_fraction < 1:
        drawn = random_below(parameters.seed + 1, index, 1 << 30)
        is_write = (drawn >= parameters.read_fraction * (1 << 30)).astype(np.int64)
        stream = replace(stream, is_write=is_write)
    if parameters.load:
        ticks = unit / (parameters.load * tier.peak_bytes_per_second * tier.standard.tick_s)
        stream = replace(stream, arrival_clock=np.floor(index * ticks).astype(np.int64))
    return stream


def _simulated(tier: DramTier, parameters: ProbeParameters) -> TierReport:
    description = dram_description(tier)
    stream = traffic(tier, parameters, parameters.transactions)
    channels = range(tier.organisation.channels)[:: parameters.sample_channels]
    if len(channels) < tier.organisation.channels:
        numbers = stream.address_bytes // tier.organisation.transaction_bytes
        kept = channels_of(description.parameters(), numbers) % parameters.sample_channels == 0
        stream = Stream(stream.address_bytes[kept], stream.is_write[kept], stream.arrival_clock[kept])
        share = kept.mean() * parameters.sample_channels
        if abs(share - 1) > LARGEST_ASYMMETRY:
            message = f"channels are not loaded alike: those sampled would have {share:.2f} times their share"
            raise InputError(Problem(message, field="sample_channels"))
    unit = tier.organisation.transaction_bytes
    requests = Requests.of(stream.address_bytes, unit, 0, stream.is_write, stream.arrival_clock)
    run = run_dram(description, requests, channels)
    latency = (run.done_clock - run.accept_clock)[stream.is_write == 0]
    energy = dram_energy_j(tier, run.counters) if len(channels) == tier.organisation.channels else None
    report = TierReport.from_counters(
        tier.name,
        tier.peak_bytes_per_second,
        tier.standard.tick_s,
        run.counters,
        latency,
        channels=tier.organisation.channels,
        simulated_channels=len(channels),
        energy_j=None if energy is None else sum(energy.values()),
    )
    if energy is None:
        report = replace(report, remark=f"one of {parameters.sample_channels} channels stands for all")
    return report


SAMPLE_PER_CHANNEL = 512
"""Transactions per channel that the closed forms look at."""


def _estimated(tier: DramTier, parameters: ProbeParameters) -> TierReport:
    """The report from closed forms on a sample of the traffic."""
    sample = SAMPLE_PER_CHANNEL * tier.organisation.channels
    stream = traffic(tier, parameters, min(sample, parameters.transactions))
    found = estimate_dram(tier, DramTraffic(stream.address_bytes, stream.is_write, parameters.load or None))
    return TierReport(
        tier.name,
        "analytic",
        tier.peak_bytes_per_second,
        parameters.transactions
        * tier.organisation.transaction_bytes
        / (found.utilisation * tier.peak_bytes_per_second),
        1.0,
        found.utilisation,
        dict(found.lost_shares),
        found.row_hit_rate,
        found.mean_latency_s,
        channels=tier.organisation.channels,
        simulated_channels=0,
        remark=(
            f"closed forms: bandwidth within {TYPICAL_ERROR_PCT:g} % of the simulation in half of all cases, within "
            f"{NINE_IN_TEN_ERROR_PCT:g} % in nine of ten; see attnflow validate analytic"
        ),
    )
