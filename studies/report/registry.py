"""The register of sections: one file and one decorator each, found by importing the package or an entry point.

A new section is a module in `studies.report.sections` (or anywhere, named by an entry point of the group
``attnflow.report_sections``)::

    @section("traffic", "Traffic by tier", order=55)
    def traffic(points: Points) -> Iterable[Block]:
        \"\"\"Bytes that each tier moved.\"\"\"
        yield breakdown({"read": "read", "write": "written"}, "B", "traffic", ...)

It is left out of the page when it yields nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from algorithms.register import load_all
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from studies.report.blocks import Block
    from studies.report.points import Points

ENTRY_POINT_GROUP = "attnflow.report_sections"
Compose = Callable[["Points"], Iterable["Block"]]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    name
        Its anchor.
    title
        Its heading.
    order
        Sections appear in ascending order.
    lead
        One or two sentences under the heading: what it shows and how to read it.
    compose
        Makes its blocks.
    """

    name: str
    title: str
    order: int
    lead: str
    compose: Compose


_sections: dict[str, Section] = {}


def section(name: str, title: str, *, order: int, lead: str = "") -> Callable[[Compose], Compose]:
    """Register the decorated function as the section `name`; see `Section` for the parameters.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(compose: Compose) -> Compose:
        if name in _sections:
            modules = f"{_sections[name].compose.__module__} and {compose.__module__}"
            raise InputError(Problem(f"section {name!r} is registered by both {modules}"))
        _sections[name] = Section(name, title, order, lead, compose)
        return compose

    return register


@functools.cache
def _discover() -> None:
    """Import every section, once; raises as `algorithms.register.load_all`."""
    load_all("studies.report.sections", ENTRY_POINT_GROUP)


def report_sections() -> tuple[Section, ...]:
    """All sections in the order of the page."""
    _discover()
    return tuple(sorted(_sections.values(), key=lambda entry: (entry.order, entry.name)))
