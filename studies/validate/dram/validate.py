"""`validate dram`: bandwidth, latency and activations of other DRAM simulators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from algorithms.memory.patterns import AddressSpace, make_stream
from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from simulator.servers.dram.tier import DramCounters, Requests, run_dram
from studies.validate.dram.cases import DramCase, DramCases, DramConfig, load_dram_cases
from studies.validate.dram.configs import Translation, UnsupportedConfigError, as_numbers, translate
from studies.validate.records import ValidationReport, ValidationRow

BANDWIDTH_TOLERANCE_PCT = 1.0
HALF_CLOCK_BANDWIDTH_TOLERANCE_PCT = 2.0
"""For standards whose row commands use half clocks (HBM3, HBM4)."""
LATENCY_TOLERANCE_PCT = 2.0


@dataclass(frozen=True)
class Comparison:
    """One case, computed."""

    bandwidth_gbs: float
    latency_ns: float
    activations: int
    bandwidth_error_pct: float
    latency_error_pct: float
    bandwidth_tolerance_pct: float


def validate_dram(path: Path, progress: Callable[[int, int], None] | None = None) -> ValidationReport:
    """Every result of the JSON file at `path`, computed by this project's `cycle` DRAM model.

    A row passes if its bandwidth and its mean read latency are within tolerance, and, for a pattern without a random
    seed, if the activations are equal where the file gives them.

    Raises
    ------
    InputError
        The file cannot be used.
    """
    return validate_cases(load_dram_cases(path), progress)


def validate_cases(cases: DramCases, progress: Callable[[int, int], None] | None = None) -> ValidationReport:
    """Every result of a loaded file; `progress` is told how many of how many are done."""
    rows = []
    for done, case in enumerate(cases.results):
        rows.append(_row(cases.configs.get(case.config), case))
        if progress:
            progress(done + 1, len(cases.results))
    return ValidationReport("dram", tuple(rows))


def _row(config: DramConfig | None, case: DramCase) -> ValidationRow:
    name = case.name()
    expected = f"{case.bw_gbs:.4g} GB/s, {case.avg_read_lat_ns:.2f} ns"
    if config is None:
        return ValidationRow(
            name, "unknown", "unsupported", expected, why=f"the file has no configuration {case.config!r}"
        )
    group = config.simulator
    try:
        found = compare(config, case)
    except (UnsupportedConfigError, InputError, SimulatorError) as reason:
        return ValidationRow(name, group, "unsupported", expected, why="; ".join(str(reason).splitlines()))
    except KeyError as missing:
        return ValidationRow(name, group, "unsupported", expected, why=f"the configuration has no {missing}")
    except (TypeError, ValueError) as error:
        return ValidationRow(name, group, "unsupported", expected, why=f"the configuration cannot be read: {error}")
    return _judged(name, group, expected, case, found)


def _judged(name: str, group: str, expected: str, case: DramCase, found: Comparison) -> ValidationRow:
    got = f"{found.bandwidth_gbs:.4g} GB/s, {found.latency_ns:.2f} ns"
    remarks = [
        f"bandwidth {found.bandwidth_error_pct:+.3f} % (limit {found.bandwidth_tolerance_pct:g} %)",
        f"latency {found.latency_error_pct:+.3f} % (limit {LATENCY_TOLERANCE_PCT:g} %)",
    ]
    passed = (
        abs(found.bandwidth_error_pct) <= found.bandwidth_tolerance_pct
        and abs(found.latency_error_pct) <= LATENCY_TOLERANCE_PCT
    )
    if case.n_act is not None:
        remarks.append(f"activations {found.activations} of {case.n_act}")
        passed = passed and (case.seeded or found.activations == case.n_act)
    worst = max(found.bandwidth_error_pct, found.latency_error_pct, key=abs)
    return ValidationRow(name, group, "pass" if passed else "fail", expected, got, worst, "; ".join(remarks))


def compare(config: DramConfig, case: DramCase) -> Comparison:
    """Run one case and compare it with what the file says.

    Raises
    ------
    UnsupportedConfigError, InputError, SimulatorError, KeyError
        The configuration or the pattern is not modelled, or not complete.
    """
    translation = translate(config, case)
    description = translation.description
    stream = make_stream(case.generator, _space(config, translation), case.n, as_numbers(case.params))
    requests = Requests.of(stream.address_bytes, config.tx_bytes, 0, stream.is_write, stream.arrival_clock)
    counters = run_dram(description, requests).counters
    cycles = _cycles(counters, translation)
    bandwidth = case.n * config.tx_bytes / (cycles * translation.clock_ns)
    offset = translation.latency_offset_clocks if counters.reads else 0
    latency = (counters.mean_read_clocks + offset) * translation.clock_ns
    half_clock = description.controller.half_clock
    return Comparison(
        bandwidth,
        latency,
        counters.activations,
        100 * (bandwidth / case.bw_gbs - 1),
        100 * (latency / case.avg_read_lat_ns - 1) if case.avg_read_lat_ns else 100 * float(latency != 0),
        HALF_CLOCK_BANDWIDTH_TOLERANCE_PCT if half_clock else BANDWIDTH_TOLERANCE_PCT,
    )


def _cycles(counters: DramCounters, translation: Translation) -> int:
    """Length of the run as the reference counts it: to the last return, or behind the last accepted write."""
    return max(counters.last_return + translation.counts_return_clock, counters.last_write + 1)


def _space(config: DramConfig, translation: Translation) -> AddressSpace:
    """The address space that the patterns of the file are written for: its channels may be our ranks."""
    named = {"sid": "rank", "rank": "channel"} if translation.source_channels == "rank" else {}
    fields = tuple((named.get(field.kind, field.kind), field.size) for field in translation.description.fields)
    return AddressSpace(config.tx_bytes, config.capacity_bytes, fields, translation.gap_clock_ns)
