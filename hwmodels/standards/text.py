"""DRAM standards from YAML files, and standards that derive from others.

A standard that names ``derived_from`` takes over everything it does not give itself; if it gives another ``clock``,
the timings of its parent are re-derived for it (`DramTiming.at_clock`).
"""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from hwmodels.reading.documents import Document, in_order, read_document
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import Shipped, is_path
from hwmodels.standards.checks import check_standard
from hwmodels.standards.sections import SECTIONS, DramSections, citation
from hwmodels.standards.standard import DramStandard


class StandardText(DramSections):
    """A standard file."""

    name: str
    summary: str
    source: str = ""
    derived_from: str | None = None


_SHIPPED = Shipped("hwmodels", "standards", "DRAM standard")


def standard_names() -> tuple[str, ...]:
    """Names of the shipped standards, sorted."""
    return _SHIPPED.names()


def load_standard(name_or_path: str | Path) -> DramStandard:
    """A shipped standard by name, or a file by path (text with a separator or the suffix ``.yaml`` or ``.yml``).

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    if is_path(name_or_path):
        return _read(read_document(Path(name_or_path)))
    return _shipped(_SHIPPED.known(str(name_or_path)))


@cache
def _shipped(name: str) -> DramStandard:
    return _read(_SHIPPED.document(name))


def _read(document: Document) -> DramStandard:
    text = document.validate(StandardText)
    parent = None
    if text.derived_from is not None:
        try:
            parent = load_standard(text.derived_from)
        except InputError as error:
            problems = [document.problem(("derived_from",), p.message, p.hint) for p in error.problems]
            raise InputError(problems) from None
    return overlay(parent, text, document, name=text.name, summary=text.summary, source=text.source)


def overlay(
    base: DramStandard | None, given: DramSections, document: Document, *, name: str, summary: str, source: str
) -> DramStandard:
    """The standard `base` with what the sections of a document change, checked.

    Raises
    ------
    InputError
        What is missing or wrong, with its line.
    """
    standard = base
    cited = dict(base.citations) if base else {}
    if base is not None and given.clock is not None:
        standard = base.at_clock(given.clock.value)
        cited |= _derived_citations(base, given.clock.value)
    problems: list[Problem] = []
    parts: dict[str, Any] = {}
    for section_name, value_type in SECTIONS.items():
        section = given.section(section_name)
        values = section.values() if section else {}
        cited |= section.citations(section_name) if section else {}
        if standard is not None:
            parts[section_name] = replace(getattr(standard, section_name), **values)
            continue
        missing = [each.name for each in fields(value_type) if each.default is MISSING and each.name not in values]
        if missing:
            problems.append(document.problem((section_name,), f"required keys are missing: {', '.join(missing)}"))
        else:
            parts[section_name] = value_type(**values)
    clock_s = given.clock.value if given.clock else standard.clock_s if standard else None
    mapping = given.mapping.mapping() if given.mapping else standard.mapping if standard else None
    for required, value in (("clock", clock_s), ("mapping", mapping)):
        if value is None:
            problems.append(document.problem((required,), "required key is missing"))
    if problems or clock_s is None or mapping is None:
        raise InputError(in_order(problems))
    if given.clock is not None:
        cited["clock"] = citation(given.clock, source)
    if given.mapping is not None and given.mapping.source:
        cited["mapping"] = given.mapping.source
    result = DramStandard(
        name=name,
        summary=summary,
        clock_s=clock_s,
        mapping=mapping,
        citations=tuple(cited.items()),
        **parts,
    )
    _check(result, document)
    return result


def _derived_citations(base: DramStandard, clock_s: float) -> dict[str, str]:
    rule = f"derived: the time of {base.name} at {base.clock_s * 1e9:g} ns, in clocks of {clock_s * 1e9:g} ns"
    changed = base.at_clock(clock_s).timing
    return {
        f"timing.{each.name}": rule
        for each in fields(changed)
        if getattr(changed, each.name) != getattr(base.timing, each.name)
    }


def _check(standard: DramStandard, document: Document) -> None:
    problems = [document.problem(place, message, hint) for place, message, hint in check_standard(standard)]
    if problems:
        raise InputError(in_order(problems))
