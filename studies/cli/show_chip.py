"""``attnflow show chip NAME``: every number of a chip with its source, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hwmodels.chips.accelerator import load_accelerator
from hwmodels.chips.chip import Accelerator
from hwmodels.chips.chip_card import derived, field_rows, value_text
from hwmodels.chips.interfaces import memory_interfaces
from hwmodels.costs.area import Area, area_of, family_mm2
from hwmodels.costs.energy import EnergyTable, energy_table, full_power_w
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.quantity import format_quantity
from studies.cli.output import emit, table

if TYPE_CHECKING:
    from studies.points.point import Json

_FULL_POWER_FORMATS = ("float16", "bfloat16", "int16", "float32")


def chip_line(name: str) -> str:
    """One line about a shipped chip: what it is, its 16-bit peak and its memory."""
    chip = load_accelerator(name)
    peak = format_quantity(chip.peak_flops_per_second(_main_format(chip)), "FLOP/s", 4)
    memory = format_quantity(chip.memory.bytes_per_second, "B/s", 4)
    return f"{chip.summary}: {peak} {_main_format(chip)}, {chip.memory.name} {memory}"


def show_chip(name: str, changes: Sequence[str], as_json: bool) -> None:
    """Print the chip `name` with ``path=value`` changes.

    Raises
    ------
    InputError
        An unknown chip or field, or a value that cannot be.
    """
    chip = with_changes(load_accelerator(name), changes)
    energy, area = energy_table(chip), area_of(chip)
    power = full_power_w(chip, _main_format(chip))
    if as_json:
        emit(_document(chip, energy, area, power), str, as_json=True)
    else:
        emit(None, lambda: _text(chip, energy, area, power), as_json=False)


def with_changes(chip: Accelerator, changes: Sequence[str]) -> Accelerator:
    """`chip` with ``path=value`` changes, ``chip.`` before them or not; raises InputError as `show_chip`."""
    return chip.with_(**dict(_assignment(change.removeprefix("chip.")) for change in changes)) if changes else chip


def _assignment(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise InputError(Problem(f"must be FIELD=VALUE (got {text!r})", "--set"))
    return path.strip(), value.strip()


def _main_format(chip: Accelerator) -> str:
    """The number format that a chip is quoted in: 16 bits where it has them."""
    rates = chip.core.matrix_flops_per_cycle
    return next((name for name in _FULL_POWER_FORMATS if name in rates), next(iter(rates)))


def _document(chip: Accelerator, energy: EnergyTable, area: Area, power: dict[str, float]) -> Json:
    sources = dict(energy.sources)
    return {
        "name": chip.name,
        "kind": chip.kind,
        "summary": chip.summary,
        "fields": [
            {"field": path, "value": value, "unit": unit, "source": source}
            for path, value, unit, source in field_rows(chip)
        ],
        "derived": {name: {"value": value, "unit": unit} for name, (value, unit) in derived(chip).items()},
        "energy": [
            {"field": name, "value": value, "unit": _energy_unit(name), "source": sources.get(name)}
            for name, value in energy.values().items()
        ],
        "memory_interfaces": [
            {"tier": tier, "field": name, "value": value, "unit": unit, "source": source}
            for tier, name, value, unit, source in _interface_rows(chip)
        ],
        "area_mm2": {
            "components": dict(area.components),
            "die": area.die_mm2,
            "die_is_published": area.published,
            "die_by_family": family_mm2(chip),
        },
        "idle_power_w": {"components": _idle(energy), "total": energy.waiting_w, "design": chip.power_w},
        "full_power_w": {"format": _main_format(chip), "components": power, "total": sum(power.values())},
    }


def _energy_unit(name: str) -> str:
    return "W" if name.endswith("_w") else "J/bit" if name.endswith("j_per_bit") else "J"


def _interface_rows(chip: Accelerator) -> Iterator[tuple[str, str, float, str | None, str]]:
    """(tier, field, value, unit, source) of every interface to memory outside of the chip."""
    for interface in memory_interfaces(chip):
        sources = dict(interface.sources)
        for name, (value, unit) in interface.values().items():
            yield interface.tier, name, value, unit, sources[name]


def _idle(energy: EnergyTable) -> dict[str, float]:
    return {**{f"{name}.idle": watts for name, watts in energy.idle_w.items()}, "static": energy.static_w}


def _text(chip: Accelerator, energy: EnergyTable, area: Area, power: dict[str, float]) -> str:
    sources = dict(energy.sources)
    parts = [f"{chip.name}: {chip.summary}"]
    fields = [
        (path, value_text(value, unit), source)
        for path, value, unit, source in field_rows(chip)
        if (value is not None or source) and path not in ("name", "summary")
    ]
    parts.append(table(("field", "value", "source"), fields))
    rows = [(name, value_text(value, unit, 4)) for name, (value, unit) in derived(chip).items()]
    parts.append(table(("derived", "value"), rows))
    energies = [
        (name, value_text(value, _energy_unit(name), 4), sources.get(name)) for name, value in energy.values().items()
    ]
    parts.append(table(("energy", "value", "source"), energies))
    interfaces = [
        (f"{tier}.{name}", value_text(value, unit, 4), source)
        for tier, name, value, unit, source in _interface_rows(chip)
    ]
    if interfaces:
        parts.append(table(("memory interface", "value", "source"), interfaces))
    parts.append(_sums("area", "mm2", area.components.items(), *_die_rows(chip, area)))
    design = [("design power", chip.power_w)] if chip.power_w is not None else []
    parts.append(_sums("power, idle", "W", _idle(energy).items(), ("total", energy.waiting_w), *design))
    title = f"power, all at once in {_main_format(chip)}"
    parts.append(_sums(title, "W", power.items(), ("total", sum(power.values()))))
    return "\n\n".join(parts)


def _die_rows(chip: Accelerator, area: Area) -> Iterator[tuple[str, float | None]]:
    if area.die_mm2 is None:
        yield ("die, not published", None)
        return
    yield ("die, published" if area.published else "die, estimated", area.die_mm2)
    if area.published:
        yield ("die, by its family", family_mm2(chip))


def _sums(title: str, unit: str, items: Iterable[tuple[str, float]], *last: tuple[str, float | None]) -> str:
    return table((title, unit), [*((name, value) for name, value in items if value), *last])
