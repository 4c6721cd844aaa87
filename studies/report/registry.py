"""The register of sections: one file and one decorator each, found by importing the package or an entry point.

A new section is a module in `studies.report.sections` (or anywhere, named by an entry point of the group
``attnflow.report_sections``)::

    @section("traffic", "Traffic by tier", order=55, family="chip")
    def traffic(points: Points) -> Iterable[Block]:
        \"\"\"Bytes that each tier moved.\"\"\"
        yield breakdown({"read": "read", "write": "written"}, "B", "traffic", ...)

It is left out of a page without points of its family, and when it yields nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from algorithms.register import Register
from studies.families.family import FAMILIES
from studies.families.metrics import ANY
from studies.report.blocks import Block
from studies.report.points import Points

ENTRY_POINT_GROUP = "attnflow.report_sections"
Compose = Callable[[Points], Iterable[Block]]


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
    family
        Name of the family whose points it is about, or ``any``.
    """

    name: str
    title: str
    order: int
    lead: str
    compose: Compose
    family: str = ANY

    @property
    def source(self) -> str:
        """Module that registered it."""
        return getattr(self.compose, "__module__", __name__)


SECTIONS: Register[Section] = Register("section", "studies.report.sections", ENTRY_POINT_GROUP)
"""Sections by name."""


def section(name: str, title: str, *, order: int, lead: str = "", family: str = ANY) -> Callable[[Compose], Compose]:
    """Register the decorated function as the section `name`; see `Section` for the parameters.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(compose: Compose) -> Compose:
        SECTIONS.add(name, Section(name, title, order, lead, compose, family))
        return compose

    return register


def sections_about(points: Points) -> tuple[Section, ...]:
    """All sections about points of these families, in the order of the page; raises as `Register.discover`."""
    FAMILIES.discover()  # a family's module may have sections
    present = {ANY, *points.families}
    found = [each for each in map(SECTIONS.get, SECTIONS.names()) if each.family in present]
    return tuple(sorted(found, key=lambda entry: (entry.order, entry.name)))
