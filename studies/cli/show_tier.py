"""``attnflow show tier NAME``: timings and energies of a tier with their sources, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from hwmodels.reading.documents import Value
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.quantity import format_quantity, parse_quantity
from hwmodels.tiers.base import Tier
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier
from studies.cli.output import EXIT_CHECK_FAILED, emit, table
from studies.families.compiled import MEMORY
from studies.running.warm_up import announce_compilation

if TYPE_CHECKING:
    from studies.points.point import Json

if TYPE_CHECKING:
    from algorithms.memory.tier_check import LatencyCheck


def tier_line(name: str) -> str:
    """One line about a shipped tier."""
    tier = load_tier(name)
    size = f"{format_quantity(tier.capacity_bytes, 'B', 4)}, " if tier.capacity_bytes else ""
    return f"{tier.summary}: {size}{format_quantity(tier.peak_bytes_per_second, 'B/s', 4)}"


def show_tier(name: str, changes: Sequence[str], as_json: bool, *, quiet: bool = False) -> None:
    """Print the tier `name` with ``field=value`` changes; ``bytes=SIZE`` asks for the time of a transfer.

    Raises
    ------
    InputError
        An unknown tier or field, or a value that cannot be.
    typer.Exit
        With code 1 if the simulated unloaded latency is not the formula's.
    """
    from algorithms.memory.tier_check import check_unloaded_read

    fields, size = _changes(changes)
    tier = load_tier(name, changes=fields)
    if isinstance(tier, DramTier):
        announce_compilation("compiled", quiet=quiet, parts=(MEMORY,))
    check = check_unloaded_read(tier)
    document = _document(tier, check, size)
    emit(document, lambda: _text(tier, check, size), as_json=as_json)
    if not check.agree:
        raise typer.Exit(EXIT_CHECK_FAILED)


def _changes(changes: Sequence[str]) -> tuple[dict[str, Value], float | None]:
    """Changed fields of the tier's file, and the transfer size."""
    fields: dict[str, Value] = {}
    size, problems = None, []
    for change in changes:
        field, equals, value = (part.strip() for part in change.partition("="))
        if not equals or not field:
            problems.append(Problem(f"must be FIELD=VALUE (got {change!r})", "--set"))
        elif field != "bytes":
            fields[field] = value
        else:
            try:
                size = parse_quantity(value, "B")
            except ValueError as error:
                problems.append(Problem(str(error), "--set", None, field))
            if size is not None and size < 0:
                problems.append(Problem(f"must not be negative (got {value})", "--set", None, field))
    if problems:
        raise InputError(problems)
    return fields, size


def _document(tier: Tier, check: LatencyCheck, size: float | None) -> Json:
    """Everything, in base units."""
    document: dict[str, Json] = {
        "name": tier.name,
        "kind": tier.kind,
        "summary": tier.summary,
        "count": tier.count,
        "capacity_bytes": tier.capacity_bytes,
        "peak_bytes_per_second": tier.peak_bytes_per_second,
        "read_latency_s": tier.read_latency_s,
        "self_check": {"formula_s": check.formula_s, "simulated_s": check.simulated_s, "agree": check.agree},
        "streamed_j_per_bit": tier.streamed_j_per_bit,
        "area_mm2": tier.area_mm2,
    }
    if size is not None:
        document["transfer"] = {"bytes": size, "seconds": tier.transfer_s(size)}
    if isinstance(tier, DramTier):
        standard = tier.standard
        document |= {
            "standard": standard.name,
            "clock_s": standard.clock_s,
            "tick_s": standard.tick_s,
            "organisation": dataclasses.asdict(tier.organisation),
            "timing_clocks": dataclasses.asdict(standard.timing),
            "bus": dataclasses.asdict(standard.bus),
            "controller": dataclasses.asdict(standard.controller),
            "mapping": [dataclasses.asdict(field) for field in tier.fields],
            "energy": dataclasses.asdict(tier.energy),
            "idle_w": tier.idle_w,
        }
    else:
        skipped = {"name", "summary", "count", "citations", "area_each_mm2"}
        values = {name: value for name, value in _fields(tier).items() if name not in skipped}
        document["fields"] = values
    document["rates"] = [{"bytes": each, "bytes_per_second": rate} for each, rate in tier.rates()]
    document["citations"] = dict(tier.citations)
    return document


