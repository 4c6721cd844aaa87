"""Chips from YAML: the shipped presets and a user's own files.

A file has the fields of `hwmodels.chips.chip.Accelerator` under the same names; each number is plain or
``{value: "3.35 TB/s", source: "..."}``; ``assumption: true`` marks a choice of the model. A source that is a
key of ``references.yaml`` stands for that entry. ``base: h100_sxm5_80g`` starts from a preset and changes only what is
written. In a user's file other cores, caches, interfaces to memory or another node take back the published area of the
base, which no longer holds, unless the file gives its own; a preset that shares the die of its base keeps it, or says
``area_mm2: null``. Likewise another rate or technology of a memory takes back how many stacks the base has. A file
without a name is called as the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from hwmodels.chips.chip import Accelerator, Link, Resources, SharedTier
from hwmodels.chips.chip_schema import accelerator_schema
from hwmodels.chips.chip_text import AcceleratorText
from hwmodels.chips.compute import Core, Rates
from hwmodels.chips.interfaces import interfaces_mm2
from hwmodels.reading.bibliography import references
from hwmodels.reading.documents import Document, Value, read_document, read_text
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.shipped import Shipped, is_path

__all__ = [
    "Accelerator",
    "Core",
    "Link",
    "Rates",
    "Resources",
    "SharedTier",
    "accelerator_aliases",
    "accelerator_names",
    "accelerator_schema",
    "load_accelerator",
]

_DEEPEST_BASE = 8
_SHIPPED = Shipped("hwmodels.chips", "presets", "chip")


def accelerator_names() -> tuple[str, ...]:
    """Names of the shipped chips, sorted."""
    return _SHIPPED.names()


@cache
def accelerator_aliases() -> dict[str, str]:
    """Short names (``h100``) with the preset each stands for."""
    found: dict[str, str] = {}
    for name in accelerator_names():
        for alias in _aliases(name):
            other = found.setdefault(alias, name)
            if other != name or alias in accelerator_names():
                raise InputError(Problem(f"{alias!r} names {other} too", f"{name}.yaml", field="aliases"))
    return found


@cache
def _aliases(name: str) -> tuple[str, ...]:
    """Aliases of a preset from their one line, so that a name is found without parsing every chip."""
    for line in _SHIPPED.text(name).splitlines():
        if line.startswith("aliases:"):
            listed = _mapping(read_text(line, f"{name}.yaml"))["aliases"]
            return tuple(str(alias) for alias in listed) if isinstance(listed, list) else ()
    return ()


def load_accelerator(name_or_path: str | Path) -> Accelerator:
    """A shipped chip by name or alias (upper or lower case), or a chip file by path.

    Text with a path separator or the suffix ``.yaml`` or ``.yml`` is a path; anything else is a name.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    if is_path(name_or_path):
        path = Path(name_or_path)
        return _own(read_document(path), path.stem)
    return _preset(_preset_name(str(name_or_path)))


def _preset_name(text: str) -> str:
    folded = text.casefold()
    names = accelerator_names()
    if folded in names:
        return folded
    # most aliases are how a name begins: then no other file is read; `accelerator_aliases` refuses those that name two
    likely = next((name for name in names if folded and name.startswith(folded) and folded in _aliases(name)), None)
    if likely:
        return likely
    aliases = accelerator_aliases()
    if folded in aliases:
        return aliases[folded]
    hint = did_you_mean(folded, [*names, *aliases])
    raise InputError(Problem(f"unknown chip {text!r}", hint=hint or "see `attnflow list chips`"))


@cache
def _preset(name: str) -> Accelerator:
    return _accelerator(_preset_document(name))


@cache
def _preset_document(name: str) -> Document:
    return _SHIPPED.document(name)


def _own(document: Document, stem: str) -> Accelerator:
    """The chip of a user's file: named, and without what the base publishes about parts that the file changes."""
    chip = _accelerator(document)
    given = _mapping(document)
    name = given.get("base")
    if not isinstance(name, str):
        return chip
    if "name" not in given:
        chip = replace(chip, name=stem)
    base = load_accelerator(_preset_name(name))
    chip = _without_sources(chip, _stale_counts(given))
    same_die = chip.die_fields() == base.die_fields() and interfaces_mm2(chip) == interfaces_mm2(base)
    if "area_mm2" in given or same_die:
        return chip
    return _without_sources(replace(chip, area_mm2=None), {"area_mm2"})


def _stale_counts(given: Mapping[str, Value]) -> set[str]:
    """Numbers of stacks that a base has for another rate or technology than the file gives."""
    tiers = given.get("tiers")
    sections = tiers.items() if isinstance(tiers, dict) else ()
    return {
        f"{name}.count"
        for name, section in sections
        if isinstance(section, dict) and "count" not in section and {"bytes_per_second", "technology"} & section.keys()
    }


def _without_sources(chip: Accelerator, paths: Collection[str]) -> Accelerator:
    return replace(chip, citations=tuple(pair for pair in chip.citations if pair[0] not in paths))


def _accelerator(document: Document) -> Accelerator:
    merged = _on_its_base(document, ())
    parsed = merged.validate(AcceleratorText)
    try:
        return parsed.accelerator(references())
    except InputError as error:
        raise InputError([_placed(merged, problem) for problem in error.problems]) from None


def _placed(document: Document, problem: Problem) -> Problem:
    """`problem` on the line of its field; tiers and links stand in sections of the file."""
    path = tuple((problem.field or "").split("."))
    for section in ("tiers", "links"):
        part = _mapping(document).get(section)
        if isinstance(part, dict) and path[0] in part:
            path = (section, *path)
    return document.problem(path, problem.message, problem.hint)


def _mapping(document: Document) -> dict[str, Value]:
    return document.data if isinstance(document.data, dict) else {}


def _on_its_base(document: Document, below: tuple[str, ...]) -> Document:
    """`document` laid over the preset that it names as its base."""
    base = _mapping(document).get("base")
    if not isinstance(base, str):
        return document
    try:
        name = _preset_name(base)
    except InputError as error:
        raise InputError([document.problem(("base",), p.message, p.hint) for p in error.problems]) from None
    if name in below or len(below) >= _DEEPEST_BASE:
        raise InputError(document.problem(("base",), f"bases go round in a circle: {' -> '.join((*below, name))}"))
    under = _on_its_base(_preset_document(name), (*below, name))
    data = _laid_over(under.data, document.data)
    if isinstance(data, dict) and "aliases" not in _mapping(document):
        data.pop("aliases", None)
    return Document(document.name, data, document.lines, document.problems)


def _laid_over(under: Value, over: Value) -> Value:
    """Mappings are merged key by key; a cited value (and anything else) replaces what lies under it as a whole."""
    if not isinstance(under, dict) or not isinstance(over, dict) or "value" in over or "value" in under:
        return over
    merged = {key: _laid_over(under[key], value) if key in under else value for key, value in over.items()}
    return {**{key: merged.get(key, value) for key, value in under.items()}, **merged}
