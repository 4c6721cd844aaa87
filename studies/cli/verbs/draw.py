"""``attnflow draw``: what a design looks like."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.options import AlgorithmName, DesignOptions, design_point, with_design_options
from studies.cli.output import JsonFlag, QuietFlag, emit
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json

DrawOutput = Annotated[Path, typer.Option("--output", "-o", help="SVG file to write.")]


@verb("draw", order=70)
@with_design_options
def draw(
    algorithm: AlgorithmName,
    design: DesignOptions,
    output: DrawOutput = Path("graph.svg"),
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Draw the graph of a design: units, FIFOs with their depths, servers.

    Example: attnflow draw sdpa.naive --seq-len 16 --head-dim 4 -o graph.svg
    """
    del quiet
    point = design_point(algorithm, dataclasses.replace(design, timing_only=True))
    from simulator.views.draw import draw_svg
    from studies.families.family import family_of

    graph = family_of(point).graph(point)
    try:
        output.write_text(draw_svg(graph), encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(output))) from None
    counts: dict[str, Json] = {
        "units": len(graph.units),
        "channels": len(graph.channels),
        "servers": len(graph.servers),
    }
    emit(
        {"key": point.key, "point": point.describe(), "output": str(output), **counts},
        lambda: f"{output}: " + ", ".join(f"{count} {what}" for what, count in counts.items()),
        as_json=as_json,
    )