def _text(tier: Tier, check: LatencyCheck, size: float | None) -> str:
    devices = "" if tier.count == 1 else f", {tier.count} of them"
    same = "the same" if check.agree else "NOT THE SAME"
    rows: list[tuple[str, str]] = [
        ("capacity", format_quantity(tier.capacity_bytes, "B", 4) if tier.capacity_bytes else "none"),
        ("peak", format_quantity(tier.peak_bytes_per_second, "B/s", 4)),
        ("unloaded read", f"{format_quantity(check.formula_s, 's', 4)} by formula"),
        ("self-check", f"{format_quantity(check.simulated_s, 's', 4)} simulated: {same}"),
        ("energy, streaming", format_quantity(tier.streamed_j_per_bit, "J/bit", 4)),
        ("area", "unknown" if tier.area_mm2 is None else f"{tier.area_mm2:,.4g} mm2"),
    ]
    if isinstance(tier, DramTier):
        rows.insert(-1, ("power, idle", format_quantity(tier.idle_w, "W", 4)))
    if size is not None:
        rows.append((f"transfer of {format_quantity(size, 'B', 4)}", format_quantity(tier.transfer_s(size), "s", 4)))
    width = max(len(label) for label, _ in rows)
    head = "\n".join(f"{label.ljust(width)}  {value}" for label, value in rows)
    sources = _Sources(dict(tier.citations))
    parts = _dram_parts(tier, sources) if isinstance(tier, DramTier) else _other_parts(tier, sources)
    return "\n\n".join([f"{tier.name}: {tier.summary}{devices}", head, *parts, sources.text()])


class _Sources:
    """Numbers the sources that tables refer to."""

    def __init__(self, cited: dict[str, str]) -> None:
        self.cited = cited
        self._numbers: dict[str, int] = {}

    def of(self, *fields: str) -> str:
        """Reference to the source of the first of `fields` that has one."""
        text = next((self.cited[field] for field in fields if field in self.cited), "assumption: the model's default")
        return f"[{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    def text(self) -> str:
        """The list behind the references."""
        return "sources\n" + "\n".join(f"[{number}] {text}" for text, number in self._numbers.items())


def _fields(tier: Tier) -> dict[str, Any]:
    """All fields of a tier, parts of parts as mappings; every kind of tier is a dataclass, which `Tier` need not be."""
    made: Any = tier
    return dataclasses.asdict(made)


def _other_parts(tier: Tier, sources: _Sources) -> list[str]:
    """Fields of a tier that is no DRAM; those of its energy one level down; rates by size."""
    rows: list[tuple[str, object, str]] = []
    fields = {name: value for name, value in _fields(tier).items() if value is not None}
    fields |= {f"energy.{name}": value for name, value in fields.pop("energy", {}).items()}
    for name, value in fields.items():
        if name in ("name", "summary", "citations"):
            continue
        rows.append((name, value, sources.of(name, "width_bytes" if name == "energy.width_bytes" else name)))
    rates = [(format_quantity(size, "B"), format_quantity(rate, "B/s", 4)) for size, rate in tier.rates()]
    return [table(("field", "value", "source"), rows), *([table((tier.rates_of, "rate"), rates)] if rates else [])]


def _dram_parts(tier: DramTier, sources: _Sources) -> list[str]:
    """Organisation, timings, command bus, controller, mapping and energies."""
    standard, organisation = tier.standard, tier.organisation
    nanoseconds = standard.clock_s * 1e9
    timings = [
        (name, clocks, f"{clocks * nanoseconds:.4g}", sources.of(f"timing.{name}"))
        for name, clocks in dataclasses.asdict(standard.timing).items()
        if clocks
    ]
    mapping = ", ".join(f"{f.coordinate}:{f.size}{' (xor)' if f.xor else ''}" for f in tier.fields)
    energies = []
    for name, value in dataclasses.asdict(tier.energy).items():
        term = name.split("_")[0]
        text = format_quantity(value, _unit(name), 4) if value else "0"
        energies.append((term, text, sources.of(f"energy.{term}", "energy.currents.idd0")))
    sections = {
        "organisation": dataclasses.asdict(organisation),
        "bus": dataclasses.asdict(standard.bus),
        "controller": dataclasses.asdict(standard.controller),
    }
    tables = {
        title: table(
            (title, "value", "source"),
            [(name, value, sources.of(f"{title}.{name}")) for name, value in section.items()],
        )
        for title, section in sections.items()
    }
    return [
        f"standard {standard.name}, clock {nanoseconds:.5g} ns {sources.of('clock')}, {organisation.banks} banks a "
        f"channel, rows of {organisation.row_bytes:,} bytes",
        tables["organisation"],
        table(("timing", "clocks", "ns", "source"), timings),
        tables["bus"],
        tables["controller"],
        f"address in transactions, least significant part first {sources.of('mapping')}: {mapping}",
        table(("energy", "value", "source"), energies),
    ]


def _unit(field: str) -> str:
    return "J/bit" if field.endswith("per_bit") else "W" if field.endswith("_w") else "J"
