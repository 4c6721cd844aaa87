"""A chip file of a computer from the ceilings of its record; nothing that is scored is looked at."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from algorithms.chip.plan.profile import KernelProfile
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.validate.host.record import HostRecordText, PointText

LEAST_CLOCK_HZ = 1e9
"""Taken where the system does not say its clock: rates are measured in seconds, so that it cancels."""
FALLBACK_CACHE_BYTES = 8 << 20
FALLBACK_MEMORY_BYTES = 8 << 30


@dataclass(frozen=True)
class Ceilings:
    """What a computer reached.

    Parameters
    ----------
    flops_per_second, exps_per_second, elements_per_second
        All threads together: of products, of exponentials, and of passes over elements (a maximum of rows).
    cache_bytes_per_second, memory_bytes_per_second
        Reads and writes together.
    call_s
        Of a call that does next to nothing.
    """

    flops_per_second: float
    exps_per_second: float
    elements_per_second: float
    cache_bytes_per_second: float
    memory_bytes_per_second: float
    call_s: float

    def profile(self) -> KernelProfile:
        """How libraries use the computer: loads run ahead (prefetching), and every call costs the same."""
        return KernelProfile("host", launch_gap_s=self.call_s, tiles_in_flight=4, next_item="ahead")


def ceilings_of(record: HostRecordText) -> Ceilings:
    """From the cases of a record that are marked for it."""
    half_cache = (record.machine.cache_bytes or FALLBACK_CACHE_BYTES) / 2
    streams = record.of_kind("stream")
    near = [point for point in streams if point.sizes[0] <= half_cache] or [streams[0]]
    call_s = min(point.fastest_us for point in record.of_kind("call")) / 1e6
    return Ceilings(
        max(point.flops / (point.time_us / 1e6) for point in record.of_kind("product")),
        max(_elements(point) for point in record.of_kind("exponential")),
        max(_elements(point) for point in record.of_kind("reduction")),
        max(_rate(point) for point in near),
        _rate(streams[-1]),
        call_s,
    )


def _elements(point: PointText) -> float:
    return math.prod(point.sizes) / (point.time_us / 1e6)


def _rate(point: PointText) -> float:
    return point.bytes / (point.time_us / 1e6)


def chip_text(record: HostRecordText, source: str) -> str:
    """The chip file; ``source`` names the record."""
    machine, found = record.machine, ceilings_of(record)
    clock_hz = max(machine.clock_mhz * 1e6, LEAST_CLOCK_HZ)
    per_core = machine.threads * clock_hz
    flops = found.flops_per_second / per_core

    def measured(value: str) -> str:
        return f'{{value: {value}, source: "{source}"}}'

    def assumed(value: str, note: str) -> str:
        return f'{{value: {value}, assumption: true, note: "{note}"}}'

    return f"""# Made by `attnflow calibrate --record` from the ceilings of one computer.
name: {host_name(record)}
kind: custom
summary: "{machine.processor}, {machine.threads} threads, {machine.framework} on {machine.device}"
node_nm: {assumed("7", "not known; energies are of no use here")}
clock_hz: {measured(f"{clock_hz:.6g}")}
cores: {measured(str(machine.threads))}
core:
  matrix_flops_per_cycle:
    float32: {measured(f"{flops:.5g}")}
  matrix_rows: {assumed("8", "micro-kernels of BLAS libraries hold 4 to 16 rows")}
  matrix_columns: {assumed("8", "and one or two vectors of columns")}
  matrix_depth: {assumed("1", "outer products")}
  vector_flops_per_cycle: {measured(f"{2 * found.elements_per_second / per_core:.5g}")}
  exp_per_cycle: {measured(f"{found.exps_per_second / per_core:.5g}")}
  sram_bytes: {assumed("1 MiB", "of second-level cache")}
  sram_bytes_per_cycle: {assumed("64", "a line")}
  register_bytes: {assumed("256 KiB", "accumulators of blocks live in caches")}
tiers:
  cache:
    level: cache
    technology: sram
    capacity_bytes: {measured(str(machine.cache_bytes or FALLBACK_CACHE_BYTES))}
    bytes_per_second: {measured(f"{max(found.cache_bytes_per_second, found.memory_bytes_per_second):.5g}")}
    latency_s: {assumed("15 ns", "of a third-level cache")}
  memory:
    level: memory
    technology: ddr4
    capacity_bytes: {measured(str(machine.memory_bytes or FALLBACK_MEMORY_BYTES))}
    bytes_per_second: {measured(f"{found.memory_bytes_per_second:.5g}")}
    latency_s: {assumed("100 ns", "of a main memory behind a server's caches")}
"""


def host_name(record: HostRecordText) -> str:
    """Of the chip."""
    slug = re.sub(r"[^a-z0-9]+", "_", record.machine.processor.casefold()).strip("_") or "processor"
    return f"host_{slug}_{record.machine.threads}"


def write_chip(record: HostRecordText, folder: Path, source: str) -> Path:
    """Write the chip file into ``folder``; returns where.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    path = folder / f"{host_name(record)}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(chip_text(record, source), encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be written", str(path))) from None
    return path


def host_chip(record: HostRecordText, folder: Path, source: str) -> Accelerator:
    """The chip, by way of its file."""
    return load_accelerator(write_chip(record, folder, source))
