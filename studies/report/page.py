"""Writes the page: template, styles, scripts, Plotly and data in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup

from studies.points.outcome import Row
from studies.points.point import Json
from studies.report.blocks import ASSETS, Block, Html, environment
from studies.report.payload import Chunk, chunk, points_chunk, view_chunks
from studies.report.points import Points
from studies.report.registry import Section, sections_about
from studies.store.provenance import versions
from studies.study.goals import Goals


@dataclass(frozen=True)
class PlacedBlock:
    """A block in the page: finished HTML, or a view and the name of its data."""

    markup: Markup | None
    kind: str = ""
    name: str = ""


@dataclass(frozen=True)
class PlacedSection:
    """A section with its blocks."""

    section: Section
    blocks: tuple[PlacedBlock, ...]


@dataclass(frozen=True)
class Script:
    """JavaScript for the page; the browser runs it only if it matches its hash in the security policy."""

    code: Markup

    @classmethod
    def of(cls, code: str) -> Script:
        """A script of this project, which may not end its own element."""
        if "</script" in code.lower():
            raise ValueError("a script must not contain the end of a script element")
        return cls(Markup(f"\n{code}\n"))

    @property
    def source(self) -> str:
        """What the security policy calls it."""
        digest = hashlib.sha256(self.code.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"


def write_report(
    rows: Iterable[Row],
    path: Path | str,
    title: str,
    goals: Goals | None = None,
    validations: Sequence[Mapping[str, Json]] = (),
    refresh_s: int | None = None,
) -> None:
    """Write a report about `rows` to one HTML file.

    Parameters
    ----------
    rows
        Points as `studies.store.store.Store.rows` yields them; one that several studies share is shown once.
    path
        The file; replaced only when the new one is complete.
    title
        Heading of the page; where it tells how many evaluations a search was allowed, those that there are stand there.
    goals
        What its studies are after.
    validations
        What ``attnflow validate --json`` said of the models.
    refresh_s
        As in `render`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    write_points(Points.of(rows, goals, validations, distinct=True), path, title, refresh_s)


def write_points(points: Points, path: Path | str, title: str, refresh_s: int | None = None) -> None:
    """Write a report about `points`, as `studies.report.reading.read_points` reads them; otherwise `write_report`."""
    write_page(render(points, title, refresh_s=refresh_s), path)


def write_page(text: str, path: Path | str) -> None:
    """Write a page to a file, which is replaced only when the new one is complete; raises OSError if it cannot be."""
    target = Path(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def render(points: Points, title: str, first: Sequence[Section] = (), refresh_s: int | None = None) -> str:
    """The page as text; sections of `first` come before those that every page about points has.

    Parameters
    ----------
    refresh_s
        Seconds after which a browser asks for the page again, because more points may have come; None for never.
    """
    sections: list[PlacedSection] = []
    chunks = [points_chunk(points)]
    about_points = sections_about(points) if points.rows or not first else ()
    for section in (*first, *about_points):
        composed = enumerate(section.compose(points))
        blocks = tuple(_place(block, f"{section.name}-{i}", points, chunks) for i, block in composed)
        if blocks:
            sections.append(PlacedSection(section, blocks))
    plotly, packed = _plotly()
    chunks.append(packed)
    return (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            sections=sections,
            chunks=chunks,
            script=Script.of(_scripts()),
            plotly=plotly,
            style=Markup((ASSETS / "style.css").read_text(encoding="utf-8")),
            version=versions()["attnflow"],
            refresh_s=refresh_s,
        )
    )


def _place(block: Block, name: str, points: Points, chunks: list[Chunk]) -> PlacedBlock:
    """Place a block; the data of a view joins `chunks`."""
    if isinstance(block, Html):
        return PlacedBlock(block.markup)
    chunks += view_chunks(name, block, points.selected_first)
    return PlacedBlock(None, block.kind, name)


@cache
def _plotly() -> tuple[Script, Chunk]:
    """Plotly as its element will have it, and packed: the page runs it when it draws its first chart."""
    from plotly.offline import get_plotlyjs

    code = get_plotlyjs()
    return Script(Markup(code)), chunk("plotly", code)


def _scripts() -> str:
    """The scripts of the page in one: the core, which starts when the page is complete, and the views."""
    folder = ASSETS / "scripts"
    core = folder / "core.js"
    files = [core, *sorted(set(folder.rglob("*.js")) - {core})]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
