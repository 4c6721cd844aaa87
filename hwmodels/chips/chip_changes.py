"""Field overrides by path, for `Accelerator.with_`."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from hwmodels.chips.base import Chip
from hwmodels.chips.compute import FORMAT_BITS, Core, Rates
from hwmodels.chips.interface_tables import interface_tables
from hwmodels.chips.parts import OVERRIDDEN, GivenEnergy, Link, Number, Resources, SharedTier
from hwmodels.chips.plausible import refuse_lost_unit
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.quantity import format_quantity
from hwmodels.reading.values import read_value
from hwmodels.tiers.text import load_tier

C = TypeVar("C", bound=Chip)
Part = TypeVar("Part", bound=Chip | Core | SharedTier | Link | Resources | GivenEnergy)

_UNIT_OF_SUFFIX = {
    "_hz": "Hz",
    "bytes_per_second": "B/s",
    "_bytes": "B",
    "latency_s": "s",
    "_w": "W",
    "_mm2": "mm2",
    "_j_per_bit": "J/bit",
    "j_per_bit": "J/bit",
    "mac_j": "J",
}
_FIXED = ("name", "citations", "changes", "tiers", "links", "core", "resources", "energy")


ABSENT = "none"
"""Text that takes a field's value away."""
ARRAY = "core.array"
"""Stands for the size of the matrix array, ``"64x32"``: columns by depth, with the rates that follow."""
_STACKS = re.compile(r"\s*([A-Za-z]\w*)\s*[x×]\s*([1-9]\d{0,4})\s*")
"""What the name of a memory alone takes: its technology and how many units, ``"hbm3e x 5"``."""


def unit_of(path: str) -> str | None:
    """The base unit of a field, from its name; None for counts and texts.

    >>> unit_of("hbm.bytes_per_second"), unit_of("energy.mac_j.float16"), unit_of("cores")
    ('B/s', 'J', None)
    """
    names = path.split(".")
    field = names[-2] if names[-1] in FORMAT_BITS else names[-1]
    return next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if field.endswith(suffix)), None)


def changed(chip: C, overrides: Mapping[str, Number | str | None]) -> C:
    """`chip` with the fields at the paths of `overrides` replaced.

    Raises
    ------
    InputError
        With every path that is unknown and every value that cannot be.
    """
    sized = overrides.get(ARRAY)
    if sized is not None:
        overrides = {**_array_fields(chip, sized), **{path: v for path, v in overrides.items() if path != ARRAY}}
    try:
        # checked as a whole; field by field only where that says which of them is wrong
        return _changed(chip, overrides, checked=False)
    except InputError:
        return _changed(chip, overrides, checked=True)


def _changed(chip: C, overrides: Mapping[str, Number | str | None], *, checked: bool) -> C:
    """`changed`, with a check after every field or after all of them."""
    problems: list[Problem] = []
    result = chip
    written: dict[str, str] = dict(chip.changes)
    for path, given in overrides.items():
        canonical = _canonical(path)
        try:
            result = _replaced(result, canonical, given, checked=checked)
        except InputError as error:
            problems += [dataclasses.replace(found, field=path) for found in error.problems]
        else:
            if canonical in {tier.name for tier in chip.tiers}:  # says all of a memory: what was said before is gone
                written = {name: text for name, text in written.items() if name.partition(".")[0] != canonical}
            written[canonical] = str(given)
    problems += [] if problems else _too_few_units(result, written)
    if problems:
        raise InputError(dict.fromkeys(problems))
    # a number that is set to what it was is still what its source says
    before, after = chip.values(), result.values()
    fields = [field for field in after if field in written or field.partition(".")[0] in written]
    moved = [field for field in fields if before.get(field) != after.get(field)]
    kept = tuple((field, source) for field, source in result.citations if field not in moved)
    cited = tuple((field, OVERRIDDEN) for field in moved)
    return dataclasses.replace(result, citations=(*kept, *cited), changes=tuple(written.items()))


def _copied(part: Part, fields: Mapping[str, object], *, checked: bool) -> Part:
    """`part` with fields replaced; one that is not checked is for a moment only."""
    if checked or not isinstance(part, Chip):
        return dataclasses.replace(part, **fields)  # type: ignore[arg-type]  # names and types are those of fields
    copy = object.__new__(type(part))
    vars(copy).update({field.name: getattr(part, field.name) for field in dataclasses.fields(part)}, **fields)
    return copy


def _array_fields(chip: Chip, given: Number | str) -> dict[str, Number | str | None]:
    """Columns, depth and rates of an array of another size; formats that run on the vector lanes keep their rate."""
    match = re.fullmatch(r"\s*([1-9]\d{0,5})\s*[x×]\s*([1-9]\d{0,5})\s*", str(given))
    if match is None:
        raise InputError(Problem(f"must be COLUMNSxDEPTH such as '64x32' (got {given!r})", field=ARRAY))
    core = chip.core
    columns, depth = int(match[1]), int(match[2])
    scale = columns * depth / (core.matrix_columns * core.matrix_depth)
    own = {name: rate for name, rate in core.matrix_flops_per_cycle.items() if rate != core.vector_flops_per_cycle}
    return {
        "core.matrix_columns": columns,
        "core.matrix_depth": depth,
        **{f"core.matrix_flops_per_cycle.{name}": rate * scale for name, rate in own.items()},
    }


