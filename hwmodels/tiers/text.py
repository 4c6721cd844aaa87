"""Tiers from YAML files: shipped presets by name, or a user's own by path.

Every number of a preset says where it comes from, alone or through the ``source`` of its section, or is marked as an
assumption. A tier file is one of four kinds; DRAM names a standard and may change any of its sections.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwmodels.reading.documents import Document, FieldPath, Value, in_order, read_text
from hwmodels.reading.errors import InputError, did_you_mean
from hwmodels.reading.shipped import Shipped
from hwmodels.standards.checks import check_standard
from hwmodels.standards.text import load_standard, overlay
from hwmodels.tiers.models import DramTierText, FlashTierText, LinkTierText, SramTierText
from hwmodels.tiers.sram_energy import (
    SramEnergy,
    sram_area_mm2,
    sram_leakage_w,
    sram_read_j_per_bit,
    sram_sources,
)
from hwmodels.tiers.tier import DramTier, FlashTier, LinkTier, SramTier, Tier

AnyTierText = DramTierText | SramTierText | LinkTierText | FlashTierText
_KINDS: dict[str, type[AnyTierText]] = {
    "dram": DramTierText,
    "sram": SramTierText,
    "link": LinkTierText,
    "flash": FlashTierText,
}


_SHIPPED = Shipped("hwmodels.tiers", "presets", "tier")


def tier_names(kind: str | None = None) -> tuple[str, ...]:
    """Names of the shipped presets, sorted; of one kind if it is given."""
    return tuple(name for name in _SHIPPED.names() if kind is None or load_tier(name).kind == kind)


def load_tier(name_or_path: str | Path, count: int | None = None, changes: Mapping[str, Value] | None = None) -> Tier:
    """A shipped preset by name, or a tier file by path; text with a separator or a YAML suffix is a path.

    Parameters
    ----------
    name_or_path
        Preset or file.
    count
        Devices, instead of those of the file.
    changes
        Other values of the file by dotted path, e.g. ``{"controller.read_depth": 64}``; text is read as YAML, so
        that ``"[group, column, bank, rank, row]"`` is a list. They are checked as if the file had them.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    document = _SHIPPED.open(name_or_path, "see 'attnflow list tiers'")
    given = dict(changes or {}) | ({} if count is None else {"count": count})
    document = _changed(document, given)
    parsed, problems = document.validate_partly(_kind(document))
    tier = None
    try:
        # the sound entries are looked at although others are faulty, so that all problems are told at once
        tier = _tier(parsed, document) if parsed is not None else None
    except InputError as error:
        problems += error.problems
    if tier is None or problems:
        raise InputError(in_order(problems))
    return tier


def _tier(parsed: AnyTierText, document: Document) -> Tier:
    """The tier of a parsed document, checked."""
    match parsed:
        case DramTierText():
            return _dram(parsed, document)
        case SramTierText():
            return _sram(parsed, document)
        case LinkTierText():
            return LinkTier(**_plain(parsed, _LINK_FIELDS))
        case FlashTierText():
            if parsed.page.value % parsed.sector.value:
                message = f"a page is no whole number of sectors of {parsed.sector.value:g} bytes"
                raise InputError(document.problem(("page",), message))
            return FlashTier(**_plain(parsed, _FLASH_FIELDS))


def _changed(document: Document, changes: Mapping[str, Value]) -> Document:
    """The document with other values at dotted paths, on the lines of what they replace."""
    data = copy.deepcopy(document.data)
    lines = dict(document.lines)
    for dotted_path, given in changes.items():
        path = tuple(dotted_path.split("."))
        value = read_text(given, dotted_path).data if isinstance(given, str) and given.strip() else given
        place: Value = data
        for depth, part in enumerate(path[:-1]):
            if isinstance(place, dict):
                place = place.setdefault(part, {})
                lines.setdefault(path[: depth + 1], 1)
        if not isinstance(place, dict):
            raise InputError(document.problem(path, "is no section that could be changed"))
        place[path[-1]] = value
        line = lines.get(path, lines.get(path[:-1], 1))
        lines = {known: at for known, at in lines.items() if known[: len(path)] != path}
        lines |= dict.fromkeys(_paths(value, path), line)
    return replace(document, data=data, lines=lines)


def _paths(value: Value, path: FieldPath) -> Iterator[FieldPath]:
    """The path of a value and of everything in it."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in inside:
        yield from _paths(item, (*path, part))


def _kind(document: Document) -> type[AnyTierText]:
    """The model of the document's kind of tier."""
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    if kind is None:
        raise InputError(document.problem(("kind",), "required key is missing", "known: " + ", ".join(_KINDS)))
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError(document.problem(("kind",), f"no tier is of kind {kind!r}", did_you_mean(str(kind), _KINDS)))
    return _KINDS[kind]


