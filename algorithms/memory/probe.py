"""Probe of a memory tier: a traffic generator on an idle tier, and a report of what limits it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from algorithms.memory.algorithm import tier_algorithm
from algorithms.memory.binding import dram_description, dram_energy_j
from algorithms.memory.patterns import AddressSpace, Stream, make_stream, random_below
from algorithms.memory.probe_parameters import GENERATORS, ProbeParameters
from algorithms.memory.request_probe import probe_requests
from algorithms.memory.tier_report import TierReport
from algorithms.workload.changes import changed
from hwmodels.reading.errors import InputError, Problem
from hwmodels.standards.checks import check_standard
from hwmodels.standards.standard import DramMapping
from hwmodels.tiers.base import ServedTier
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.dram_analytic import ERROR_REMARK, DramTraffic, estimate_dram
from hwmodels.tiers.text import load_tier
from simulator.servers.dram.mapping import channels_of
from simulator.servers.dram.tier import Requests, run_dram

ANY_TIER = frozenset(
    {
        "tier",
        "count",
        "pattern",
        "transactions",
        "run_bytes",
        "stride_bytes",
        "streams",
        "read_fraction",
        "load",
        "seed",
    }
)
"""Settings that make sense for tiers without banks, too."""
LARGEST_ASYMMETRY = 0.05
"""Difference of load up to which one of N channels may stand for all of them."""


@tier_algorithm("tier.probe", ProbeParameters)
def probe(parameters: ProbeParameters) -> TierReport:
    """Traffic of one address pattern on an idle memory tier: what it sustains, and where the rest goes.

    Raises
    ------
    InputError
        Unknown tier, settings that do not apply to it, or a mapping that does not fit it.
    simulator.errors.GraphError
        Settings beyond the limits of the DRAM kernels.
    """
    loaded = load_tier(parameters.tier, parameters.count or None)
    if isinstance(loaded, ServedTier):
        _refuse_what_needs_banks(loaded.kind, parameters)
        return probe_requests(loaded, parameters)
    tier = probed_tier(parameters)
    return _estimated(tier, parameters) if parameters.fidelity == "analytic" else _simulated(tier, parameters)


def _refuse_what_needs_banks(kind: str, parameters: ProbeParameters) -> None:
    """Raise InputError for settings that only DRAM has."""
    problems = [
        Problem(f"does not apply to a tier of kind {kind}", field=field.name)
        for field in fields(parameters)
        if field.name not in ANY_TIER and getattr(parameters, field.name) != field.default
    ]
    if parameters.read_fraction not in (0, 1):
        problems.append(Problem(f"must be 0 or 1 for a tier of kind {kind}", field="read_fraction"))
    if problems:
        raise InputError(problems)


def probed_tier(parameters: ProbeParameters) -> DramTier:
    """The tier of a probe, with mapping, controller and refresh as the probe asks for."""
    tier = load_tier(parameters.tier, parameters.count or None)
    if not isinstance(tier, DramTier):
        raise InputError(Problem(f"{tier.name} is a tier of kind {tier.kind}: it has no banks", field="tier"))
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
    standard = replace(standard, controller=changed(standard.controller, changes))
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
    stream = make_stream(GENERATORS[parameters.pattern], space, transactions, settings)
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
        remark=ERROR_REMARK,
    )
