"""What sections are made of: pieces of HTML, and views that scripts of the page draw.

Text from outside goes into HTML through `markupsafe.Markup.format` or a template, both of which escape it, and into
views as plain JSON values, which the scripts only ever show as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from studies import words
from studies.points.point import Json

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Html:
    """Finished HTML."""

    markup: Markup


@dataclass(frozen=True)
class View:
    """Something that a script draws.

    Parameters
    ----------
    kind
        Name under which ``assets/scripts/views/*.js`` registered it with ``attnflow.view``.
    data
        Plain JSON values for the view as a whole.
    per_point
        One entry per point for views that show selected points; unpacked only when one is selected.
    """

    kind: str
    data: Mapping[str, Json] = field(default_factory=dict)
    per_point: Sequence[Json] | None = None


Block = Html | View


@cache
def environment() -> Environment:
    """Templates of the page; everything inserted is escaped."""
    made = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["words"] = words
    made.filters["number"] = words.number
    return made


def html(template: str, **context: object) -> Html:
    """The template file `template` with `context`."""
    return Html(Markup(environment().get_template(template).render(**context)))


def plot(figure: Figure, *, caption: str = "") -> View:
    """A Plotly figure made in Python, in the colours of the page.

    A trace whose ``customdata`` holds point numbers takes part in the page: hovering shows the whole point, clicking
    selects it.  Text in a figure must have gone through `plain`.
    """
    described = json.loads(figure.to_json())
    described["layout"].pop("template", None)
    return View("figure", {"data": described["data"], "layout": described["layout"], "caption": caption})


def plain(text: str) -> str:
    """`text` for a Plotly label: Plotly reads tags and entities, so they are escaped.

    >>> plain("<b>&")
    '&lt;b&gt;&amp;'
    """
    return escape(text, quote=False)


@dataclass(frozen=True)
class Bar:
    """A stacked part of a bar: ``bar`` and ``part`` are labels, ``kind`` says which colour."""

    bar: str
    part: str
    kind: str
    value: float


def breakdown(
    kinds: Mapping[str, str],
    unit: str,
    whole: str,
    per_point: Sequence[Sequence[Bar]],
    words: Mapping[int, str] | None = None,
    missing: str = "",
    alike: bool = True,
    hues: Mapping[str, int] | None = None,
) -> View:
    """Stacked horizontal bars for each selected point: where something went.

    Parameters
    ----------
    kinds
        Kinds of parts and the words for the legend, at most eight; the first of all kinds gets the first colour, a kind
        called ``idle`` is grey.
    unit
        Of the values.
    whole
        What all parts of a bar together are, e.g. ``cycles``, for the axis that shows shares.
    per_point
        The parts of each point, bars in drawing order; an empty list where a point has none.
    words
        A sentence below the bars of a point, or in their place, by the number of the point.
    missing
        Said of a selected point without bars and words, before the command that explains it; without this text such
        points are left out.
    alike
        Whether all bars of a point are of one whole, which then stands above them.
    hues
        Numbers of the colours of kinds that have the same one on every page; others follow their place in `kinds`.
    """
    labels: dict[str, int] = {}
    order = {kind: i for i, kind in enumerate(kinds)}

    def packed(bars: Sequence[Bar]) -> Json:
        flat: list[Json] = []
        for each in bars:
            flat += [
                labels.setdefault(each.bar, len(labels)),
                labels.setdefault(each.part, len(labels)),
                order[each.kind],
                each.value,
            ]
        return flat

    told = words or {}
    packed_points: list[Json] = [
        {"parts": packed(bars), "words": told[point]} if point in told else packed(bars)
        for point, bars in enumerate(per_point)
    ]
    fixed = hues or {}
    described: list[Json] = [
        {"name": kind, "label": label, "hue": fixed.get(kind, i)} for i, (kind, label) in enumerate(kinds.items())
    ]
    return View(
        "breakdown",
        {
            "labels": list(labels),
            "kinds": described,
            "unit": unit,
            "whole": whole,
            "missing": missing,
            "alike": alike,
        },
        packed_points,
    )
