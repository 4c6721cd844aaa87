"""A chip as rows for people: every field with its unit and source, and what follows from them."""

from __future__ import annotations

from hwmodels.chips.base import Chip
from hwmodels.chips.chip_changes import unit_of
from hwmodels.chips.parts import Number
from hwmodels.reading.cards import html_table
from hwmodels.reading.quantity import format_quantity

UNCITED = "not published"


def field_rows(chip: Chip) -> list[tuple[str, Number | str | None, str | None, str]]:
    """(path, value, unit, source) of every field; what nobody published is None and says so."""
    sources = chip.sources()
    rows: list[tuple[str, Number | str | None, str | None, str]] = []
    for path, value in chip.values().items():
        if value is None:
            rows.append((path, value, unit_of(path), "" if _is_optional(path) else UNCITED))
        elif isinstance(value, str):
            rows.append((path, value, None, ""))
        else:
            rows.append((path, value, unit_of(path), sources.get(path, "default")))
    return rows


def _is_optional(path: str) -> bool:
    """Fields whose absence says nothing about what is published."""
    return path.startswith("energy.") or path.endswith((".preset", ".sustained_fraction", "j_per_bit"))


def derived(chip: Chip) -> dict[str, tuple[float, str]]:
    """Peaks, ridge points and rates with their units."""
    found: dict[str, tuple[float, str]] = {}
    for name in chip.core.matrix_flops_per_cycle:
        found[f"peak.{name}"] = (chip.peak_flops_per_second(name), "FLOP/s")
    for name in chip.core.matrix_flops_per_cycle:
        found[f"ridge.{name}"] = (chip.ridge_flops_per_byte(name), "FLOP/B")
    for name in chip.core.matrix_flops_per_cycle:
        found[f"flops_per_exp.{name}"] = (chip.flops_per_exp(name), "FLOP/exp")
    found["exp_per_second"] = (chip.exp_per_second, "1/s")
    found["vector_flops_per_second"] = (chip.vector_flops_per_second, "FLOP/s")
    found["sram_bytes_per_second"] = (chip.sram_bytes_per_second, "B/s")
    return found


def value_text(value: Number | str | None, unit: str | None, digits: int = 6) -> str:
    """A value with its unit, as a chip file would write it.

    >>> value_text(3.352e12, "B/s"), value_text(132, None), value_text(295.18, "FLOP/B"), value_text(None, "W")
    ('3.352 TB/s', '132', '295.2 FLOP/B', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    try:
        return format_quantity(value, unit or "", digits)
    except KeyError:
        shown = f"{int(value):,}" if value == int(value) and abs(value) < 1e9 else f"{value:.4g}"
        return f"{shown} {unit}" if unit else shown


def card(chip: Chip) -> str:
    """The chip as an HTML table."""
    rows = [
        (path, value_text(value, unit), source)
        for path, value, unit, source in field_rows(chip)
        if value is not None or source
    ]
    rows += [(name, value_text(value, unit, 4), "derived") for name, (value, unit) in derived(chip).items()]
    return html_table(f"Accelerator {chip.name}", ("field", "value", "source"), rows)