def _dram(text: DramTierText, document: Document) -> DramTier:
    try:
        base = load_standard(_beside(text.standard, document))
    except InputError as error:
        problems = [document.problem(("standard",), str(replace(p, hint=None)), p.hint) for p in error.problems]
        raise InputError(problems) from None
    standard = overlay(base, text, document, name=base.name, summary=base.summary, source=text.source)
    cited = {**dict(standard.citations), **text.energy.citations("energy")}
    if text.energy.currents is not None:
        cited |= text.energy.currents.citations("energy.currents")
    tier = DramTier(
        name=text.name,
        summary=text.summary,
        standard=standard,
        count=text.count.value,
        energy=text.energy.energy(standard),
        area_each_mm2=text.area.value if text.area else None,
        citations=tuple(cited.items()),
    )
    complaints = check_standard(replace(standard, organisation=tier.organisation))
    if complaints:
        raise InputError([document.problem(place, message, hint) for place, message, hint in complaints])
    return tier


def _beside(standard: str, document: Document) -> str:
    """A standard's file is looked for beside the tier's file first."""
    beside = Path(document.name).parent / standard
    return str(beside) if "/" in str(beside) and beside.is_file() else standard


def _sram(text: SramTierText, document: Document) -> SramTier:
    capacity, node, cell = text.capacity.value, text.node_nm.value, text.cell.value
    problems = []
    if text.banks.value % text.buffers.value:
        message = f"{text.banks.value} banks cannot be shared by {text.buffers.value} buffers"
        problems.append(document.problem(("buffers",), message))
    if capacity % (text.banks.value * text.width.value):
        message = f"{capacity:g} bytes are no whole number of {text.width.value:g}-byte words in every bank"
        problems.append(document.problem(("capacity",), message))
    try:
        read = text.read.value if text.read else sram_read_j_per_bit(capacity, node, cell)
        leakage = text.leakage.value if text.leakage else sram_leakage_w(capacity, node, cell)
        area = text.area.value if text.area else sram_area_mm2(capacity, node)
    except InputError as error:
        problems += [document.problem((p.field or "node_nm",), p.message, p.hint) for p in error.problems]
    if problems:
        raise InputError(in_order(problems))
    sources = sram_sources(node, cell)
    cited = {"energy.read_j_per_bit": sources["read"], "energy.write_j_per_bit": f"as reads; {sources['read']}"}
    cited |= {"energy.leakage_w": sources["leakage"], "area_each_mm2": sources["area"]}
    plain = _plain(text, _SRAM_FIELDS)
    own = dict(plain.pop("citations"))
    width = plain["width_bytes"]
    # a write swings the bit lines of a word just as a read does
    energy = SramEnergy(read, text.write.value if text.write else read, leakage, width)
    return SramTier(
        **{"lanes": text.banks.value * text.ports.value, "area_each_mm2": area, **plain},
        energy=energy,
        citations=tuple({"lanes": "all ports of all banks", **cited, **own}.items()),
    )


_COMMON = {"count": "count", "capacity": "capacity_each_bytes", "area": "area_each_mm2"}
_SRAM_FIELDS = _COMMON | {
    "banks": "banks",
    "ports": "ports",
    "width": "width_bytes",
    "lanes": "lanes",
    "latency_cycles": "latency_cycles",
    "clock": "clock_hz",
    "buffers": "buffers",
    "node_nm": "node_nm",
    "cell": "cell",
}
_SRAM_ENERGIES = {
    "read": "energy.read_j_per_bit",
    "write": "energy.write_j_per_bit",
    "leakage": "energy.leakage_w",
}
_LINK_FIELDS = _COMMON | {
    "rate": "bytes_each_per_second",
    "efficiency": "efficiency",
    "latency": "latency_s",
    "chunk": "chunk_bytes",
    "outstanding": "outstanding",
    "duplex": "duplex",
    "energy": "j_per_bit",
}
_FLASH_FIELDS = _COMMON | {
    "page": "page_bytes",
    "sector": "sector_bytes",
    "planes": "planes",
    "read_time": "read_s",
    "program_time": "program_s",
    "read_rate": "read_bytes_each_per_second",
    "write_rate": "write_bytes_each_per_second",
    "commands_per_second": "commands_each_per_second",
    "queue_depth": "queue_depth",
    "latency": "latency_s",
    "read_energy": "read_j_per_bit",
    "write_energy": "write_j_per_bit",
    "idle": "idle_w",
}
"""Fields of a tier by key of its file."""


def _plain(text: SramTierText | LinkTierText | FlashTierText, names: dict[str, str]) -> dict[str, Any]:
    """Name, summary and the plain values of a file by field of the tier, with their citations by field."""
    values = {
        names[key]: int(value) if names[key].endswith("_bytes") else value
        for key, value in text.values().items()
        if key in names
    }
    cited = text.citations("")
    fields = {key: (names | _SRAM_ENERGIES).get(key, key) for key in (name.lstrip(".") for name in cited)}
    citations = tuple((field, cited[f".{key}"]) for key, field in fields.items())
    return {"name": text.name, "summary": text.summary, **values, "citations": citations}
