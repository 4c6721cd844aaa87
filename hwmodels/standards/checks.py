"""Checks of a standard; each complaint names the section and field it concerns."""

from __future__ import annotations

import math
import re

from hwmodels.reading.errors import did_you_mean
from hwmodels.standards.standard import (
    COORDINATES,
    Coordinate,
    DramMapping,
    DramOrganisation,
    DramStandard,
    DramTiming,
    MappedField,
)

Complaint = tuple[tuple[str, ...], str, str | None]
"""Place inside the document, message, hint."""

LARGEST_CAPACITY = 1 << 60

_PART = re.compile(r"([a-z]+)(?::([0-9]{1,9}))?")


def check_standard(standard: DramStandard) -> list[Complaint]:
    """Everything that is wrong with the timings and the mapping of `standard`."""
    _, complaints = mapped_fields(standard.mapping, standard.organisation)
    capacity = standard.organisation.capacity_bytes
    if capacity > LARGEST_CAPACITY:
        message = f"{capacity:.3g} bytes of capacity are more than addresses of 60 bits can reach"
        complaints.append((("organisation",), message, None))
    return [*_timing_complaints(standard.timing), *_bus_complaints(standard), *complaints]


def _timing_complaints(t: DramTiming) -> list[Complaint]:
    found: list[Complaint] = []
    if t.rc < t.ras + t.rp:
        message = f"the row cycle must be at least ras + rp = {t.ras} + {t.rp} = {t.ras + t.rp} clocks (got {t.rc})"
        found.append((("timing", "rc"), message, None))
    if t.refi <= t.rfc:
        found.append((("timing", "refi"), f"must be longer than rfc = {t.rfc} clocks (got {t.refi})", None))
    for short, long in (("ccd_s", "ccd_l"), ("rrd_s", "rrd_l"), ("wtr_s", "wtr_l")):
        low, high = getattr(t, short), getattr(t, long)
        if high < low:
            message = f"must be at least {short} = {low} clocks, the distance between bank groups (got {high})"
            found.append((("timing", long), message, None))
    return found


def _bus_complaints(standard: DramStandard) -> list[Complaint]:
    found: list[Complaint] = []
    if standard.bus.ticks_per_clock > 2:
        message = f"must be 1, or 2 for half clocks (got {standard.bus.ticks_per_clock})"
        found.append((("bus", "ticks_per_clock"), message, None))
    if standard.bus.split_activate and standard.bus.dual_command_bus:
        found.append((("bus", "split_activate"), "needs a single command bus", None))
    if standard.controller.refresh == "per_bank" and not standard.timing.rfc_bank:
        found.append((("controller", "refresh"), "per_bank needs timing.rfc_bank", None))
    return found


def mapped_fields(
    mapping: DramMapping, organisation: DramOrganisation
) -> tuple[tuple[MappedField, ...], list[Complaint]]:
    """The parts of an address with their sizes, least significant first, and what is wrong with the mapping.

    Every value of every coordinate must be reached exactly once: a mapping that covers less loses address bits, one
    that covers more repeats them. Coordinates with a single value may be left out.
    """
    parts, complaints = _parts(mapping)
    left = {name: organisation.size(name) for name in COORDINATES}
    for name, size in parts:
        left[name] = left[name] // size if size and left[name] % size == 0 else left[name]
    open_parts = [name for name, size in parts if size is None]
    fields = []
    for name, size in parts:
        given = size or left[name]
        if given > 1 or len(parts) == 1:
            fields.append(MappedField(name, given, name in mapping.xor and name != "column"))
    for name in COORDINATES:
        covered = math.prod(field.size for field in fields if field.coordinate == name)
        complaints += _coverage(name, covered, organisation.size(name), open_parts.count(name))
    for name in mapping.xor:
        size = organisation.size(name)
        if name == "column" or size & (size - 1):
            message = f"{name} cannot be XORed with column bits (it has {size} values, not a power of two)"
            if name == "column":
                message = "column cannot be XORed with itself"
            complaints.append((("mapping", "xor"), message, None))
    return tuple(fields), complaints


def _coverage(name: Coordinate, covered: int, size: int, times: int) -> list[Complaint]:
    """Values of one coordinate that are lost or repeated."""
    place = ("mapping", "order")
    if times > 1:
        repeated = (times - 1) * (size - 1).bit_length()
        return [(place, f"{name} appears {times} times without a size: {repeated} address bits are repeated", None)]
    if covered < size:
        bits = math.log2(size / covered)
        return [(place, f"covers {covered} of the {size} values of {name}: {bits:g} address bits are lost", None)]
    if covered > size:
        bits = math.log2(covered / size)
        return [(place, f"covers {covered} values of {name}, which has {size}: {bits:g} bits are repeated", None)]
    return []


def _parts(mapping: DramMapping) -> tuple[list[tuple[Coordinate, int | None]], list[Complaint]]:
    parts: list[tuple[Coordinate, int | None]] = []
    complaints: list[Complaint] = []
    known: dict[str, Coordinate] = {name: name for name in COORDINATES}
    for text in mapping.order:
        match = _PART.fullmatch(text)
        name = known.get(match[1]) if match else None
        if match is None or name is None:
            message = f"no coordinate of an address is called {text!r}"
            complaints.append((("mapping", "order"), message, did_you_mean(text.partition(":")[0], known)))
            continue
        size = int(match[2]) if match[2] else None
        if size == 0:
            complaints.append((("mapping", "order"), f"a part has at least one value (got {text!r})", None))
            continue
        parts.append((name, size))
    return parts, complaints