def _whole_memory(tier: SharedTier, given: Number | str | None) -> SharedTier:
    """A memory of so many units of a technology: its bandwidth and capacity are those of the units."""
    known = interface_tables().technologies
    match = _STACKS.fullmatch(str(given))
    if match is None:
        raise InputError(Problem(f"must be TECHNOLOGY x COUNT such as 'hbm3e x 5' (got {given!r})"))
    technology, count = match[1].lower(), int(match[2])
    text = known.get(technology)
    if text is None:
        raise InputError(Problem(f"unknown technology {match[1]!r}", hint=did_you_mean(technology, known)))
    if text.device is None:
        raise InputError(
            Problem(f"{technology} has no capacity a {text.unit}: set bytes_per_second and capacity_bytes")
        )
    return dataclasses.replace(
        tier,
        technology=technology,
        preset=text.device,
        count=count,
        bytes_per_second=count * text.bytes_per_second,
        capacity_bytes=float(count * load_tier(text.device).capacity_bytes),
        sustained_fraction=None,
    )


def _too_few_units(chip: Chip, written: Mapping[str, str]) -> list[Problem]:
    """A number of units, or their technology, that was set and cannot deliver a bandwidth that was not."""
    problems = []
    for tier in chip.tiers:
        text = interface_tables().technologies.get(tier.technology)
        counted = [f"{tier.name}.count"] + [f"{tier.name}.technology"] * (tier.count > 1)
        path = next((each for each in counted if each in written), None)
        if text is None or path is None or f"{tier.name}.bytes_per_second" in written:
            continue
        most = tier.count * text.bytes_per_second
        if tier.bytes_per_second > most * (1 + interface_tables().rounding.value):
            have, want = (format_quantity(rate, "B/s", 3) for rate in (most, tier.bytes_per_second))
            message = f"{tier.count} {text.unit}s of {tier.technology} deliver {have}, not the {want} of {chip.name}"
            hint = f"{tier.name}: {tier.technology} x {tier.count} sets bandwidth and capacity with it"
            problems.append(Problem(message, field=path, hint=hint))
    return problems


def _canonical(path: str) -> str:
    """``tiers.hbm.latency_s`` and ``links.pcie.latency_s`` without their section, as elsewhere."""
    for section in ("tiers.", "links."):
        if path.startswith(section):
            return path.removeprefix(section)
    return path


def _replaced(chip: C, path: str, given: Number | str | None, *, checked: bool) -> C:
    section, _, rest = path.rpartition(".") if path.count(".") < 2 else path.partition(".")
    if not section and path in {tier.name for tier in chip.tiers}:
        whole = (_whole_memory(tier, given) if tier.name == path else tier for tier in chip.tiers)
        return dataclasses.replace(chip, tiers=tuple(whole))
    if not section:
        return _with_field(chip, chip, path, path, given, checked=checked)
    found: dict[str, object] = {}
    tiers = {tier.name: tier for tier in chip.tiers}
    links = {link.name: link for link in chip.links}
    if section == "core":
        found["core"] = _with_field(chip, chip.core, path, rest, given)
    elif section == "energy":
        found["energy"] = _with_field(chip, chip.energy, path, rest, given)
    elif section == "resources" and chip.resources is not None:
        found["resources"] = _with_field(chip, chip.resources, path, rest, given)
    elif section in tiers:
        tiers[section] = _with_field(chip, tiers[section], path, rest, given)
        found["tiers"] = tuple(tiers.values())
    elif section in links:
        links[section] = _with_field(chip, links[section], path, rest, given)
        found["links"] = tuple(links.values())
    else:
        raise _unknown(chip, path)
    return _copied(chip, found, checked=checked)


def _unknown(chip: Chip, path: str) -> InputError:
    """The nearest path is looked for in the same section first: ``hbm.latency`` means one of ``hbm``."""
    section, dot, _ = path.partition(".")
    known = [field for field in chip.values() if field not in _FIXED]
    here = [field for field in known if dot and field.startswith(f"{section}.")]
    return InputError(Problem(f"{chip.name} has no such field", hint=did_you_mean(path, here or known)))


@cache
def _kinds_of(part: type) -> dict[str, Any]:
    return typing.get_type_hints(part)


def _fixed(name: str) -> InputError:
    return InputError(Problem(f"{name!r} cannot be set: write a chip file that starts from a preset with 'base:'"))


def _with_field(
    chip: Chip, part: Part, whole: str, path: str, given: Number | str | None, *, checked: bool = True
) -> Part:
    """`part` with one field set; a path into `Rates` may name a format that was not there."""
    name, _, operand_format = path.partition(".")
    of_part: Any = type(part)  # checkers do not see that types can be hashed
    kind = _kinds_of(of_part).get(name)
    if kind is not None and name in _FIXED:
        raise _fixed(name)
    if kind is None or (kind is Rates) != bool(operand_format):
        raise _unknown(chip, whole)
    try:
        refuse_lost_unit(name, given)
    except ValueError as error:
        raise InputError(Problem(str(error))) from None
    if kind is not Rates:
        field: dict[str, Any] = {name: read_value(given, kind, unit_of(name), absent=ABSENT)}
    else:
        rates = getattr(part, name)
        field = {name: Rates.of({**rates, operand_format: read_value(given, float, unit_of(path), absent=ABSENT)})}
    return _copied(part, field, checked=checked)
